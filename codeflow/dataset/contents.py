"""Finding one content among the row groups of `blobs` or `trees`.

The tables are sorted by repository and then so that they compress, not by id. A row group's
Parquet statistics say which repositories it holds; the ids of a repository's row groups are read
once and kept as sorted 64-bit prefixes (16 bytes a row); then one content costs one row group
(about 8 ms at 256 rows), or nothing while that group is among the last decoded ones.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow.errors import DataError
from codeflow.storage import tables
from codeflow.storage.damage import damaged

CACHE_BYTES = 128 << 20
CACHED_REPOS = 8


class RowGroup(NamedTuple):
    """One row group of one shard; statistics are None where the file has none."""

    path: Path
    number: int
    rows: int
    minimum: str | None
    maximum: str | None

    def may_hold(self, low: str, high: str) -> bool:
        """Whether a value between `low` and `high`, both included, may be in it."""
        if self.minimum is None or self.maximum is None:
            return True
        return self.minimum <= high and low <= self.maximum


class _Index(NamedTuple):
    """Where the rows of one repository are: parallel arrays, sorted by prefix."""

    prefixes: npt.NDArray[np.uint64]
    groups: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64] | None


# Columns that files of schema version 2 lack, and what is read in their place.
_ADDED: Final = {"assisted": False}


class Shards:
    """The row groups of some Parquet files of one schema, in stored order.

    Files are opened for each read and closed again: a dataset may have thousands of them.
    """

    def __init__(self, paths: Sequence[Path], schema: pa.Schema, key: str) -> None:
        """Reads the footers.

        Args:
            key: the column whose statistics tell row groups apart.

        Raises:
            DataError: a file is missing, is no Parquet, or has other columns.
        """
        self._metadata: dict[Path, pq.FileMetaData] = {}
        self._file_ids: dict[Path, int] = {}
        self._lacks: dict[Path, list[pa.Field]] = {}
        self._schema = schema
        self.groups: list[RowGroup] = []
        for path in paths:
            with tables.opened(path) as file:
                metadata, found = file.metadata, file.schema_arrow
            lacks = [f for f in schema if f.name in _ADDED and f.name not in found.names]
            if not _same_columns(found, pa.schema([f for f in schema if f not in lacks])):
                raise damaged(path, "not the columns that codeflow.records describes")
            self._metadata[path] = metadata
            self._file_ids[path] = _file_id(path)
            self._lacks[path] = lacks
            column = schema.get_field_index(key)  # all columns before it are flat
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                statistics = group.column(column).statistics
                has = statistics is not None and statistics.has_min_max
                low, high = (statistics.min, statistics.max) if has else (None, None)
                self.groups.append(RowGroup(path, number, group.num_rows, low, high))

    def read(self, group: RowGroup, columns: Sequence[str] | None = None) -> pa.Table:
        """Decodes a row group. Raises DataError when the file does not allow it."""
        return self.read_many([group], columns)

    def read_many(
        self, groups: Sequence[RowGroup], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Decodes row groups of one file. Raises DataError when the file does not allow it."""
        path, numbers = groups[0].path, [group.number for group in groups]
        lacks = {field.name: field for field in self._lacks[path]}
        wanted = self._schema.names if columns is None else list(columns)
        try:
            with tables.opened(path, metadata=self._metadata[path]) as file:
                there = [name for name in wanted if name not in lacks]
                table = file.read_row_groups(numbers, columns=there)
        except DataError:
            if _file_id(path) in (self._file_ids[path], -1):  # damaged, or gone
                raise
            again = "was published again since it was opened; open the dataset again"
            raise DataError(f"{path}: {again}") from None
        for place, name in enumerate(wanted):
            if name in lacks:
                values = pa.array([_ADDED[name]] * len(table), lacks[name].type)
                table = table.add_column(place, lacks[name], values)
        return table


def _file_id(path: Path) -> int:
    """What another file of the same name has not: publishing writes anew and renames."""
    try:
        return path.stat().st_ino
    except OSError:
        return -1


