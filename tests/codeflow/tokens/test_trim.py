"""Fill-in-the-middle documents in rows: trimmed around the hole, and around nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codeflow
from codeflow.documents.document import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, IM_END, Document, Piece
from codeflow.shards.format import Row
from codeflow.shards.reader import TokenShards
from codeflow.tokens.fit import Fitter
from codeflow.tokens.pack import pack
from codeflow.tokens.tokenizer import Encoder
from codeflow.tokens.trim import Around, Encoded, fullest
from gitdag import Content, Path_, Repo
from token_samples import encoder_for, make, tokenized

FORM = re.compile(r"<\|fim_prefix\|>(.*)<\|fim_suffix\|>(.*)<\|fim_middle\|>(.*)<\|im_end\|>", re.S)
QUICK = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return encoder_for(make(tmp_path_factory.mktemp("trim"))[0])


Parts = tuple[str, str, str]
"""The text before the hole, the middle, the text behind it."""


def document(parts: Parts, number: int = 0) -> Document:
    before, middle, after = parts
    body = (
        Piece(FIM_PREFIX, 1.0, special=True),
        Piece(before, 1.0),
        Piece(FIM_SUFFIX, 1.0, special=True),
        Piece(after, 1.0),
        Piece(FIM_MIDDLE, 1.0, special=True),
        Piece(middle, 0.5),
        Piece(IM_END, 0.5, special=True),
    )
    return Document(f"{number:032x}", None, "commit", (), iter(()), 1.0, body)


def check(text: str, parts: Parts) -> tuple[int, int]:
    """That a document's text asks what `parts` ask; the characters it lacks on either side."""
    before, middle, after = parts
    match = FORM.fullmatch(text)
    assert match, "in the order prefix, suffix, middle"
    assert match[3] == middle
    assert before.endswith(match[1])
    assert after.startswith(match[2])
    return len(before) - len(match[1]), len(after) - len(match[2])


def check_weights(made: Encoded, encoder: Encoder) -> None:
    """1 up to the mark of the middle, 0.5 behind it, 0 for the first."""
    at = made.ids.tolist().index(encoder.special[FIM_MIDDLE])
    rest = len(made.ids) - at - 1
    assert made.weights.tolist() == [0.0] + [1.0] * at + [0.5] * rest


lines = st.lists(st.text("ab= (é\u4f60", max_size=60), max_size=60).map(
    lambda some: "".join(f"{line}\n" for line in some)
)
parts_of = st.tuples(
    st.one_of(lines, st.text("ab é\U0001f469", max_size=900)),
    st.text("abc \n", min_size=1, max_size=80),
    st.one_of(lines, st.text("ab é\U0001f469", max_size=900)),
)


@QUICK
@given(parts=parts_of, length=st.integers(96, 500))
def test_a_long_document_is_trimmed_to_the_row_around_its_hole(
    encoder: Encoder, parts: Parts, length: int
) -> None:
    (whole,) = Fitter(encoder, 1 << 20, cut=True).encode([document(parts)])
    fitter = Fitter(encoder, length, cut=True)
    (made,) = fitter.encode([document(parts)])
    assert len(made.ids) <= length
    assert made.least <= len(made.ids)
    missing = check(encoder.decode(made.ids), parts)
    check_weights(made, encoder)
    if len(whole.ids) <= length:
        assert missing == (0, 0)
        assert fitter.counts == {"whole": 1}
        return
    assert fitter.counts == {"trimmed": 1}
    assert len(made.ids) > length // 2
    before, _, after = parts
    texts = [t for t in (before, after) if t]
    if all(t.endswith("\n") and max(map(len, t.split("\n"))) < 60 for t in texts):
        assert not before[: missing[0]] or before[: missing[0]].endswith("\n")
        kept = after[: len(after) - missing[1]]
        assert not missing[1] or kept.endswith("\n")


@QUICK
@given(parts=parts_of, data=st.data())
def test_trimming_keeps_the_middle_and_what_is_next_to_it(
    encoder: Encoder, parts: Parts, data: st.DataObject
) -> None:
    (made,) = Fitter(encoder, 2000, cut=True).encode([document(parts)])
    small = made.trimmed(data.draw(st.integers(made.least, len(made.ids)), label="size"))
    missing = check(encoder.decode(small.ids), parts)
    check_weights(small, encoder)
    for lacks, text in zip(missing, (parts[0], parts[2]), strict=True):
        if lacks:
            side = len(encoder.encode([text])[0])
            kept = text[lacks:] if text is parts[0] else text[: len(text) - lacks]
            assert len(encoder.encode([kept])[0]) >= side // 3
    with_lines = min(parts[0].count("\n"), parts[2].count("\n")) >= 40
    if with_lines and len(small.ids) < len(made.ids):
        assert all(missing) or len(made.ids) - len(small.ids) < 100, "both sides give"


