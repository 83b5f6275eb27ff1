"""`export` and `generate` from the command line: what they write, say, and refuse."""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.commands import export, generate
from codeflow.documents.document import IM_END
from codeflow.documents.options import Options
from codeflow.documents.triples import RENDERINGS
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.loopcoder import decode, load
from codeflow.tokens.prompt import REPLIES, prompt_of
from codeflow.tokens.tokenizer import Encoder
from codeflow.train.state.trained import find
from codeflow.triple import Triple
from token_samples import make, opened, plain, tokenized
from training_runs import SHAPE, run, small

T = 512


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a run of two steps on its diffs."""
    data, _ = make(tmp_path_factory.mktemp("commands"))
    done = tokenized(data, "d", "diff", T, vocab_size=600, validation=0.3, fast=False)
    vocab_size = Encoder.open(done.folder / "tokenizer.json", fast=False).vocab_size
    recipe = small(
        2,
        model={"overrides": {**SHAPE, "vocab_size": vocab_size}},
        data={"sources": {"d": 1}},
        batch={"sequence_tokens": T, "rows_per_step": 1, "micro_batch_rows": 1},
    )
    run(recipe, data, data / "runs" / "one")
    return data


@pytest.fixture
def command() -> Callable[..., int]:
    """Runs one command as the command line does; its exit status."""

    def call(*words: object) -> int:
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers()
        export.add(commands)
        generate.add(commands)
        parsed = parser.parse_args([str(word) for word in words])
        status: int = parsed.command(parsed)
        return status

    return call


def triples(data: Path) -> list[Triple]:
    return list(opened(data).triples())


def test_an_exported_run_is_the_same_model(
    made: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("export", made / "runs/one", "--to", tmp_path / "hf") == 0
    last = find(made / "runs/one")
    assert last.path.name == "step-00000002"
    ours, theirs = last.model(), load(tmp_path / "hf")
    assert not ours.training
    ids = torch.arange(100)[None] % 600
    with torch.no_grad():
        assert torch.equal(ours(ids), theirs(ids))
    count = sum(p.numel() for p in theirs.parameters())
    assert f"{count:,} parameters" in capsys.readouterr().out
    same = (made / "runs/one/tokenizer.json").read_bytes()
    assert (tmp_path / "hf/tokenizer.json").read_bytes() == same
    encoder = Encoder.open(tmp_path / "hf/tokenizer.json", fast=False)
    config = json.loads((tmp_path / "hf/config.json").read_text())
    assert encoder.special[IM_END] in config["eos_token_id"]

    meta = json.loads((last.path / "meta.json").read_text())
    about = json.loads((tmp_path / "hf/codeflow.json").read_text())
    assert about == {key: meta[key] for key in about}
    assert find(tmp_path / "hf").renderings == ("diff",)
    assert find(tmp_path / "hf").sequence_tokens == T
    assert command("export", tmp_path / "hf", "--to", tmp_path / "again") == 0
    for path in sorted((tmp_path / "hf").iterdir()):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_an_export_in_torchs_format_is_the_same_model_and_goes_on_to_hugging_face(
    made: Path, tmp_path: Path, command: Callable[..., int]
) -> None:
    assert command("export", made / "runs/one", "--to", tmp_path / "dcp", "--dcp") == 0
    ids, last = torch.arange(100)[None] % 600, find(made / "runs/one")
    found = find(tmp_path / "dcp")
    assert found.renderings == ("diff",)
    with torch.no_grad():
        assert torch.equal(found.model()(ids), last.model()(ids))
    assert command("export", tmp_path / "dcp", "--to", tmp_path / "hf") == 0
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "hf")(ids), last.model()(ids))


def test_a_text_is_continued(
    made: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Greedy: against the full forward pass; drawn: the same seed, the same text."""
    checkpoint = made / "runs/one/checkpoints/step-00000002"
    found = find(checkpoint)
    encoder = Encoder.open(made / "runs/one/tokenizer.json", fast=False)
    model = found.model()
    text = "def f1(x):<|im_end|>\n    return"  # spelled, not a token
    prompt = encoder.encode([text])[0].tolist()
    assert encoder.special[IM_END] not in prompt
    ids = list(prompt)
    ends = {encoder.special[IM_END], encoder.special["<|endoftext|>"]}
    with torch.no_grad():
        while len(ids) < len(prompt) + 12:
            token = int(model(torch.tensor([ids]))[0, -1].argmax())
            if token in ends:
                break
            ids.append(token)
    expected = encoder.decode(ids[len(prompt) :])
    file = tmp_path / "prompt.txt"
    file.write_text(text)
    for words in (("--prompt", text), ("--prompt-file", file)):
        assert command("generate", checkpoint, *words, "--max-tokens", 12) == 0
        assert capsys.readouterr().out == expected + "\n" * (not expected.endswith("\n"))
    drawn = []
    for seed in (1, 1, 2):
        how = ("--temperature", 1.5, "--top-p", 0.9, "--seed", seed, "--max-tokens", 12)
        assert command("generate", checkpoint, "--prompt", text, *how) == 0
        drawn.append(capsys.readouterr().out)
    assert drawn[0] == drawn[1] != drawn[2]
    new = ids[len(prompt) :]
    texts = [encoder.decode([id]) for id in new]  # a part of a character is none
    at = next(k for k, text in enumerate(texts) if encoder.encode([text])[0].tolist() == [new[k]])
    assert command("generate", checkpoint, "--prompt", text, "--stop", texts[at]) == 0
    shown = encoder.decode(new[: new.index(new[at])])
    assert capsys.readouterr().out == shown + "\n" * (not shown.endswith("\n"))


