"""Intermediate tables of the dedup stage, and how they are read.

A triple is named by its *place*, one 64-bit number: its part in the upper half, its row in the
part's decisions in the lower. Keys are hashes, and each part's are sorted, so that a range of keys
is a partition: a unit that joins one maps the file of every part and copies a slice of each. The
number of partitions is chosen when the number of keys is known; no file is written twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeflow.storage.damage import reading
from codeflow_filters.dedup.shingles import Hashes, Words

HALF = np.uint64(32)
_ROW = np.uint64((1 << 32) - 1)
_KEYS_WANTED = 1 << 21  # of a partition; what is joined at once is held in memory
_HELD_BYTES = 64 << 20
_KEY_SPACE = 1 << 64

PATCH, CONTENTS, NEAR = 0, 1, 2  # `by`, what links two triples


def _schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, type, nullable=False) for name, type in types.items()])


# a row for every row of the part's decisions
TRIPLE_ROWS = _schema(
    id_high=pa.uint64(),
    id_low=pa.uint64(),
    rank=pa.uint8(),
    score=pa.float32(),
    shingles=pa.list_(pa.uint32()),
)
# sorted by key; the 128 bits of key and check are the hash of a group of kinds
# and the name of a change
EXACT_KEYS = _schema(key=pa.uint64(), check=pa.uint64(), row=pa.uint32(), by=pa.uint8())
# sorted by key; `size` is that of the set of shingles
BAND_KEYS = _schema(key=pa.uint64(), row=pa.uint32(), size=pa.uint32())
LINKS = _schema(one=pa.uint64(), other=pa.uint64(), by=pa.uint8())
# every triple of a cluster, sorted by place; `best` is the place of the one that is kept
MEMBERS = _schema(
    place=pa.uint64(),
    best=pa.uint64(),
    best_high=pa.uint64(),
    best_low=pa.uint64(),
    cluster_high=pa.uint64(),
    cluster_low=pa.uint64(),
    exact=pa.bool_(),
    form=pa.bool_(),  # whether the one that is kept is of another kind
)
SIMILARITIES = _schema(place=pa.uint64(), similarity=pa.float32())


def places_of(part: int, rows: npt.NDArray[Any]) -> Words:
    """The places of some rows of a part."""
    return rows.astype(np.uint64) | np.uint64(part << 32)


def split(place: int) -> tuple[int, int]:
    """Part and row of a place."""
    return place >> 32, place & int(_ROW)


def batch(schema: pa.Schema, *columns: Any) -> pa.RecordBatch:
    """Columns in the order of a schema."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for field, column in zip(schema, columns, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


@contextmanager
def mapped(path: str) -> Iterator[pa.Table]:
    """A table as it lies on disk; what was read of it goes with the last array that shows it."""
    with (
        reading(Path(path)),
        pa.memory_map(path) as source,
        pa.ipc.open_file(source) as reader,
    ):
        yield reader.read_all()


def columns_of(table: pa.Table, rows: slice = slice(None)) -> dict[str, npt.NDArray[Any]]:
    """Columns of numbers, copied."""
    start, stop, _ = rows.indices(len(table))
    part = table.slice(start, stop - start)
    return {name: np.array(part.column(name).to_numpy()) for name in part.column_names}


def read_columns(paths: Sequence[str], schema: pa.Schema) -> dict[str, npt.NDArray[Any]]:
    """The columns of some tables, one after the other."""
    found = []
    for path in paths:
        with mapped(path) as table:
            found.append(columns_of(table))
    return joined(found, schema)


def joined(
    found: Sequence[Mapping[str, npt.NDArray[Any]]], schema: pa.Schema
) -> dict[str, npt.NDArray[Any]]:
    """The columns of some tables of a schema, one after the other; there may be none."""
    empty = columns_of(schema.empty_table())
    return {name: np.concatenate([empty[name], *(f[name] for f in found)]) for name in empty}


class KeyRange(NamedTuple):
    """The keys from `low` to before `high`."""

    low: int
    high: int


def partition(keys: int) -> list[KeyRange]:
    """Ranges that share evenly what hashes there are."""
    count = -(-keys // _KEYS_WANTED)
    return [KeyRange(k * _KEY_SPACE // count, (k + 1) * _KEY_SPACE // count) for k in range(count)]


def read_range(
    paths: Sequence[str], keys: KeyRange, schema: pa.Schema
) -> tuple[dict[str, npt.NDArray[Any]], Words]:
    """The rows of every part's table whose key is in a range, and their places.

    Args:
        paths: a table of each part, sorted by `key`.
    """
    found = []
    places = [np.empty(0, np.uint64)]
    for part, path in enumerate(paths):
        with mapped(path) as table:
            column = table.column("key").to_numpy()  # one batch, so no copy
            low = int(np.searchsorted(column, np.uint64(keys.low)))
            high = len(column)
            if keys.high < _KEY_SPACE:
                high = int(np.searchsorted(column, np.uint64(keys.high)))
            found.append(columns_of(table, slice(low, high)))
            places.append(places_of(part, found[-1]["row"]))
    return joined(found, schema), np.concatenate(places)


class ShingleReader:
    """The sets of triples by place, read from the tables of all parts.

    Keeps the sets read last, up to some bytes. `read` gets many at an open file a part; a set that
    is not there any more when it is asked for costs an open file of its own.
    """

    def __init__(self, paths: Sequence[str], held_bytes: int = _HELD_BYTES) -> None:
        self._paths = paths
        self._limit = held_bytes
        self._held: OrderedDict[int, Hashes] = OrderedDict()
        self._bytes = 0

    def of(self, place: int) -> Hashes:
        """The set of one triple."""
        found = self._held.get(place)
        if found is None:
            part, row = split(place)
            [found] = self._rows(part, np.array([row]))
            self._hold(place, found)
        return found

    def read(self, places: Words) -> None:
        """Reads the sets of some places, distinct and ascending, as far as they can be held."""
        wanted = [place for place in places.tolist() if place not in self._held]
        rest = np.array(wanted, np.uint64)
        parts, starts = np.unique(rest >> HALF, return_index=True)
        for part, rows in zip(parts.tolist(), np.split(rest & _ROW, starts[1:]), strict=False):
            for row, found in zip(rows.tolist(), self._rows(part, rows), strict=True):
                self._hold((part << 32) | row, found)

    def _hold(self, place: int, found: Hashes) -> None:
        self._held[place] = found
        self._bytes += found.nbytes
        while self._bytes > self._limit and len(self._held) > 1:
            _, old = self._held.popitem(last=False)
            self._bytes -= old.nbytes

    def _rows(self, part: int, rows: npt.NDArray[Any]) -> list[Hashes]:
        """The sets of ascending rows of a part."""
        with mapped(self._paths[part]) as table:
            chunks = table.column("shingles").chunks
            ends = np.cumsum([len(chunk) for chunk in chunks])
            found = []
            for row, chunk in zip(rows.tolist(), np.searchsorted(ends, rows, "right"), strict=True):
                lists = chunks[chunk]
                offsets = lists.offsets
                local = int(row - (ends[chunk] - len(lists)))
                low, high = offsets[local].as_py(), offsets[local + 1].as_py()
                found.append(lists.values[low:high].to_numpy().copy())
            return found
