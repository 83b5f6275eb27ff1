"""Reading a dataset folder back: triples in a stream or by id, both repositories of each.

Opening costs the manifest and the footers of the shards. Triples are decoded one row group at a
time; contents are found through an index of row groups (`codeflow.dataset.contents`), of which the
last decoded ones are kept. `mined/`, `.work/` and whatever else is in the folder is ignored.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.contents import ContentStore, RowGroup, Shards
from codeflow.dataset.statistics import Statistics, count
from codeflow.dataset.steps import StepStore, column_of, with_patches
from codeflow.errors import DataError, UsageError
from codeflow.git.objects import TreeEntry
from codeflow.records import BLOBS, STEPS, TREES, TRIPLES
from codeflow.storage import layout, manifest
from codeflow.storage.layout import SPLITS
from codeflow.storage.manifest import ListedFile
from codeflow.storage.place import local
from codeflow.storage.store import is_url
from codeflow.triple import Triple

_ROWS_AT_ONCE = 64
_CACHED_TREES = 1 << 14


class _Place(NamedTuple):
    """What a pickle keeps of a dataset. `state` is the manifest's checksum of itself."""

    folder: str
    url: str | None
    state: str


@lru_cache(8)
def _reopened(kind: type[Dataset], place: _Place) -> Dataset:
    """The dataset of a pickle, not read yet; the same one for all pickles of a process."""
    dataset = object.__new__(kind)
    dataset._place = place
    return dataset


def _state(folder: Path) -> object:
    """The checksum of what is published in a folder, None when nothing is."""
    try:
        return manifest.read(folder).get("sha256")
    except DataError:
        return None