def texts_of(rows: Sequence[Row], encoder: Encoder) -> Iterator[tuple[str, str, list[float]]]:
    """The documents: triple, text, weights."""
    for row in rows:
        start = 0
        weights = row.token_weights.tolist()
        for length, id in zip(row.doc_lengths.tolist(), row.triple_ids, strict=True):
            if id:
                ids = row.input_ids[start : start + length]
                yield id, encoder.decode(ids), weights[start : start + length]
            start += length
        assert start == len(row.input_ids)


@QUICK
@given(seed=st.integers(0, 1 << 30), length=st.integers(100, 700), count=st.integers(1, 60))
def test_every_middle_is_in_one_row_whole(
    encoder: Encoder, seed: int, length: int, count: int
) -> None:
    chance = np.random.default_rng(seed)
    some = []
    for _ in range(count):
        a, b, c = (int(n) for n in chance.integers([0, 1, 0], [90, 5, 90]))
        text = [f"v{n} = {n * 7919 % 1000}\n" for n in range(a + b + c)]
        some.append(("".join(text[:a]), "".join(text[a : a + b]), "".join(text[a + b :])))
    documents = [document(parts, number) for number, parts in enumerate(some)]
    made = list(Fitter(encoder, length, cut=True).encode(documents))
    assert len(made) == count
    rows = list(pack(made, length, encoder.special[IM_END], 20 * length))
    assert all(row.input_ids.shape == (length,) for row in rows)
    found = list(texts_of(rows, encoder))
    assert sorted(id for id, _, _ in found) == [f"{n:032x}" for n in range(count)]
    for id, shown, weights in found:
        check(shown, some[int(id, 16)])
        assert weights[0] == 0
    again = pack(made, length, encoder.special[IM_END], 20 * length)
    assert [row.input_ids.tobytes() for row in again] == [row.input_ids.tobytes() for row in rows]


def test_wrong_ways_to_trim_are_caught(encoder: Encoder) -> None:
    parts = ("".join(f"a{n}\n" for n in range(90)), "m\n", "".join(f"b{n}\n" for n in range(90)))
    (made,) = Fitter(encoder, 2000, cut=True).encode([document(parts)])
    assert isinstance(made.spare, Around)
    size = (made.least + len(made.ids)) // 2
    check(encoder.decode(made.trimmed(size).ids), parts)
    gone = len(made.ids) - size
    first, last = made.spare.first, made.spare.last
    hole = made.ids.tolist().index(encoder.special[FIM_SUFFIX])
    wrong = {
        "next to the hole, before": [*range(hole - gone, hole)],
        "next to the hole, behind": [*range(hole + 1, hole + 1 + gone)],
        "the end of the document": [*range(len(made.ids) - gone, len(made.ids))],
        "the mark before": [*range(first - 1, first - 1 + gone)],
        "the mark behind": [*range(last + 1 - gone, last + 1)],
    }
    for places in wrong.values():
        with pytest.raises(AssertionError):
            check(encoder.decode(np.delete(made.ids, places)), parts)


@given(
    starts=st.sets(st.integers(0, 60), min_size=1, max_size=12),
    stops=st.sets(st.integers(0, 60), max_size=12),
    wanted=st.integers(0, 60),
    room=st.integers(0, 60),
)
def test_the_fullest_stretch_is_the_one_found_by_trying_all(
    starts: set[int], stops: set[int], wanted: int, room: int
) -> None:
    begin, end = fullest(
        np.array(sorted(starts), np.int32), np.array(sorted(stops), np.int32), wanted, room
    )
    lengths = [b - a for a in starts for b in stops if 0 < b - a <= room]
    assert end - begin == max(lengths, default=0)
    assert begin in starts
    if end > begin:
        assert end in stops


@pytest.mark.slow
def test_rows_of_a_mined_history_are_full(tmp_path: Path) -> None:
    """Files from a few lines to several rows long."""
    chance = np.random.default_rng(5)
    repo = Repo.create(tmp_path / "r.git")
    sizes = (chance.pareto(0.9, 60) * 40 + 3).clip(3, 300).astype(int)
    texts = {
        f"p{k % 7}/f{k}.py": [f"value_{n} = g(x, {n * (k + 3) % 997})\n" for n in range(size)]
        for k, size in enumerate(sizes)
    }
    for number in range(240):
        path = list(texts)[number % len(texts)]
        at = int(chance.integers(len(texts[path])))
        texts[path][at] = f"changed_{number} = h({at}, y)\n"
        files: dict[Path_, Content | None] = {p: "".join(text) for p, text in texts.items()}
        repo.commit(files, message=f"Make change {number}")
    folder = tmp_path / "data"
    codeflow.mine([repo.path], folder, kinds=["commit"], window=(0, 1), until="mine")
    made = tokenized(folder, "fim", "fim-file", 1024, vocab_size=600)
    assert made.documents["trimmed"] > 5
    assert made.documents["whole"] > 5
    assert made.rows["train"] > 30
    assert made.fill["train"] >= 0.99
    shards = TokenShards(made.folder, "train")
    padding = [int(row.doc_lengths[-1]) for row in shards if not row.triple_ids[-1]]
    assert made.fill["train"] == pytest.approx(1 - sum(padding) / 1024 / len(shards), abs=1e-5)
