"""Fitting and packing against naive references."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.documents.document import ContextFile, Document, Piece
from codeflow.shards.format import PADDING, Row
from codeflow.tokens.fit import Fitter
from codeflow.tokens.pack import pack
from codeflow.tokens.tokenizer import Encoder
from codeflow.tokens.trim import Encoded
from token_samples import encoder_for, make

PAD = 0


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return encoder_for(make(tmp_path_factory.mktemp("pack"))[0])


def encoded(number: int, size: int) -> Encoded:
    chance = np.random.default_rng(number)
    weights = chance.choice(np.array([0, 0.5, 1], np.float32), size)
    weights[0] = 0
    ids = chance.integers(1, 1000, size).astype(np.uint32)
    return Encoded(ids, weights, f"{number:032x}", "Python" if number % 2 else None, "span")


def split(row: Row) -> Iterator[tuple[str, str | None, str, list[int], list[float]]]:
    """The documents of a row, by the plainest reading of its columns."""
    weights = []
    for length, weight in zip(row.run_lengths.tolist(), row.run_weights.tolist(), strict=True):
        weights += [weight] * length
    start = 0
    for length, id, language, kind in zip(
        row.doc_lengths.tolist(), row.triple_ids, row.languages, row.kinds, strict=True
    ):
        assert length > 0
        yield (
            id,
            language,
            kind,
            row.input_ids[start : start + length].tolist(),
            weights[start : start + length],
        )
        start += length
    assert start == len(row.input_ids) == len(weights)


@settings(deadline=None, max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 64), max_size=60),
    window=st.integers(1, 2000),
)
def test_every_document_is_in_one_row_once(sizes: list[int], window: int) -> None:
    documents = [encoded(k, size) for k, size in enumerate(sizes)]
    rows = list(pack(documents, 64, PAD, window))
    found = []
    for row in rows:
        assert row.input_ids.shape == (64,)
        assert row.doc_lengths.sum() == row.run_lengths.sum() == 64
        assert (np.diff(row.run_weights) != 0).all()
        assert row.token_weights.tolist() == [w for *_, weights in split(row) for w in weights]
        parts = list(split(row))
        for place, (id, language, kind, ids, weights) in enumerate(parts):
            assert weights[0] == 0
            if kind == PADDING:
                assert place == len(parts) - 1
                assert (id, language, set(ids), set(weights)) == ("", None, {PAD}, {0.0})
            else:
                found.append((id, language, kind, ids, weights))
    expected = [
        (d.triple_id, d.language, d.kind, d.ids.tolist(), d.weights.tolist()) for d in documents
    ]
    assert sorted(found) == sorted(expected)
    again = list(pack(documents, 64, PAD, window))
    assert all(np.array_equal(a.input_ids, b.input_ids) for a, b in zip(rows, again, strict=True))


def test_rows_are_full_when_sizes_vary() -> None:
    sizes = np.random.default_rng(1).integers(10, 300, 4000)
    documents = [encoded(k, int(size)) for k, size in enumerate(sizes)]
    rows = list(pack(iter(documents), 512, PAD, 1 << 16))
    assert sizes.sum() / (512 * len(rows)) > 0.99


@pytest.mark.slow
def test_packing_holds_one_window_in_memory() -> None:
    def stream() -> Iterator[Encoded]:
        for k in range(6000):
            yield encoded(k, 300 + k % 200)

    tracemalloc.start()
    rows = sum(1 for _ in pack(stream(), 512, PAD, 1 << 15))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows > 4000
    assert peak < 6000 * 400 * 8 / 4  # bytes: a quarter of all documents


def document(body: str, files: dict[str, str]) -> Document:
    context = (
        ContextFile(path, f"{path}:{text}", lambda text=text: text)  # type: ignore[misc]
        for path, text in files.items()
    )
    pieces = (Piece("<|im_start|>", 0.25, True), Piece(body, 1.0), Piece("<|im_end|>", 1.0, True))
    head = (Piece("<|repo_name|>", 0.5, True), Piece("r\n", 0.5))
    return Document("1" * 32, None, "commit", head, context, 0.5, pieces)


FILES = {
    f"d/f{k}.py": "".join(f"value_{k}_{n} = {n}\n" for n in range(k * 7 % 23 + 1))
    for k in range(30)
}


def whole_lines(part: str, text: str) -> bool:
    return part.endswith("\n") and f"\n{part}" in f"\n{text}"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(64, 1500))
def test_context_fills_the_budget_by_importance(encoder: Encoder, length: int) -> None:
    fitter = Fitter(encoder, length, cut=True)
    (made,) = fitter.encode([document("the body\n", FILES)])
    text = encoder.decode(made.ids)
    assert text.startswith("<|repo_name|>r\n")
    assert text.endswith("<|im_start|>the body\n<|im_end|>")
    shown = text.removeprefix("<|repo_name|>r\n").partition("<|im_start|>")[0]
    parts = [part.partition("\n") for part in shown.split("<|file_sep|>")[1:]]
    names = [name for name, _, _ in parts][::-1]
    assert names == list(FILES)[: len(names)]
    for place, (name, _, content) in enumerate(reversed(parts)):
        if place < len(parts) - 1:
            assert content == FILES[name]
        else:
            assert whole_lines(content, FILES[name])
    assert len(made.ids) <= length
    if len(names) < len(FILES):
        assert length - len(made.ids) <= 16 + 20  # the least room, or one line
    bodies = len(encoder.encode(["the body\n"])[0])
    expected = [0.0] + [0.5] * (len(made.ids) - bodies - 3) + [0.25] + [1.0] * (bodies + 1)
    assert made.weights.tolist() == expected


def test_a_file_of_one_long_line_leaves_its_room_empty(encoder: Encoder) -> None:
    """Minified code: there is no whole line to show."""
    for content in ("x = 1; " * 3000, "first\n" + "x = 1; " * 3000):
        shown = document("the body\n", {"a.js": content})
        (made,) = Fitter(encoder, 512, cut=True).encode([shown])
        text = encoder.decode(made.ids)
        assert text.endswith("<|im_start|>the body\n<|im_end|>")
        assert "x = 1" not in text


def test_a_file_that_does_not_fit_is_shown_from_its_start(encoder: Encoder) -> None:
    content = "import os\n" * 3 + "".join(f"value_{k} = {k * 7}\n" for k in range(900))
    for length in range(300, 330):
        (made,) = Fitter(encoder, length, cut=True).encode([document("body\n", {"a": content})])
        shown = encoder.decode(made.ids).partition("<|file_sep|>a\n")[2]
        assert shown.startswith("import os\n" * 3)


def test_no_more_than_two_tokens_are_given_up_for_one_that_is_filled(encoder: Encoder) -> None:
    """A context of one long line would leave almost nothing of its document."""
    rng = np.random.default_rng(2)
    made: list[Encoded] = []
    for number in range(60):
        lines = ["word " * int(rng.integers(1, 120)) + "\n" for _ in range(rng.integers(1, 4))]
        one = document("the body\n", {"a": "".join(lines)})
        made += (
            found._replace(triple_id=f"{number:032x}")
            for found in Fitter(encoder, 512, cut=True).encode([one])
        )
    sizes = {found.triple_id: len(found.ids) for found in made}
    trimmed = 0
    for row in pack(made, 512, PAD):
        for length, id in zip(row.doc_lengths.tolist(), row.triple_ids, strict=True):
            if id:
                trimmed += sizes[id] > length
                assert sizes[id] - length <= 2 * length
    assert trimmed


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_trimming_gives_up_the_least_important_lines(encoder: Encoder, data: st.DataObject) -> None:
    (made,) = Fitter(encoder, 1200, cut=True).encode([document("the body\n", FILES)])
    size = data.draw(st.integers(made.least, len(made.ids) + 5))
    small = made.trimmed(size)
    assert len(small.ids) <= size
    assert len(small.weights) == len(small.ids)
    assert small.weights[0] == 0
    text, whole = encoder.decode(small.ids), encoder.decode(made.ids)
    assert text.startswith("<|repo_name|>r\n")
    rest = text.removeprefix("<|repo_name|>r\n")
    first, mark, others = rest.partition("<|file_sep|>")[2].partition("<|file_sep|>")
    name, _, kept = first.partition("<|im_start|>")[0].partition("\n")
    if name:
        assert whole_lines(kept, FILES[name])
        assert whole.endswith(f"{mark}{others}")
    else:
        assert whole.endswith(rest)
    assert size - len(small.ids) <= 30
    tail = len(small.ids) - 40
    if tail > 0:
        assert small.weights[tail:].tolist() == made.weights[-40:].tolist()


def test_rows_of_like_documents_are_filled_by_trimming(encoder: Encoder) -> None:
    documents = [document(f"body {k}\n", FILES) for k in range(100)]
    made = list(Fitter(encoder, 4000, cut=True).encode(documents))
    size = len(made[0].ids)
    length = int(size * 1.6)
    rows = list(pack(made, length, PAD))
    used = sum(int(row.doc_lengths[:-1].sum()) for row in rows if row.kinds[-1] == PADDING)
    used += sum(length for row in rows if row.kinds[-1] != PADDING)
    assert used / (len(rows) * length) > 0.98
    texts = [encoder.decode(np.array(ids, np.uint32)) for row in rows for *_, ids, _ in split(row)]
    for k in range(100):
        assert sum(f"<|im_start|>body {k}\n<|im_end|>" in text for text in texts) == 1


def test_a_body_that_is_too_long_is_dropped_and_counted(encoder: Encoder) -> None:
    long = "word and word\n" * 200
    for cut in (False, True):
        fitter = Fitter(encoder, 100, cut=cut)
        made = list(fitter.encode([document(long, {}), document("b", {})]))
        assert len(made) == 1
        assert fitter.counts == Counter({"too-long": 1, "whole": 1})


def test_nothing_to_learn_is_dropped_and_counted(encoder: Encoder) -> None:
    pieces = (Piece("x", 1.0), Piece("words without loss\n", 0.0))
    fitter = Fitter(encoder, 100, cut=True)
    unlearnt = Document("1" * 32, None, "commit", (), iter(()), 0.0, pieces[1:])
    assert not list(fitter.encode([unlearnt]))
    assert fitter.counts["no-target"] == 1


def test_the_cache_changes_nothing(encoder: Encoder, tmp_path: Path) -> None:
    cold = [
        next(iter(Fitter(encoder, 500, cut=True).encode([document(f"b{k}", FILES)]))).ids.tolist()
        for k in range(5)
    ]
    warm = Fitter(encoder, 500, cut=True)
    documents = [document(f"b{k}", FILES) for k in range(5)]
    assert [made.ids.tolist() for made in warm.encode(documents)] == cold
