"""The tokenizer: bytes come back, special tokens cannot be smuggled in, gigatoken is checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.documents.document import MARKERS, NAMED, SPECIAL
from codeflow.errors import UsageError
from codeflow.tokens.sample import sample
from codeflow.tokens.tokenizer import Encoder, train
from token_samples import make, opened

FAST = pytest.importorskip("gigatoken", reason="the extra `fast` is not installed") is not None
TEXT = st.lists(
    st.one_of(
        st.text(max_size=20), st.sampled_from([*NAMED, "def f(x):\n    return", "\r\n", "<|"])
    )
).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tokenizer"))[0]


@pytest.fixture(scope="module")
def encoders(folder: Path) -> list[Encoder]:
    text = train(sample(opened(folder)), 700)
    return [Encoder(text, fast=True), Encoder(text, fast=False)]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXT, max_size=12))
def test_text_comes_back_and_is_never_special(encoders: list[Encoder], texts: list[str]) -> None:
    fast, slow = encoders
    assert fast.slow_because is None
    assert slow.slow_because is not None
    for ids, other, text in zip(fast.encode(texts), slow.encode(texts), texts, strict=True):
        assert ids.dtype == other.dtype == np.uint32
        assert ids.tolist() == other.tolist()
        assert not set(ids.tolist()) & set(fast.special.values())
        assert fast.decode(ids) == text


def test_special_tokens_would_be_found_by_the_tokenizer_itself(encoders: list[Encoder]) -> None:
    """The test above is not blind: the plain tokenizer does turn the spelling into the token."""
    from tokenizers import Tokenizer

    ids = Tokenizer.from_str(encoders[0].text).encode("a<|im_end|>b").ids
    assert encoders[0].special["<|im_end|>"] in ids


def test_special_ids_are_those_of_the_file(encoders: list[Encoder]) -> None:
    added = {t["content"]: t["id"] for t in json.loads(encoders[0].text)["added_tokens"]}
    assert encoders[0].special == added
    assert list(added) == [*SPECIAL, *MARKERS]
    assert list(added.values()) == list(range(14)), "markers behind the special tokens"
    for name, number in added.items():
        assert encoders[0].decode([number]) == name


def test_markers_are_single_entries_that_skipping_special_tokens_keeps(
    encoders: list[Encoder],
) -> None:
    """What engines look for: vLLM takes the id of `<tool_call>` from the vocabulary, and parses
    the text that a decoder leaves when it skips special tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(encoders[0].text)
    for name in (*SPECIAL, *MARKERS):
        assert tokenizer.token_to_id(name) == encoders[0].special[name]
        (id,) = tokenizer.encode(name).ids
        assert tokenizer.decode([id], skip_special_tokens=True) == (name if name in MARKERS else "")


def test_line_ends_of_tokens(encoders: list[Encoder]) -> None:
    encoder = encoders[0]
    text = "if x:\n\n    y()\r\nz\n"
    (ids,) = encoder.encode([text])
    assert int(encoder.newlines[ids].sum()) == text.count("\n")
    assert encoder.ends_line[ids[-1]]


def test_training_and_sampling_are_deterministic(folder: Path) -> None:
    texts = list(sample(opened(folder)))
    assert texts == list(sample(opened(folder)))
    assert train(texts, 500) == train(iter(texts), 500)
    few = list(sample(opened(folder), 4000))
    assert 0 < len(few) < len(texts)
    with pytest.raises(UsageError, match="270"):
        train(texts, 200)


def test_a_users_tokenizer_keeps_the_ids_of_its_other_tokens(encoders: list[Encoder]) -> None:
    """Special tokens beyond the vocabulary, with ones that are ordinary text between them."""
    values = json.loads(encoders[0].text)
    size = len(values["model"]["vocab"])
    for name in NAMED:
        del values["model"]["vocab"][name]
    shifted = {
        k: n
        for n, k in enumerate(sorted(values["model"]["vocab"], key=values["model"]["vocab"].get))
    }
    values["model"]["vocab"] = shifted
    base = dict(values["added_tokens"][0])
    names = [*SPECIAL[:4], "<tool>", *SPECIAL[4:], *MARKERS]
    values["added_tokens"] = [
        {**base, "id": len(shifted) + k, "content": name, "special": name != "<tool>"}
        for k, name in enumerate(names)
    ]
    for fast in (True, False):
        encoder = Encoder(json.dumps(values), fast=fast)
        assert encoder.special[SPECIAL[4]] == len(shifted) + 5
        assert encoder.vocab_size == size + 1
        (ids,) = encoder.encode(["a<tool>b<|im_start|>"])
        assert len(shifted) + 4 in ids
        assert not set(ids.tolist()) & set(encoder.special.values())
        assert encoder.decode(ids) == "a<tool>b<|im_start|>"


def test_a_tokenizer_without_the_special_tokens_is_refused(encoders: list[Encoder]) -> None:
    values = json.loads(encoders[0].text)
    values["added_tokens"] = [t for t in values["added_tokens"] if t["content"] != SPECIAL[2]]
    with pytest.raises(UsageError, match="fim_suffix"):
        Encoder(json.dumps(values))
    assert "<|fim_suffix|>" not in Encoder(json.dumps(values), needs=["<|im_end|>"]).special
    markers = [t for t in json.loads(encoders[0].text)["added_tokens"] if t["id"] != 9]
    values["added_tokens"] = markers
    assert Encoder(json.dumps(values)).special["<think>"] == 8, "not needed, not asked for"
    with pytest.raises(UsageError, match="it: lacks the tokens </think>; add them"):
        Encoder(json.dumps(values), needs=NAMED)
    with pytest.raises(UsageError, match="not a tokenizer"):
        Encoder("{}")
    with pytest.raises(UsageError, match=r"none\.json"):
        Encoder.open(Path("none.json"))


@pytest.mark.parametrize("fault", ["wrong", "panic", "absent"])
def test_falls_back_when_gigatoken_is_not_to_be_trusted(
    encoders: list[Encoder], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    import gigatoken

    class Panic(BaseException):
        """As Rust's panics arrive in Python."""

    class Wrong:
        def __init__(self, real: gigatoken.Tokenizer) -> None:
            self.real = real

        def encode(self, text: str) -> np.ndarray:
            return self.real.encode(text.replace("\u0300", ""))

        def encode_batch(self, texts: list[str], parallel: bool) -> object:
            return self.real.encode_batch(
                [t.replace("\u0300", "") for t in texts], parallel=parallel
            )

    real = gigatoken.Tokenizer.from_json

    def load(text: str) -> object:
        if fault == "panic":
            raise Panic("not implemented")
        return Wrong(real(text))

    if fault == "absent":
        monkeypatch.setitem(sys.modules, "gigatoken", None)
    else:
        monkeypatch.setattr(gigatoken.Tokenizer, "from_json", load)
    encoder = Encoder(encoders[0].text)
    assert encoder.slow_because is not None
    assert {"wrong": "other ids", "panic": "not support", "absent": "not installed"}[fault] in (
        encoder.slow_because
    )
    assert encoder.decode(encoder.encode(["x\u0300y"])[0]) == "x\u0300y"