class Dataset(Sequence[Triple]):
    """A published dataset, as it is read; also the `RepoReader` of its triples.

    What `codeflow.open` gives can do more: `codeflow.api.dataset.Dataset`.

    A sequence of its triples in stored order: train, then validation, each by id. One of them
    costs the decoding of a row group, unless it lies beside the one before; to read many, iterate.

    A pickle holds the folder and which state of it was open, and no data: another process, or
    another machine, opens it again at the first use, once for all of its triples.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """Reads the manifest and the footers.

        Args:
            url: where the folder is a copy of; another machine makes its own.
        """
        self._place = _Place(str(folder.absolute()), url, "")
        self.__dict__["folder"] = folder
        _ = self.triple_shards, self.step_shards, self.blob_shards, self.tree_shards

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Self:
        """The dataset of a folder, or of a URL: then a copy in the local cache.

        Raises:
            DataError: it is not a dataset, is damaged, or is of another schema version.
        """
        text = os.fspath(path)
        return cls(local(path), text if is_url(text) else None)

    def __reduce__(self) -> tuple[Any, ...]:
        state = self._place.state or str(self.manifest.get("sha256"))
        return _reopened, (type(self), self._place._replace(state=state))

    # what is read, at the first use of a dataset that comes out of a pickle

    @cached_property
    def folder(self) -> Path:
        """Where the files are; for a URL, the copy in the cache."""
        folder, url, state = self._place
        if url is None or _state(Path(folder)) == state:
            return Path(folder)
        return local(url)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The values of `manifest.json`."""
        values = manifest.read(self.folder)
        if self._place.state not in ("", values.get("sha256")):
            raise DataError(
                f"{self.folder}: was published again after this was pickled; open it again"
            )
        return values

    @cached_property
    def listed(self) -> list[ListedFile]:
        """The published files."""
        return manifest.listed_files(self.manifest, self.folder)

    @cached_property
    def triple_shards(self) -> dict[str, Shards]:
        """The triples of each split."""
        return {
            split: Shards(self._paths(f"{layout.TRIPLES}/{split}-"), TRIPLES, "id")
            for split in SPLITS
        }

    @cached_property
    def step_shards(self) -> dict[str, Shards]:
        """The steps of the triples of each split; a dataset of before there were any has none."""
        return {
            split: Shards(self._paths(f"{layout.STEPS}/{split}-"), STEPS, "triple")
            for split in SPLITS
        }

    @property
    def has_steps(self) -> bool:
        """Whether any triple has steps of its own here."""
        return any(shards.groups for shards in self.step_shards.values())

    @cached_property
    def blob_shards(self) -> Shards:
        """The contents."""
        return Shards(self._paths(f"{layout.BLOBS}/"), BLOBS, "repo")

    @cached_property
    def tree_shards(self) -> Shards:
        """The directories."""
        return Shards(self._paths(f"{layout.TREES}/"), TREES, "repo")

    @cached_property
    def _blobs(self) -> ContentStore:
        return ContentStore(self.blob_shards, "content", "blob")

    @cached_property
    def _trees(self) -> ContentStore:
        return ContentStore(self.tree_shards, "entries", "tree")

    @cached_property
    def _step_stores(self) -> list[StepStore]:
        return [StepStore(shards) for shards in self.step_shards.values()]

    @cached_property
    def _cached_tree(self) -> Callable[[str, str], tuple[TreeEntry, ...]]:
        return lru_cache(_CACHED_TREES)(self._read_tree)

    @cached_property
    def _cached_rows(self) -> Callable[[str, int], pa.Table]:
        return lru_cache(1)(self._read_rows)

    @cached_property
    def _starts(self) -> tuple[list[int], list[tuple[str, int]]]:
        """Every row group of triples: the number of its first one, and where it is."""
        starts, places, count = [], [], 0
        for split, shards in self.triple_shards.items():
            for number, group in enumerate(shards.groups):
                starts.append(count)
                places.append((split, number))
                count += group.rows
        return starts, places

    def __len__(self) -> int:
        """The number of triples in all splits."""
        return sum(g.rows for shards in self.triple_shards.values() for g in shards.groups)

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, {len(self)} triples)"

    def __iter__(self) -> Iterator[Triple]:
        """All triples, in stored order."""
        return self.triples()

    @overload
    def __getitem__(self, key: int | str) -> Triple: ...
    @overload
    def __getitem__(self, key: slice) -> list[Triple]: ...
    def __getitem__(self, key: int | str | slice) -> Triple | list[Triple]:
        """A triple by its number or by its id, or those of a slice.

        Raises:
            IndexError: there is no such number.
            DataError: no triple has this id, or more than one id starts so.
        """
        if isinstance(key, str):
            return self.triple(key)
        if isinstance(key, slice):
            return [self._at(number) for number in range(len(self))[key]]
        try:
            return self._at(range(len(self))[key])
        except IndexError:
            raise IndexError(f"{key}: the dataset has {len(self)} triples") from None

    def __contains__(self, key: object) -> bool:
        """Whether a triple, or the triple with this whole id, is in the dataset."""
        id = key.id if isinstance(key, Triple) else key
        return isinstance(id, str) and any(match[0] == id for match in self._matches(id))

    def _at(self, number: int) -> Triple:
        starts, places = self._starts
        group = bisect_right(starts, number) - 1
        row = self._cached_rows(*places[group]).slice(number - starts[group], 1)
        return Triple.from_row(row.to_pylist()[0], self)

    def _read_rows(self, split: str, number: int) -> pa.Table:
        shards = self.triple_shards[split]
        return shards.read(shards.groups[number])

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
        found = self._matches(id.strip().lower())
        if not found:
            raise DataError(f"{self.folder}: no triple whose id starts with {id!r}")
        if len(found) > 1:
            some = ", ".join(sorted(match[0] for match in found)[:4])
            raise DataError(f"{id!r} is not unique, {len(found)} ids start so: {some}, ...")
        _, shards, group, row = found[0]
        return Triple.from_row(shards.read(group).slice(row, 1).to_pylist()[0], self)

    def _matches(self, prefix: str) -> list[tuple[str, Shards, RowGroup, int]]:
        """(id, where its row is) of the triples whose ids start so."""
        found = []
        for shards in self.triple_shards.values():
            for group in shards.groups:
                if prefix and group.may_hold(prefix, prefix + "\uffff"):
                    ids = shards.read(group, ["id"]).column("id")
                    rows = np.flatnonzero(pc.starts_with(ids, prefix).to_numpy())
                    found += [(ids[int(row)].as_py(), shards, group, int(row)) for row in rows]
        return found

    def tree(self, repo: str, id: str) -> tuple[TreeEntry, ...]:
        """The entries of a directory, in git's order. Raises DataError when it is missing."""
        return self._cached_tree(repo, id)

    def blob(self, repo: str, id: str) -> bytes:
        """A content. Raises DataError when it is missing."""
        return as_bytes(self._blobs.get(repo, id))

    def blobs(self, repo: str, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Many distinct contents with their ids, in the order that is cheapest to read."""
        return ((id, as_bytes(value)) for id, value in self._blobs.get_many(repo, ids))

    def steps(self, triple: str) -> list[dict[str, Any]]:
        """The rows of `steps` of a triple, each with its patch; see `Triple.steps`."""
        rows = self.stored_steps(triple)
        elsewhere = {row["same_as"] for row in rows if row["patch"] is None}
        return with_patches(rows, self.patches(elsewhere)) if elsewhere else rows

    def stored_steps(self, triple: str) -> list[dict[str, Any]]:
        """The rows of `steps` of a triple as they are stored; none where there are none."""
        return [row for store in self._step_stores for row in store.rows(triple)]

    def patches(self, ids: Iterable[str]) -> dict[str, str]:
        """The patches of triples by their whole ids, as far as they are there."""
        return dict(column_of(self.triple_shards.values(), ids, "patch"))

    def statistics(self) -> Statistics:
        """Counts and sizes; reads the small columns of all triples, and the sizes of the blobs."""
        stored_bytes = sum(file.bytes for file in self.listed)
        return count(self.triple_shards, self.blob_shards, stored_bytes)

    def _read_tree(self, repo: str, id: str) -> tuple[TreeEntry, ...]:
        return tuple(TreeEntry(**entry) for entry in self._trees.get(repo, id).as_py())

    def _paths(self, prefix: str) -> list[Path]:
        names = (file.path for file in self.listed if file.path.startswith(prefix))
        return [self.folder / name for name in sorted(names)]


def open(path: str | os.PathLike[str]) -> Dataset:
    """Opens a dataset folder for reading. Raises: as `Dataset.at`."""
    return Dataset.at(path)


def as_bytes(value: pa.Scalar) -> bytes:
    """The bytes of a string scalar, without decoding them."""
    data: bytes = value.as_buffer().to_pybytes()
    return data