def test_a_stream_that_cannot_hold_the_text_gets_escapes(
    made: Path, command: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr(Encoder, "decode", lambda self, ids: "caf\u00e9 \u2014")
    assert command("generate", made / "runs/one", "--prompt", "x", "--max-tokens", 3) == 0
    stream.seek(0)
    assert stream.read() == "caf\\xe9 \\u2014\n"


def reply_of(triple: Triple, rendering: str, encoder: Encoder) -> list[int]:
    """The ids that a model would write that has learnt the document by heart."""
    (document,) = RENDERINGS[rendering].render(triple, Options(T, 1.0), "k")
    starts = [k for k, p in enumerate(document.written) if p.text == f"{rendering}\n"]
    ids: list[int] = []
    for piece in document.written[starts[-1] + 1 : -1]:
        ids += (
            [encoder.special[piece.text]]
            if piece.special
            else encoder.encode([piece.text])[0].tolist()
        )
    return ids


@pytest.mark.parametrize("rendering", REPLIES)
def test_a_proposal_is_applied(
    made: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rendering: str,
) -> None:
    """A model that knows the answer, one that stops early, and one that answers something else."""
    encoder = Encoder.open(made / "runs/one/tokenizer.json", fast=False)
    seen: list[Sequence[int]] = []
    answer: list[int] = []

    def oracle(model: Any, prompts: Any, most: int, sampling: Any, stops: set[int]) -> Any:
        assert encoder.special[IM_END] in stops
        seen.extend(prompts)
        return [answer[:most]]

    monkeypatch.setattr(decode, "generate", oracle)
    checked = 0
    for triple in triples(made):
        reply = reply_of(triple, rendering, encoder)
        if len(reply) > 250 or "corp.io" in triple.patch or not fits(triple, rendering, encoder):
            continue
        words = ("generate", made / "runs/one", "--data", made, "--triple", triple.id[:12])
        how = ("--render", rendering, "--check", "--max-tokens", 256)
        answer[:] = reply
        assert command(*words, *how) == 0
        assert re.search(r"applies: \d+ paths change and gives the new", capsys.readouterr().err)
        assert encoder.decode(seen[-1]).endswith(f"<|im_start|>{rendering}\n")
        answer[:] = reply[:-2]
        status = command(*words, *how)
        said = capsys.readouterr().err
        assert "gives the new side" not in said
        assert (status, said.startswith("does not apply: ")) in ((0, False), (1, True))
        assert status == 1 or rendering == "files" or triple.patch.count("@@ ") == 0
        answer[:] = encoder.encode(["nothing of the sort"])[0].tolist()
        assert command(*words, *how) == 1
        assert capsys.readouterr().err.startswith("does not apply: ")
        checked += 1
    assert checked >= 3


def fits(triple: Triple, rendering: str, encoder: Encoder) -> bool:
    try:
        return bool(prompt_of(triple, rendering, encoder, T, 256).size)
    except UsageError:
        return False


def test_a_prompt_is_a_document_up_to_its_reply(made: Path) -> None:
    encoder = Encoder.open(made / "runs/one/tokenizer.json", fast=False)
    for triple in triples(made):
        for rendering in ("diff", "blocks"):
            ids = prompt_of(triple, rendering, encoder, 5 * T, T)
            text = encoder.decode(ids)
            assert len(ids) <= 4 * T
            assert text.startswith(f"<|repo_name|>{triple.repo}\n")
            assert text.endswith(f"<|im_start|>{rendering}\n")
            (document,) = RENDERINGS[rendering].render(triple, Options(5 * T, 1.0), "k")
            whole = plain(document.written)
            request = text[text.rindex("<|im_start|>message\n") :]
            assert whole.startswith(request)
            new = {f.new_blob for f in triple.files} - {f.old_blob for f in triple.files}
            assert "diff --git" not in text
            assert new


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("nowhere", "--prompt", "x"), UsageError, "nowhere: no such folder; give a run"),
        (("tokens/d", "--prompt", "x"), UsageError, "neither a run"),
        (("runs/one", "--prompt", ""), UsageError, "the prompt is empty"),
        (("runs/one", "--prompt-file", "none.txt"), UsageError, "none.txt: cannot read the prompt"),
        (("runs/one", "--triple", "0"), UsageError, "--triple and --data go together"),
        (("runs/one", "--prompt", "x", "--check"), UsageError, "--check and --render are for"),
        (("runs/one", "--triple", "zz", "--data", "."), DataError, "no triple whose id starts"),
        (("runs/one", "--triple", "0", "--data", "runs"), CodeflowError, "runs"),
        (("runs/one", "--prompt", "x", "--stop", "no token"), UsageError, "--stop 'no token': is"),
        (("runs/one", "--prompt", "caf\udce9"), UsageError, "--prompt is not UTF-8"),
        (("runs/one", "--prompt", "x", "--top-p", "2"), UsageError, "top-p 2.0"),
        (("runs/one", "--prompt", "x", "--max-tokens", "0"), UsageError, "give 1 or more"),
        (("runs/one", "--prompt", "x", "--max-tokens", "999999"), UsageError, "131072 positions"),
        (("runs/one", "--prompt", "x", "--tokenizer", "none"), UsageError, "no such tokenizer"),
    ],
)
def test_mistakes_of_generate_are_one_line(
    made: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    error: type[CodeflowError],
    message: str,
) -> None:
    monkeypatch.chdir(made)
    with pytest.raises(error, match=message) as caught:
        command("generate", *words)
    assert "\n" not in str(caught.value)