class ContentStore:
    """Rows of `blobs` or `trees` by (repo, id)."""

    def __init__(
        self,
        shards: Shards,
        column: str,
        what: str,
        size: str | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """
        Args:
            column: the one that holds what is looked up.
            what: its name in messages.
            size: the column of sizes, for `total_bytes`.
            cache_bytes: of decoded row groups to keep.
        """
        self._size = size
        self._cache_bytes = cache_bytes
        self._shards = shards
        self._column = column
        self._what = what
        self._indices: OrderedDict[str, _Index] = OrderedDict()
        self._decoded: OrderedDict[int, pa.Table] = OrderedDict()
        self._decoded_bytes = 0

    def get(self, repo: str, id: str) -> pa.Scalar:
        """The value for one id. Raises DataError when there is none."""
        for _, value in self.get_many(repo, [id]):
            return value
        raise AssertionError("get_many yields or raises")

    def get_many(self, repo: str, ids: Iterable[str]) -> Iterator[tuple[str, pa.Scalar]]:
        """The values of distinct ids, in stored order: every row group is decoded once.

        Raises:
            DataError: names one that is missing.
        """
        places = sorted((*place, id) for id in ids for place in self._candidates(repo, id))
        missing = {id for _, _, id in places}
        for group, row, id in places:
            table = self._table(group)
            if table.column("id")[row].as_py() == id:
                missing.discard(id)
                yield id, table.column(self._column)[row]
        for id in missing:
            raise self._missing(repo, id)

    def total_bytes(self, repo: str, ids: Iterable[str]) -> int:
        """The size of some distinct contents together, found without reading them."""
        index = self._index(repo)
        assert index.sizes is not None, "made without a column of sizes"
        prefixes = np.array([_prefix(id) for id in ids], dtype=np.uint64)
        places = np.minimum(np.searchsorted(index.prefixes, prefixes), len(index.prefixes) - 1)
        return int(index.sizes[places].sum()) if len(prefixes) and len(index.sizes) else 0

    def _candidates(self, repo: str, id: str) -> list[tuple[int, int]]:
        """(row group, row) of all rows whose id starts like this one: nearly always one."""
        index = self._index(repo)
        try:
            prefix = np.uint64(_prefix(id))
        except ValueError:
            raise DataError(f"{repo}: {id!r} is not an object id") from None
        first = int(np.searchsorted(index.prefixes, prefix, side="left"))
        last = int(np.searchsorted(index.prefixes, prefix, side="right"))
        if first == last:
            raise self._missing(repo, id)
        return [(int(index.groups[k]), int(index.rows[k])) for k in range(first, last)]

    def _missing(self, repo: str, id: str) -> DataError:
        return DataError(f"{repo}: {self._what} {id} is missing from the dataset")

    def _index(self, repo: str) -> _Index:
        if repo in self._indices:
            self._indices.move_to_end(repo)
            return self._indices[repo]
        prefixes: list[npt.NDArray[np.uint64]] = []
        groups: list[npt.NDArray[np.int32]] = []
        rows: list[npt.NDArray[np.int32]] = []
        sizes: list[npt.NDArray[np.int64]] = []
        wanted = ["repo", "id"] if self._size is None else ["repo", "id", self._size]
        numbered = enumerate(self._shards.groups)
        found = [(number, group) for number, group in numbered if group.may_hold(repo, repo)]
        for _, file in groupby(found, lambda pair: pair[1].path):
            numbers, its_groups = zip(*file, strict=True)
            table = self._shards.read_many(its_groups, wanted)
            counts = [group.rows for group in its_groups]
            mine = np.flatnonzero(pc.equal(table.column("repo"), repo).to_numpy())
            ids = table.column("id").take(pa.array(mine)).to_pylist()
            prefixes.append(np.array([_prefix(id) for id in ids], dtype=np.uint64))
            groups.append(np.repeat(np.array(numbers, dtype=np.int32), counts)[mine])
            rows.append(np.concatenate([np.arange(n, dtype=np.int32) for n in counts])[mine])
            if self._size is not None:
                sizes.append(table.column(self._size).to_numpy()[mine].astype(np.int64))
        index = _Index(
            np.concatenate(prefixes) if prefixes else np.empty(0, np.uint64),
            np.concatenate(groups) if groups else np.empty(0, np.int32),
            np.concatenate(rows) if rows else np.empty(0, np.int32),
            np.concatenate(sizes) if sizes else None,
        )
        order = np.argsort(index.prefixes, kind="stable")
        self._indices[repo] = _Index(
            index.prefixes[order],
            index.groups[order],
            index.rows[order],
            None if index.sizes is None else index.sizes[order],
        )
        if len(self._indices) > CACHED_REPOS:
            self._indices.popitem(last=False)
        return self._indices[repo]

    def _table(self, number: int) -> pa.Table:
        if number in self._decoded:
            self._decoded.move_to_end(number)
            return self._decoded[number]
        table = self._shards.read(self._shards.groups[number], ["id", self._column])
        self._decoded[number] = table
        self._decoded_bytes += table.nbytes
        while self._decoded_bytes > self._cache_bytes and len(self._decoded) > 1:
            _, dropped = self._decoded.popitem(last=False)
            self._decoded_bytes -= dropped.nbytes
        return table


def _same_columns(found: pa.Schema, expected: pa.Schema) -> bool:
    """Equal names and types; Parquet stores times in milliseconds, whatever they were."""
    return found.names == expected.names and all(
        tables.same_type(a, b) for a, b in zip(found.types, expected.types, strict=True)
    )


def _prefix(id: str) -> int:
    return int(id[:16], 16)
