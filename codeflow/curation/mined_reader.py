"""Contents of what was mined, for the stages before publishing.

The same index of row groups as a published dataset's (`codeflow.dataset.contents`), over the mined
files of one repository. `ahead` reads what is wanted of a chunk of triples in stored order, so that
a row group is decoded once a chunk and not once a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeflow.curation.batches import Stretch
from codeflow.dataset.contents import ContentStore, Shards
from codeflow.dataset.reader import as_bytes
from codeflow.dataset.steps import StepStore
from codeflow.git.objects import TreeEntry
from codeflow.records import BLOBS, CONTAINED, STEPS, TREES, TRIPLES
from codeflow.storage import tables
from codeflow.triple import Triple

AHEAD_BYTES = 192 << 20
_CACHE_BYTES = 32 << 20  # what is read ahead is read in one pass
_CACHED_TREES = 1 << 14


class MinedRepositoryView:
    """A `RepositoryView` of what was mined of one repository."""

    def __init__(self, folder: Path, stretch: Stretch, reader: MinedReader, url: str) -> None:
        self._folder = folder
        self._stretch = stretch
        self._reader = reader
        self.repo = stretch.repo
        self.url = url

    def contained(self) -> pa.Table:
        """Every commit the head reaches; see `codeflow.records.CONTAINED`."""
        assert self._stretch.contained is not None, "mining writes it for every repository"
        return tables.read(self._folder / self._stretch.contained, CONTAINED)

    def triples(self, columns: Sequence[str]) -> Iterator[Triple]:
        """All its mined triples with these columns."""
        for path in self._stretch.siblings:
            with tables.opened(self._folder / path, TRIPLES, columns) as file:
                for batch in file.iter_batches(1024, columns=list(columns), use_threads=False):
                    for row in batch.to_pylist():
                        yield Triple.from_row(row, self._reader)


class MinedReader:
    """The `RepoReader` of the triples of one repository. Files are opened at the first use."""

    def __init__(self, folder: Path, stretch: Stretch) -> None:
        self._folder = folder.absolute()
        self.stretch = stretch
        self._stores: dict[str, ContentStore] = {}
        self._ahead: dict[str, bytes] = {}
        self._tree: Callable[[str, str], tuple[TreeEntry, ...]] = lru_cache(_CACHED_TREES)(
            self._read_tree
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return MinedReader, (self._folder, self.stretch)  # what was read stays here

    def tree(self, repo: str, id: str) -> Sequence[TreeEntry]:
        """The entries of a directory. Raises DataError when it is missing."""
        return self._tree(repo, id)

    def blob(self, repo: str, id: str) -> bytes:
        """A content. Raises DataError when it is missing."""
        content = self._ahead.get(id)
        return as_bytes(self._blobs.get(repo, id)) if content is None else content

    def steps(self, triple: str) -> list[dict[str, Any]]:
        """The rows of a triple of several commits; all of them have their patches here."""
        return self._steps.rows(triple)

    @cached_property
    def _steps(self) -> StepStore:
        paths = [self._folder / name for name in self.stretch.steps]
        return StepStore(Shards(paths, STEPS, "triple"))

    def _read_tree(self, repo: str, id: str) -> tuple[TreeEntry, ...]:
        store = self._store("tree", self.stretch.trees)
        return tuple(TreeEntry(**entry) for entry in store.get(repo, id).as_py())

    @property
    def _blobs(self) -> ContentStore:
        return self._store("blob", self.stretch.blobs)

    def _store(self, what: str, names: Iterable[str]) -> ContentStore:
        if what not in self._stores:
            schema, column = (BLOBS, "content") if what == "blob" else (TREES, "entries")
            shards = Shards([self._folder / name for name in names], schema, "repo")
            sizes = "size_bytes" if what == "blob" else None
            self._stores[what] = ContentStore(shards, column, what, sizes, _CACHE_BYTES)
        return self._stores[what]

    def ahead(self, triples: Iterable[tuple[Triple, set[str]]]) -> Iterator[list[Triple]]:
        """Chunks of the triples, with the contents that are wanted of each at hand."""
        chunk: list[Triple] = []
        wanted: set[str] = set()
        size = 0
        for triple, ids in triples:
            new = ids - wanted
            more = self._blobs.total_bytes(triple.repo, new)
            if chunk and size + more > AHEAD_BYTES:
                yield self._read(chunk, wanted)
                chunk, wanted, size = [], set(), 0
                new, more = ids, self._blobs.total_bytes(triple.repo, ids)
            chunk.append(triple)
            wanted |= new
            size += more
        if chunk:
            yield self._read(chunk, wanted)
        self._ahead = {}

    def _read(self, chunk: list[Triple], wanted: set[str]) -> list[Triple]:
        self._ahead = {id: content for id, content in self._ahead.items() if id in wanted}
        missing = wanted - self._ahead.keys()
        for id, value in self._blobs.get_many(chunk[0].repo, missing):
            self._ahead[id] = as_bytes(value)
        return chunk
