"""History unit: the file changes of branches beside the chain, from trees alone.

A branch is reached from its base, the newest commit of the chain that its fork point reaches (or
the first commit that is read): that way's changes take a tree in memory from the chain to the fork
point, and undone they take it back. The numbers of changes are explained in `tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.config import Limits
from codeflow.contracts import Sink
from codeflow_miners import tables
from codeflow_miners.changes.renames import FileRow, pair_renames
from codeflow_miners.changes.treediff import PathChange, TreeDiffer
from codeflow_miners.deadline import Deadline
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.tables import CHANGES, Change

BRANCHES_PER_UNIT = 512
_ROWS_PER_BATCH = 1 << 16


class BranchRow(NamedTuple):
    """A row of BRANCHES, with its number; `first` and `stop` count on from those of the chain."""

    number: int
    merge: int
    base: int
    first: int
    stop: int
    old: str | None
    new: str | None
    rule: str | None
    detail: str | None

    @property
    def head(self) -> int:
        """Index of the last commit."""
        return self.stop - 1

    @property
    def steps(self) -> range:
        """Numbers of the changes from each commit to the next."""
        return range(self.first, self.head)


class Beside(NamedTuple):
    """The branches of the steps that a repository owns, and the numbers of their net changes."""

    branches: list[BranchRow]
    first_net: int

    def net(self, branch: BranchRow) -> int:
        """Number of the change from the fork point to the head."""
        return self.first_net + branch.number

    def patched(self) -> Iterator[int]:
        """Numbers of the changes that are triples or steps of triples."""
        for branch in self.branches:
            if branch.rule is None:
                yield from branch.steps
                yield self.net(branch)


@dataclass(frozen=True)
class BesideFiles:
    """Attributes: files of the tables of these names; `starts`: steps that are owned."""

    commits: str
    beside: str
    branches: str
    starts: tuple[int, ...]

    def read(self) -> Beside:
        """The branches, nearest the root first."""
        chain = tables.read(self.commits).num_rows
        own = {start + 1 for start in self.starts}
        rows = tables.read(self.branches).to_pylist()
        found = [
            BranchRow(k, **{**row, "first": row["first"] + chain, "stop": row["stop"] + chain})
            for k, row in enumerate(rows)
            if row["merge"] in own
        ]
        return Beside(found, chain + tables.read(self.beside).num_rows)


@dataclass(frozen=True)
class BesideArguments:
    """Branches `first .. stop - 1`; the tree of commit `earliest` is the first that is known."""

    git_dir: str
    files: BesideFiles
    first: int
    stop: int
    earliest: int
    limits: Limits


def read_beside(arguments: BesideArguments, sink: Sink) -> dict[str, Any]:
    """Writes `changes`, branch by branch. Returns `over`: the numbers of branches of which a change
    has more than `max_tree_files` files, and how many; nothing is written of these."""
    deadline = Deadline(arguments.limits.unit_seconds)
    files = arguments.files
    trees = [
        bytes.fromhex(tree)
        for path in (files.commits, files.beside)
        for tree in tables.read(path).column("tree").to_pylist()
    ]
    reader = ObjectReader(Path(arguments.git_dir))
    differ = TreeDiffer(reader)
    candidates = arguments.limits.rename_candidates
    beside = files.read()
    over: dict[str, int] = {}
    found: list[Change] = []
    with sink.table("changes", CHANGES) as writer:
        for branch in beside.branches:
            if branch.rule or not arguments.first <= branch.number < arguments.stop:
                continue
            deadline.check()
            base = max(branch.base, arguments.earliest)
            ways = [(branch.first - 1, base, branch.first)]
            ways += [(step, step, step + 1) for step in branch.steps]
            ways += [(beside.net(branch), branch.first, branch.head)]
            changes = [(n, differ.changes(trees[old], trees[new])) for n, old, new in ways]
            most = max(len(paths) for _, paths in changes)
            if most > arguments.limits.max_tree_files:
                over[str(branch.number)] = most
                continue
            for number, paths in changes:
                if number == branch.first - 1:
                    rows = plain(paths)
                else:
                    rows = pair_renames(paths, candidates, reader.blob, reader.blob_size)
                found += [Change(number, row) for row in rows]
            if len(found) >= _ROWS_PER_BATCH:
                writer.write(tables.changes_table(found))
                found = []
        writer.write(tables.changes_table(found))
    return {"over": over}


def plain(paths: list[PathChange]) -> list[FileRow]:
    """Changes of paths as rows without renames."""
    return [
        FileRow(
            change.path if change.old else None,
            change.old,
            change.path if change.new else None,
            change.new,
        )
        for change in paths
    ]
