"""Reading a dataset folder back: triples in a stream or by id, both repositories of each.

Opening costs the manifest and the footers of the shards. Triples are decoded one row group at a
time; contents are found through an index of row groups (`codeflow.dataset.contents`), of which the
last decoded ones are kept. `mined/`, `.work/` and whatever else is in the folder is ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.contents import ContentStore, RowGroup, Shards
from codeflow.errors import DataError, UsageError
from codeflow.git.objects import TreeEntry
from codeflow.records import BLOBS, TREES, TRIPLES
from codeflow.storage import manifest
from codeflow.triple import Triple

SPLITS = ("train", "validation")
_ROWS_AT_ONCE = 64
_CACHED_TREES = 1 << 14


class Quantiles(NamedTuple):
    """Lowest, median, ninetieth percentile, highest."""

    low: float
    median: float
    p90: float
    high: float


class Summary(NamedTuple):
    """What a dataset holds, in numbers. Counters are of triples."""

    triples: Counter[tuple[str, str]]  # by (split, kind)
    repos: Counter[tuple[str, str]]  # by (repo, kind)
    languages: Counter[str]
    licenses: Counter[str]
    authors: Counter[str]
    commits: dict[str, Quantiles]  # by kind: commits a triple spans
    files: dict[str, Quantiles]  # by kind: changed files
    lines: dict[str, Quantiles]  # by kind: added and deleted lines
    window: tuple[float, float] | None  # lowest and highest position
    window_by: str
    blobs: int
    content_bytes: int
    stored_bytes: int


class Dataset:
    """A published dataset. Made by `codeflow.open`; also the `RepoReader` of its triples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = manifest.read(folder)
        self.listed = manifest.listed_files(self.manifest, folder)
        self.triple_shards = {
            split: Shards(self._paths(f"triples/{split}-"), TRIPLES, "id") for split in SPLITS
        }
        self.blob_shards = Shards(self._paths("blobs/"), BLOBS, "repo")
        self.tree_shards = Shards(self._paths("trees/"), TREES, "repo")
        self._blobs = ContentStore(self.blob_shards, "content", "blob")
        self._trees = ContentStore(self.tree_shards, "entries", "tree")
        self._cached_tree = lru_cache(_CACHED_TREES)(self._read_tree)

    def __len__(self) -> int:
        """The number of triples in all splits."""
        return sum(g.rows for shards in self.triple_shards.values() for g in shards.groups)

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, {len(self)} triples)"

    def triples(
        self,
        split: str | None = None,
        kind: str | None = None,
        repo: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Triple]:
        """Streams the triples that match, in stored order (by id within a split).

        Args:
            split: `train` or `validation`; both by default.
            columns: read only these; `repo` and both trees are always there.

        Raises:
            UsageError: a split or column that does not exist.
        """
        if split is not None and split not in SPLITS:
            raise UsageError(f"split {split!r}: choose one of {', '.join(SPLITS)}")
        for name in columns or ():
            if name not in TRIPLES.names:
                raise UsageError(f"column {name!r}: choose from {', '.join(TRIPLES.names)}")
        wanted = None if columns is None else {"id", "repo", "old_tree", "new_tree", *columns}
        tests = {name: value for name, value in (("kind", kind), ("repo", repo)) if value}
        return self._stream((split,) if split else SPLITS, tests, wanted)

    def _stream(
        self, splits: Iterable[str], tests: dict[str, str], wanted: set[str] | None
    ) -> Iterator[Triple]:
        columns = None if wanted is None else sorted(wanted | tests.keys())
        for split in splits:
            shards = self.triple_shards[split]
            for group in shards.groups:
                table = shards.read(group, columns)
                for name, value in tests.items():
                    table = table.filter(pc.equal(table.column(name), value))
                for start in range(0, table.num_rows, _ROWS_AT_ONCE):
                    for row in table.slice(start, _ROWS_AT_ONCE).to_pylist():
                        yield Triple.from_row(row, self)

    def triple(self, id: str) -> Triple:
        """The triple with this id, or the only one whose id starts so.

        Reads the ids of the row groups that may hold it, then one row group.

        Raises:
            DataError: there is none, or more than one.
        """
        prefix = id.strip().lower()
        found: list[tuple[str, Shards, RowGroup, int]] = []
        for shards in self.triple_shards.values():
            for group in shards.groups:
                if prefix and group.may_hold(prefix, prefix + "\uffff"):
                    ids = shards.read(group, ["id"]).column("id")
                    rows = np.flatnonzero(pc.starts_with(ids, prefix).to_numpy())
                    found += [(ids[int(row)].as_py(), shards, group, int(row)) for row in rows]
        if not found:
            raise DataError(f"{self.folder}: no triple whose id starts with {id!r}")
        if len(found) > 1:
            some = ", ".join(sorted(match[0] for match in found)[:4])
            raise DataError(f"{id!r} is not unique, {len(found)} ids start so: {some}, ...")
        _, shards, group, row = found[0]
        return Triple.from_row(shards.read(group).slice(row, 1).to_pylist()[0], self)

    def tree(self, repo: str, id: str) -> tuple[TreeEntry, ...]:
        """The entries of a directory, in git's order. Raises DataError when it is missing."""
        return self._cached_tree(repo, id)

    def blob(self, repo: str, id: str) -> bytes:
        """A content. Raises DataError when it is missing."""
        return as_bytes(self._blobs.get(repo, id))

    def blobs(self, repo: str, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Many distinct contents with their ids, in the order that is cheapest to read."""
        return ((id, as_bytes(value)) for id, value in self._blobs.get_many(repo, ids))

    def summary(self) -> Summary:
        """Counts and sizes; reads the small columns of all triples, and the sizes of the blobs."""
        return _summarise(self)

    def _read_tree(self, repo: str, id: str) -> tuple[TreeEntry, ...]:
        return tuple(TreeEntry(**entry) for entry in self._trees.get(repo, id).as_py())

    def _paths(self, prefix: str) -> list[Path]:
        names = (file.path for file in self.listed if file.path.startswith(prefix))
        return [self.folder / name for name in sorted(names)]


def open(path: str | os.PathLike[str]) -> Dataset:
    """Opens a dataset folder for reading; of a dataset at a URL, a copy in the local cache.

    Raises:
        DataError: it is not a dataset, is damaged, or is of another schema version.
    """
    if "://" not in os.fspath(path):
        return Dataset(Path(path))
    from codeflow.storage.transfer import local

    return Dataset(local(path))


def as_bytes(value: pa.Scalar) -> bytes:
    """The bytes of a string scalar, without decoding them."""
    data: bytes = value.as_buffer().to_pybytes()
    return data


_SUMMARY_COLUMNS = (
    "repo kind language license author_kind position window_by additions deletions commits files"
)


def _summarise(dataset: Dataset) -> Summary:
    counters: dict[str, Counter[Any]] = {
        name: Counter() for name in ("triples", "repos", "language", "license", "author_kind")
    }
    sizes: dict[str, dict[str, list[int]]] = {"commits": {}, "files": {}, "lines": {}}
    low, high, window_by = 1.0, 0.0, set()
    for split, shards in dataset.triple_shards.items():
        for group in shards.groups:
            table = shards.read(group, _SUMMARY_COLUMNS.split())
            kinds = table.column("kind").to_pylist()
            counters["triples"].update((split, kind) for kind in kinds)
            counters["repos"].update(zip(table.column("repo").to_pylist(), kinds, strict=True))
            for name in ("language", "license", "author_kind"):
                counters[name].update(value or "unknown" for value in table[name].to_pylist())
            lines = pc.add(table.column("additions"), table.column("deletions"))
            for name, column in (
                ("commits", pc.list_value_length(table.column("commits"))),
                ("files", pc.list_value_length(table.column("files"))),
                ("lines", lines),
            ):
                for kind, value in zip(kinds, column.to_pylist(), strict=True):
                    sizes[name].setdefault(kind, []).append(value)
            if table.num_rows:
                low = min(low, pc.min(table.column("position")).as_py())
                high = max(high, pc.max(table.column("position")).as_py())
                window_by.update(table.column("window_by").to_pylist())
    content_bytes = 0
    for group in dataset.blob_shards.groups:
        column = dataset.blob_shards.read(group, ["size_bytes"]).column("size_bytes")
        content_bytes += pc.sum(column.cast(pa.int64())).as_py() or 0
    by_kind = {
        name: {kind: _quantiles(values) for kind, values in kinds.items()}
        for name, kinds in sizes.items()
    }
    return Summary(
        counters["triples"],
        counters["repos"],
        counters["language"],
        counters["license"],
        counters["author_kind"],
        by_kind["commits"],
        by_kind["files"],
        by_kind["lines"],
        (low, high) if len(dataset) else None,
        ", ".join(sorted(window_by)),
        sum(group.rows for group in dataset.blob_shards.groups),
        content_bytes,
        sum(file.bytes for file in dataset.listed),
    )


def _quantiles(values: list[int]) -> Quantiles:
    return Quantiles(*(float(q) for q in np.quantile(values, [0, 0.5, 0.9, 1])))
