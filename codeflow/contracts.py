"""What a plug-in implements, and what it is given.

A *miner* chooses pairs of commits on one history; everything around it (cloning, reading Git,
patches, snapshots, writing) is shared. Built-in and third-party miners load the same way, through
the entry-point group `codeflow.miners`, whose entries each name a dict of `{kind: miner}`.
Plug-ins import this module, `codeflow.records` and `codeflow.errors`, and nothing else of codeflow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import pyarrow as pa


class Commit(NamedTuple):
    """One commit of a first-parent chain.

    `position` is in [0, 1] by the run's `window_by`. `messages` is the cleaned message, followed,
    for a merge, by the subjects it brings in. `parents` counts distinct parents. `tags` are the
    tags whose merge-base with the chain is this commit. `paths` is the number of paths that differ
    from the first parent, before projection; None where history was not read that far.
    """

    id: str
    tree: str
    committed_at: int
    position: float
    author_kind: str
    parents: int
    messages: tuple[str, ...]
    tags: tuple[str, ...]
    paths: int | None = None


class Pair(NamedTuple):
    """A chosen triple: indices into `History.commits`, and the scores to keep with it."""

    old: int
    new: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class History:
    """The part of one repository's first-parent chain that a miner may look at, oldest first.

    `commits[k]` is the first parent of `commits[k + 1]`; *step* k is the change between the two.
    Starts lie in `starts` (ascending indices: the steps of the window that this repository owns
    within its family of forks); endpoints may lie past the window, up to the last commit given.
    `features` holds a row per (step, path) in the schema of `STEP_FEATURES` when the miner asks
    for them, else None.
    """

    repo: str
    commits: Sequence[Commit]
    starts: Sequence[int]
    features: pa.Table | None = None


STEP_FEATURES = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("old_path", pa.string()),
        pa.field("new_path", pa.string()),
        # code, test, docs, config, data or other: what kind of file it is
        pa.field("file_kind", pa.string(), nullable=False),
        pa.field("additions", pa.int32(), nullable=False),
        pa.field("deletions", pa.int32(), nullable=False),
        pa.field("patch_bytes", pa.int32(), nullable=False),
        # 32-bit hashes of the identifiers on added and removed lines, each once, sorted
        pa.field("identifiers", pa.list_(pa.uint32()), nullable=False),
        # 64-bit hashes of added and of removed lines (with repeats, in order)
        pa.field("added_lines", pa.list_(pa.uint64()), nullable=False),
        pa.field("removed_lines", pa.list_(pa.uint64()), nullable=False),
    ]
)


class Miner(Protocol):
    """Chooses the pairs of one kind of triple on a history.

    Must be deterministic: the same history gives the same pairs, in any process.
    """

    @property
    def why(self) -> str:
        """One line for people: what this kind of triple is."""
        ...

    @property
    def lookahead(self) -> int:
        """How many commits past the end of the window an endpoint may lie."""
        ...

    @property
    def wants_features(self) -> bool:
        """Whether `History.features` has to be computed (it costs a pass over the contents)."""
        ...

    def pairs(self, history: History) -> Iterable[Pair]:
        """Yields pairs with `old` in `history.starts` and `old < new < len(history.commits)`."""
        ...


class TableWriter(Protocol):
    """An open table of a unit's output."""

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Appends rows; one call is one row group."""
        ...


class Sink(Protocol):
    """Where a unit of work puts what it makes. Nothing is visible until the unit is done."""

    def table(self, name: str, schema: pa.Schema) -> AbstractContextManager[TableWriter]:
        """An intermediate table, for later units of the same run to read."""
        ...

    def mined(self, name: str, schema: pa.Schema) -> AbstractContextManager[TableWriter]:
        """A table that stays, in `mined/`."""
        ...


@dataclass(frozen=True)
class Unit:
    """A piece of work that can run anywhere and again: `function(arguments, sink)`.

    Attributes:
        key: unique in the run, `repository/name-NNNN`; names its marker and its files.
        function: module-level; returns JSON values and writes tables to the sink.
        arguments: picklable.
        waits: true when it spends its time waiting for other processes (cloning).
    """

    key: str
    function: Callable[[Any, Sink], dict[str, Any]]
    arguments: Any
    waits: bool = False


@dataclass(frozen=True)
class UnitResult:
    """What a unit gave: its value, and the files of its tables by name."""

    value: Mapping[str, Any]
    tables: Mapping[str, str]
    mined: Mapping[str, str]


Flow: TypeAlias = Generator[list[Unit], list[UnitResult], dict[str, Any]]
"""The work on one repository: yields units that may run side by side, is sent their results in the
same order, and returns JSON values. A unit that fails is thrown into it as a RepositoryError."""
