"""A history's feature rows as plain arrays, in an order that no unit of work can change.

Rows arrive in whatever order and grouping the content pass made them; here they are sorted once,
and every sum that follows runs in that order. Files keep one number through renames.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import History
from codeflow_miners.contents.file_kind import SOURCE, TEST
from codeflow_miners.history.dates import time_marks

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WORD = re.compile(r"#\d+|[^\W\d]\w{2,63}")
_TEST_AFFIX = re.compile(r"^(tests?|specs?)[_-]|([_.-](tests?|specs?)|(?<=[a-z0-9])Tests?)$")


@dataclass(frozen=True)
class Steps:
    """The steps of a history: N steps, R rows of changed files, L changed lines.

    `*_terms` are (step, term) pairs as two (T,) arrays: what a step talks about. A line event is
    one changed line of one file: +1 added, -1 removed.
    """

    count: int
    elapsed: Ints  # (N + 1,) seconds of each commit since the first, never running backwards
    row_step: Ints  # (R,) ascending
    row_file: Ints  # (R,) number of the file, kept through renames
    row_bytes: Ints  # (R,) size of the row's patch
    row_path: list[str]  # (R,) the new path, or the old one of a file that went
    row_work: npt.NDArray[np.bool_]  # (R,) whether the file is source or test
    stem_terms: tuple[Ints, Ints]
    identifier_terms: tuple[Ints, Ints]
    message_terms: tuple[Ints, Ints]
    line_step: Ints  # (L,)
    line_key: npt.NDArray[np.uint64]  # (L,) which line of which file
    line_sign: Ints  # (L,)


def read_steps(history: History) -> Steps:
    """Arrays of `history.features`, which must be there, and of its messages and dates."""
    assert history.features is not None, "the span miner asks for features"
    table = _sorted(history.features)
    count = len(history.commits) - 1
    row_step = table["step"].to_numpy().astype(np.int64)
    old, new = table["old_path"].to_pylist(), table["new_path"].to_pylist()
    row_file = _files(old, new)
    added, added_rows = _flat(table["added_lines"])
    removed, removed_rows = _flat(table["removed_lines"])
    rows = np.concatenate([added_rows, removed_rows])
    # An odd constant spreads the file number over the 64 bits of the line's hash.
    spread = row_file.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    identifiers, identifier_rows = _flat(table["identifiers"])
    clock = np.array(time_marks([c.committed_at for c in history.commits]), dtype=np.int64)
    return Steps(
        count=count,
        elapsed=clock - clock[0],
        row_step=row_step,
        row_file=row_file,
        row_bytes=table["patch_bytes"].to_numpy().astype(np.int64),
        row_path=[after or before for before, after in zip(old, new, strict=True)],
        row_work=pc.is_in(table["file_kind"], pa.array([SOURCE, TEST])).to_numpy(),
        stem_terms=_stems(row_step, old, new),
        identifier_terms=(row_step[identifier_rows], identifiers.astype(np.int64)),
        message_terms=_words([c.messages for c in history.commits[1:]]),
        line_step=row_step[rows],
        line_key=np.concatenate([added, removed]).astype(np.uint64) ^ spread[rows],
        line_sign=np.repeat(np.array([1, -1], dtype=np.int64), [len(added), len(removed)]),
    )


def _sorted(features: pa.Table) -> pa.Table:
    by = [(name, "ascending") for name in ("step", "new_path", "old_path", "status")]
    return features.take(pc.sort_indices(features, sort_keys=by)).combine_chunks()


def _flat(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], Ints]:
    """Values of a list column, end to end, and the row of each."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # an older pyarrow keeps the chunks of an empty table
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(array), dtype=np.int64), lengths)
    return array.flatten().to_numpy(zero_copy_only=False), rows


def _files(old: list[str | None], new: list[str | None]) -> Ints:
    numbers: dict[str, int] = {}
    out = np.empty(len(old), dtype=np.int64)
    for k, (before, after) in enumerate(zip(old, new, strict=True)):
        path = before if before is not None else after
        assert path is not None
        out[k] = numbers.setdefault(path, len(numbers))
        if after is not None:
            numbers[after] = int(out[k])
    return out


def _stems(steps: Ints, old: list[str | None], new: list[str | None]) -> tuple[Ints, Ints]:
    """Names of the changed files without folder, suffix and mark of a test: `test_app.py`, app."""
    hashes: dict[str, int] = {}
    at: list[int] = []
    terms: list[int] = []
    for step, *paths in zip(steps.tolist(), old, new, strict=True):
        for path in paths:
            if path is not None:
                if path not in hashes:
                    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
                    hashes[path] = zlib.crc32((_TEST_AFFIX.sub("", stem).lower()).encode())
                at.append(step)
                terms.append(hashes[path])
    return np.array(at, dtype=np.int64), np.array(terms, dtype=np.int64)


def _words(messages: list[tuple[str, ...]]) -> tuple[Ints, Ints]:
    at: list[int] = []
    terms: list[int] = []
    for step, texts in enumerate(messages):
        words = {word.lower() for text in texts for word in _WORD.findall(text)}
        at += [step] * len(words)
        terms += [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]
    return np.array(at, dtype=np.int64), np.array(terms, dtype=np.int64)
