"""What a plug-in implements, and what it is given.

A *miner* chooses pairs of commits on one history; everything around it (cloning, reading Git,
patches, snapshots, writing) is shared. A *filter* looks at one triple and says keep, drop, or how
much it weighs.
Built-in and third-party plug-ins load the same way, through the entry-point groups
`codeflow.miners` and `codeflow.filters`, whose entries each name a dict of `{name: factory}`.
Plug-ins import this module, `codeflow.records`, `codeflow.triple`, `codeflow.config` and
`codeflow.errors`, and nothing else of codeflow.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    runtime_checkable,
)

import pyarrow as pa

if TYPE_CHECKING:
    from codeflow.triple import Triple


class Commit(NamedTuple):
    """One commit of a first-parent chain.

    `position` is in [0, 1] by the run's `window_by`. `messages` is the cleaned message, followed,
    for a merge, by the subjects it brings in. `parents` counts distinct parents. `tags` are the
    tags whose merge-base with the chain is this commit. `paths` is the number of paths that differ
    from the first parent, before projection; None where history was not read that far.
    `author_id` is a pseudonym, see `codeflow_miners.history.authors`; None where `mine.author_ids`
    is off. `is_merge` is what git says: a parent that is named twice makes a merge, too.
    `assisted` says whether an agent that writes code had a part in it or in what it brings in.
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
    authored_at: int = 0
    author_id: str | None = None
    is_merge: bool = False
    assisted: bool = False


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
        # as the column of a triple's files
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


@dataclass(frozen=True)
class Verdict:
    """What a filter says of one triple.

    Attributes:
        kept: whether the triple stays.
        reason: for a drop, a short stable name to count by, as in `too-short`; for a weight the
            same, as in `docs-only`; else None.
        detail: what identifies the cause further (a path, a line), for the ledger.
        scores: values to keep with the triple in its `scores`, whether it stays or not.
        weight: how often the triple counts in training, if it stays. The weights that several
            filters give multiply, and `mix` multiplies its own.
    """

    kept: bool
    reason: str | None = None
    detail: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0


def keep(
    scores: Mapping[str, float] | None = None, weight: float = 1.0, reason: str | None = None
) -> Verdict:
    """The triple stays, and counts as often as `weight` says, for a `reason` to count by."""
    return Verdict(True, reason, scores=scores or {}, weight=weight)


def drop(
    reason: str, detail: str | None = None, scores: Mapping[str, float] | None = None
) -> Verdict:
    """The triple goes. See `Verdict` for the arguments."""
    return Verdict(False, reason, detail, scores or {})


Cost = Literal["columns", "patch", "contents"]
"""What a filter costs, cheapest first: looks at columns only; goes through the text of the patch
or the messages; reads or parses the changed files. Cheap filters run first."""

COSTS: tuple[Cost, ...] = ("columns", "patch", "contents")

CONTENTS = "contents"
"""In `Filter.reads`: both sides of the changed files, `Triple.contents(change)`. They are read
ahead in stored order (see `SparingFilter`); `old_repo` and `new_repo` may be used by any filter, at
a read a file."""


@runtime_checkable
class Filter(Protocol):
    """Looks at one triple. Must be deterministic, and must not change what it is given.

    A built-in filter is a frozen dataclass whose fields are its parameters, with `why`, `cost` and
    `reads` as class attributes; its factory in the dict of the entry point is the class. Where
    `why` is not clear enough for each of its reasons, `reasons` maps them to a line each. A plain
    function `Triple -> Verdict` is a filter, too: cost `patch`, and it may read everything.
    """

    @property
    def why(self) -> str:
        """One line for people: what goes, and why."""
        ...

    @property
    def cost(self) -> Cost:
        """Its class of cost, which decides the order."""
        ...

    @property
    def reads(self) -> frozenset[str]:
        """The columns of `TRIPLES` it looks at, and `CONTENTS`; others may not be there."""
        ...

    def __call__(self, triple: Triple) -> Verdict:
        """Keep or drop. An exception quarantines the triple with its traceback."""
        ...


@runtime_checkable
class SparingFilter(Protocol):
    """A filter that needs few of the contents it may read, and can tell which: see `Filter`."""

    def wants(self, triple: Triple) -> Iterable[str]:
        """The ids of the blobs that it expects to read of a triple. They are read ahead; others
        that it reads all the same cost a read each. Where it raises, all contents of the changed
        files are read ahead, and nothing else happens. Called in the order of history, some triples
        ahead of judging them. A `RepositoryFilter` has it on what `within` returns."""
        ...


class RepositoryView(Protocol):
    """A repository as a filter may look at it as a whole."""

    @property
    def repo(self) -> str:
        """Its identity, the `repo` column."""
        ...

    @property
    def url(self) -> str:
        """Its public address, the `repo_url` column."""
        ...

    def contained(self) -> pa.Table:
        """Every commit its head reaches, in the schema `codeflow.records.CONTAINED`."""
        ...

    def triples(self, columns: Sequence[str]) -> Iterable[Triple]:
        """All its mined triples with these columns."""
        ...


@runtime_checkable
class RepositoryFilter(Protocol):
    """A filter that has to know the repository before it can judge: see `Filter` for the rest."""

    def within(self, repository: RepositoryView) -> Callable[[Triple], Verdict]:
        """What judges the triples of this repository. Called once a repository and part."""
        ...


@dataclass(frozen=True)
class Profile:
    """A named list of filters with parameters, in the same dict as filters.

    Attributes:
        why: one line for people.
        filters: parameters by name of filter, in order; an empty mapping takes the defaults.
    """

    why: str
    filters: Mapping[str, Mapping[str, Any]]


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


Result = TypeVar("Result")

Flow: TypeAlias = Generator[list[Unit], list[UnitResult], Result]
"""The work on one thing, as a repository: yields units that may run side by side, is sent their
results in the same order, and ends with a result. A unit that fails is thrown into it as a
RepositoryError."""

Figures: TypeAlias = dict[str, Any]
"""What a stage ends with: JSON values by name."""
