"""A tokenizer of one's own: one that does not know the dataset, or changes it, is refused."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

import codeflow
from codeflow.cli import main
from codeflow.documents.document import MARKERS, SPECIAL
from codeflow.errors import UsageError
from codeflow.tokens.sample import sample
from codeflow.tokens.tokenizer import Encoder, train
from token_samples import make, opened, tokenized


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("users"))[0]


@pytest.fixture(scope="module")
def texts(folder: Path) -> list[str]:
    return list(sample(opened(folder)))


def words(texts: list[str], known: bool) -> Tokenizer:
    """A word a token; what is not in the vocabulary is unknown."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w+|\s+|[^\w\s]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    if known:
        trainer = trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def without_unknown(texts: list[str]) -> Tokenizer:
    """It raises at the first word that it does not know."""
    return Tokenizer(models.WordLevel({"a": 0}, unk_token="<unk>"))


def forgetful(texts: list[str]) -> Tokenizer:
    """Characters that are not in the vocabulary vanish without a trace."""
    return Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))


def unigram(texts: list[str]) -> Tokenizer:
    return Tokenizer(models.Unigram([("<?>", 0.0), ("zz", -1.0)], unk_id=0))


def spaceless(texts: list[str]) -> Tokenizer:
    """As BERT's: white space and case are gone."""
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=4000, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def with_special(tokenizer: Tokenizer, names: Sequence[str] = SPECIAL) -> str:
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return str(tokenizer.to_str())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda texts: words(texts, known=False), "does not know 100% of the tokens"),
        (unigram, "does not know 100% of the tokens"),
        (forgetful, "texts of the dataset back changed"),
        (spaceless, "texts of the dataset back changed"),
        (without_unknown, "cannot encode a text"),
    ],
    ids=["words", "unigram", "forgetful", "spaceless", "raises"],
)
def test_one_that_loses_text_is_refused(
    folder: Path,
    texts: list[str],
    tmp_path: Path,
    made: Callable[[list[str]], Tokenizer],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(with_special(made(texts)))
    for fast in ("fast", ""):
        with pytest.raises(UsageError, match=message):
            tokenized(folder, "x", "diff", 512, tokenizer=path, fast=bool(fast))
    argv = ["tokenize", str(folder), "--render", "diff", "--length", "512"]
    assert main([*argv, "--tokenizer", str(path)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # behind how far it came
    assert str(path) in line
    assert not (folder / "tokens" / "x").exists()


def test_one_without_the_special_tokens_is_refused(
    folder: Path, texts: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(str(words(texts, known=True).to_str()))
    with pytest.raises(UsageError, match="lacks the special tokens"):
        tokenized(folder, "x", "diff", 512, tokenizer=path)


def test_one_has_to_have_what_the_rendering_needs(
    folder: Path, texts: list[str], tmp_path: Path
) -> None:
    """A hole's tokens are no business of a patch."""
    path = tmp_path / "mine.json"
    names = [name for name in SPECIAL if "fim" not in name]
    path.write_text(with_special(words(texts, known=True), names))
    assert tokenized(folder, "needs", "diff", 512, tokenizer=path).rows["train"] > 0
    with pytest.raises(UsageError, match=r"lacks .* tokens <\|fim_prefix\|>, .*; add"):
        tokenized(folder, "needs2", "fim-file", 512, tokenizer=path)


def test_a_vocabulary_of_before_is_refused(tmp_path: Path) -> None:
    """What this program trained when there were no markers; a tokenizer of one's own is not."""
    folder = make(tmp_path)[0]
    tokenized(folder, "a", "diff", 512, vocab_size=600)
    tokenizer = folder / "tokens" / "tokenizer.json"
    values = json.loads(tokenizer.read_text())
    values["added_tokens"] = values["added_tokens"][:8]
    for name in MARKERS:
        del values["model"]["vocab"][name]
    tokenizer.write_text(json.dumps(values))
    assert tokenized(folder, "b", "diff", 512).rows["train"] > 0, "somebody's own"
    record = folder / "tokens" / "tokenizer.trained.json"
    digest = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    record.write_text(json.dumps({"vocab_size": 600, "sha256": digest}))
    for size in (0, 600):
        with pytest.raises(UsageError) as caught:
            tokenized(folder, "c", "diff", 512, vocab_size=size)
        assert re.fullmatch(
            rf"{re.escape(str(tokenizer))}: was trained before .* <think>, .*; remove it .*",
            str(caught.value),
        )
    tokenizer.unlink()
    assert tokenized(folder, "c", "diff", 512, vocab_size=600).rows["train"] > 0


def test_ones_that_give_all_back_are_taken(folder: Path, texts: list[str], tmp_path: Path) -> None:
    values: dict[str, Any] = json.loads(train(texts, 600))
    values["normalizer"] = {"type": "NFC"}  # as Qwen's has
    for number, text in enumerate((json.dumps(values), with_special(words(texts, known=True)))):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        done = tokenized(folder, f"taken{number}", "diff", 512, tokenizer=path, fast=False)
        assert done.rows["train"] > 0


def test_a_token_of_that_name_is_not_the_unknown_one(texts: list[str]) -> None:
    """Where a model has no unknown token, `None` is a word of Python."""
    text = train(["None " * 50], 300)
    encoder = Encoder(text, ["None None None"], fast=False)
    assert encoder.decode(encoder.encode(["None"])[0]) == "None"


# -- the size of the vocabulary


def test_another_size_than_is_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path)[0]
    argv = ["tokenize", str(folder), "--render", "diff", "--length", "512"]
    # little text: fewer tokens than asked for, and still the same question
    assert main([*argv, "--vocab", "30000"]) == 0
    tokenizer = folder / "tokens" / "tokenizer.json"
    before = tokenizer.read_bytes()
    assert Encoder.open(tokenizer).vocab_size < 30000
    assert main([*argv, "--vocab", "30000"]) == 0
    assert main(argv) == 0, "without it, what is there is used"
    capsys.readouterr()
    assert main([*argv, "--vocab", "400"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # behind how far it came
    assert str(tokenizer) in line
    assert "30000, not 400" in line
    assert tokenizer.read_bytes() == before
    tokenizer.unlink()  # as the line says
    assert main([*argv, "--vocab", "400"]) == 0
    assert Encoder.open(tokenizer).vocab_size == 400


def test_the_size_of_one_that_was_put_there_is_its_own(tmp_path: Path) -> None:
    folder = make(tmp_path)[0]
    tokenized(folder, "a", "diff", 512, vocab_size=30000)
    tokenizer = folder / "tokens" / "tokenizer.json"
    tokenizer.write_text(train(list(sample(opened(folder))), 500))
    with pytest.raises(UsageError, match="500, not 30000"):
        tokenized(folder, "b", "diff", 512, vocab_size=30000)
    assert tokenized(folder, "b", "diff", 512, vocab_size=500).rows["train"] > 0


def test_a_size_and_a_tokenizer_exclude_each_other(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"mine\.json: is trained already"):
        tokenized(folder, "x", "diff", 512, tokenizer=path, vocab_size=600)


def test_where_tokenizers_is_not_installed_all_ways_say_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    options = ["--render", "diff", "--length", "512"]
    with pytest.raises(UsageError, match=r"pip install 'codeflow-kit\[train\]'"):
        codeflow.tokenize(folder, "diff", 512, name="none")
    for more in ([], ["--dry-run"]):
        assert main(["tokenize", str(folder), *options, "--name", "none", *more]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert "pip install 'codeflow-kit[train]'" in line
    assert not (folder / "tokens" / "none").exists()