def test_mistakes_with_folders_are_one_line(
    made: Path, tmp_path: Path, command: Callable[..., int]
) -> None:
    bare = tmp_path / "runs" / "bare"
    shutil.copytree(made / "runs/one", bare)
    (bare / "tokenizer.json").unlink()
    to = ("--to", tmp_path / "out")
    with pytest.raises(UsageError, match=r"no tokenizer.json beside it; give --tokenizer"):
        command("export", bare, *to)
    other = json.loads((made / "runs/one/tokenizer.json").read_text())
    other["model"]["merges"].pop()
    (bare / "tokenizer.json").write_text(json.dumps(other))
    with pytest.raises(UsageError, match=r"but .* was trained with"):
        command("export", bare, *to)
    with pytest.raises(UsageError, match=r"was trained with"):
        command("generate", bare, "--prompt", "x")
    good = ("--tokenizer", made / "runs/one/tokenizer.json")
    assert command("export", bare, *to, *good) == 0
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        command("export", bare, *to, *good)
    weights = bare / "checkpoints/step-00000002/rank-00000.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"rank-00000.safetensors: damaged"):
        command("generate", bare, "--prompt", "x", *good)
    (bare / "checkpoints/step-00000002/meta.json").write_text("{}")
    with pytest.raises(DataError, match=r"meta.json: format None"):
        command("generate", bare, "--prompt", "x", *good)
    shutil.rmtree(bare / "checkpoints")
    (bare / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="a run without a complete checkpoint"):
        command("export", bare, *to)
    (tmp_path / "out/codeflow.json").write_text("[")
    with pytest.raises(DataError, match=r"codeflow.json: "):
        command("generate", tmp_path / "out", "--prompt", "x")
    (tmp_path / "out/codeflow.json").unlink()
    with pytest.raises(UsageError, match="trained on nothing that is known, which asks for no"):
        command("generate", tmp_path / "out", "--data", made, "--triple", triples(made)[0].id)


def test_a_triple_too_long_for_a_row_is_named(made: Path, command: Callable[..., int]) -> None:
    words = ("generate", made / "runs/one", "--data", made, "--triple", triples(made)[0].id)
    with pytest.raises(UsageError, match=r"take more than 12 tokens, the 512 of a row without 500"):
        command(*words, "--max-tokens", 500)
    with pytest.raises(UsageError, match="leaves no room for a prompt in 512 tokens"):
        command(*words, "--max-tokens", 512)
