"""A triple as a person or a filter meets it: all columns, and both repositories, read lazily.

`Triple` does not know where contents come from. It is given a `RepoReader`: a published dataset,
or the pipeline before publishing. Nothing of a repository is read until it is asked for; one
path costs the directories above it and one content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from codeflow.errors import DataError
from codeflow.git.objects import TreeEntry
from codeflow.records import TRIPLES, FileChange


class RepoReader(Protocol):
    """Where a triple finds what its two tree ids stand for."""

    def tree(self, repo: str, id: str) -> Sequence[TreeEntry]:
        """The entries of a directory, in git's order. Raises DataError when it is missing."""
        ...

    def blob(self, repo: str, id: str) -> bytes:
        """A content. Raises DataError when it is missing."""
        ...

    def steps(self, triple: str) -> Sequence[Mapping[str, Any]]:
        """The rows of `codeflow.records.STEPS` of a triple of several commits, in order, each with
        its patch. Raises DataError when one is missing."""
        ...


class Snapshot(Mapping[str, bytes]):
    """The files of one side of a triple, by path, in git's order.

    A symlink's content is its target. Iterating, counting and `in` read directories only.
    """

    def __init__(self, reader: RepoReader, repo: str, tree: str) -> None:
        self._reader = reader
        self._repo = repo
        self._tree = tree

    def __getitem__(self, path: str) -> bytes:
        return self._reader.blob(self._repo, self.entry(path).id)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._find(path) is not None

    def __iter__(self) -> Iterator[str]:
        return (path for path, _ in self.entries())

    def __len__(self) -> int:
        return sum(1 for _ in self.entries())

    def __repr__(self) -> str:
        return f"Snapshot({self._repo!r}, tree={self._tree!r})"

    def mode(self, path: str) -> str:
        """Git's mode of a file: `100644`, `100755` or `120000`. Raises KeyError."""
        return self.entry(path).mode

    def entry(self, path: str) -> TreeEntry:
        """Mode and blob id of a file. Raises KeyError."""
        entry = self._find(path)
        if entry is None:
            raise KeyError(path)
        return entry

    def directory(self, tree: str) -> Sequence[TreeEntry]:
        """The entries of one of this repository's directories, by tree id."""
        return self._reader.tree(self._repo, tree)

    def entries(self) -> Iterator[tuple[str, TreeEntry]]:
        """Every file as (path, its entry), without its content."""
        return self._walk(self._tree, "")

    def _walk(self, tree: str, prefix: str) -> Iterator[tuple[str, TreeEntry]]:
        for entry in self._reader.tree(self._repo, tree):
            if entry.is_tree:
                yield from self._walk(entry.id, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry

    def _find(self, path: str) -> TreeEntry | None:
        tree = self._tree
        *folders, last = path.split("/")
        for name in folders:
            entry = self._named(tree, name)
            if entry is None or not entry.is_tree:
                return None
            tree = entry.id
        entry = self._named(tree, last)
        return entry if entry is not None and not entry.is_tree else None

    def _named(self, tree: str, name: str) -> TreeEntry | None:
        entries = self._reader.tree(self._repo, tree)
        return next((entry for entry in entries if entry.name == name), None)


@dataclass(frozen=True, eq=False)
class Step:
    """One of a triple's commits: what it says and does, and the repository before and after it.

    Attributes:
        index: its place in the triple, from 0.
        message: the cleaned message of the commit, and `subjects` what it brings in as a merge.
        author_kind: `human` or `bot`.
        old_tree, new_tree: tree ids of the projections; the first step begins where the triple
            does, each other one where the step before it ends, and the last ends as the triple.
    """

    repo: str
    index: int
    commit: str
    message: str
    subjects: tuple[str, ...]
    author_kind: str
    old_tree: str
    new_tree: str
    patch: str
    files: tuple[FileChange, ...]
    _reader: RepoReader

    @property
    def old_repo(self) -> Snapshot:
        """The repository before this step."""
        return Snapshot(self._reader, self.repo, self.old_tree)

    @property
    def new_repo(self) -> Snapshot:
        """The repository after it."""
        return Snapshot(self._reader, self.repo, self.new_tree)

    def contents(self, change: FileChange) -> tuple[bytes | None, bytes | None]:
        """A changed file before and after; None for the side that does not exist."""
        old, new = change.old_blob, change.new_blob
        return (
            None if old is None else self._reader.blob(self.repo, old),
            None if new is None else self._reader.blob(self.repo, new),
        )

    def __repr__(self) -> str:
        return f"Step({self.index}, {self.commit!r}, {self.message.partition(chr(10))[0]!r})"


@dataclass(frozen=True, eq=False)
class Triple:
    """One row of `triples`: see `codeflow.records.TRIPLES` and docs/dataset.md for the columns.

    A triple that was read with some of the columns only has no others: asking for one raises an
    AttributeError that says so.
    """

    id: str
    repo: str
    repo_url: str
    kind: str
    old_commit: str
    new_commit: str
    commits: tuple[str, ...]
    messages: tuple[tuple[str, ...], ...]
    old_tree: str
    new_tree: str
    patch: str
    files: tuple[FileChange, ...]
    language: str | None
    additions: int
    deletions: int
    position: float
    window_by: str
    old_committed_at: datetime
    committed_at: datetime
    authored_at: datetime
    author_kind: str
    assisted: bool
    author_id: str | None
    is_merge: bool
    license: str | None
    license_source: str | None
    scores: Mapping[str, float]
    cluster: str | None
    weight: float
    _reader: RepoReader

    @classmethod
    def from_row(cls, row: Mapping[str, Any], reader: RepoReader) -> Triple:
        """A triple from a row as Arrow gives it (`to_pylist`); columns may be missing."""
        values = {name: _PLAIN.get(name, _same)(row[name]) for name in TRIPLES.names if name in row}
        triple = object.__new__(cls)
        triple.__dict__.update(values, _reader=reader)
        return triple

    @property
    def old_repo(self) -> Snapshot:
        """The repository before the change."""
        return Snapshot(self._reader, self.repo, self.old_tree)

    @property
    def new_repo(self) -> Snapshot:
        """The repository after the change."""
        return Snapshot(self._reader, self.repo, self.new_tree)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its commits one by one, as exact as itself. One commit is one step.

        Raises:
            DataError: they are not in the dataset, as in one of before there were steps.
        """
        if len(self.commits) == 1:
            [[message, *subjects]] = self.messages
            row = {"commit": self.commits[0], "message": message, "subjects": subjects}
            row |= {"author_kind": self.author_kind, "tree": self.new_tree, "patch": self.patch}
            return (self._step(row, 0, self.old_tree, self.files),)
        return self.steps_of(self._reader.steps(self.id))

    def steps_of(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
        """The steps that these rows of `codeflow.records.STEPS` are. Raises DataError where they
        are not as many as commits."""
        if len(rows) != len(self.commits):
            held = f"has {len(self.commits)} commits, and the dataset {len(rows)} steps of it"
            raise DataError(f"triple {self.id}: {held}; mine again with this codeflow")
        trees = [self.old_tree, *(row["tree"] for row in rows)]
        return tuple(
            self._step(row, index, trees[index], _files(row["files"]))
            for index, row in enumerate(rows)
        )

    def _step(
        self, row: Mapping[str, Any], index: int, old_tree: str, files: tuple[FileChange, ...]
    ) -> Step:
        return Step(
            repo=self.repo,
            index=index,
            commit=row["commit"],
            message=row["message"],
            subjects=tuple(row["subjects"]),
            author_kind=row["author_kind"],
            old_tree=old_tree,
            new_tree=row["tree"],
            patch=row["patch"],
            files=files,
            _reader=self._reader,
        )

    def contents(self, change: FileChange) -> tuple[bytes | None, bytes | None]:
        """A changed file before and after; None for the side that does not exist."""
        return (
            None if change.old_blob is None else self.blob(change.old_blob),
            None if change.new_blob is None else self.blob(change.new_blob),
        )

    def blob(self, id: str) -> bytes:
        """A content of either repository by its id. Raises DataError when it is missing."""
        return self._reader.blob(self.repo, id)

    def __getattr__(self, name: str) -> Any:
        if name in TRIPLES.names:
            raise AttributeError(f"column {name!r} was not read; add it to `columns`")
        raise AttributeError(f"a triple has no {name!r}")

    def __repr__(self) -> str:
        values = ((name, self.__dict__.get(name)) for name in ("id", "repo", "kind"))
        return f"Triple({', '.join(f'{name}={value!r}' for name, value in values if value)})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows, where what the triple was read from knows how; else its repr."""
        show: Callable[[Triple], str] | None = getattr(self._reader, "triple_html", None)
        return None if show is None else show(self)


def _same(value: Any) -> Any:
    return value


def _files(values: Sequence[Mapping[str, Any]]) -> tuple[FileChange, ...]:
    try:
        return tuple(FileChange(**value) for value in values)
    except TypeError as error:
        raise DataError(f"files: not the columns this codeflow knows: {error}") from None


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "commits": tuple,
    "messages": lambda value: tuple(tuple(message) for message in value),
    "files": _files,
    "scores": lambda pairs: {pair["key"]: pair["value"] for pair in pairs},
}
