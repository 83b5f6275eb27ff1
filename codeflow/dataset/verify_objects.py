"""The second pass of verifying: contents and directories hash to their ids, and all are there.

A job is a run of row groups. It gives back ids, packed; what needs all of them, that none stands
twice and none is missing, is decided where they come together. Holds 20 bytes an object there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from codeflow.dataset.contents import Shards
from codeflow.dataset.reader import Dataset, as_bytes
from codeflow.dataset.verify_report import Report, tables
from codeflow.execution.many import Advance, Workers
from codeflow.git.objects import EMPTY_TREE, TreeEntry, blob_id, tree_id, tree_order
from codeflow.records import EXECUTABLE_MODE, FILE_MODE, SYMLINK_MODE, TREE_MODE
from codeflow.text.paths import refused_by_git

_ROWS_A_JOB = 4096
_MODES = (FILE_MODE, EXECUTABLE_MODE, SYMLINK_MODE, TREE_MODE)


@dataclass
class Repo:
    """The ids of one repository's objects: what is there, and what is referred to."""

    blobs: set[bytes] = field(default_factory=set)
    trees: set[bytes] = field(default_factory=set)
    named: set[tuple[bool, bytes]] = field(default_factory=set)  # (is a tree, id)


class ObjectsJob(NamedTuple):
    """Row groups [start, stop) of `blobs` or of `trees`."""

    dataset: Dataset
    table: str
    start: int
    stop: int


@dataclass
class Objects:
    """What a job found: good objects by file and repository, and what directories name."""

    report: Report = field(default_factory=Report)
    ids: list[tuple[str, str, bytearray]] = field(default_factory=list)
    named: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # blobs, trees
    first: tuple[str, str, str] | None = None  # (file, row, repo) of the first row
    last: str = ""  # the repo of the last one

    def row(self, file: str, where: str, repo: str) -> None:
        """Looks at the order of the rows."""
        if self.first is None:
            self.first = (file, where, repo)
        elif repo < self.last:
            self.report.add(file, where, "rows are not sorted by repo")
        self.last = repo

    def good(self, file: str, repo: str, id: str) -> None:
        """An object hashes to its id."""
        if not self.ids or self.ids[-1][:2] != (file, repo):
            self.ids.append((file, repo, bytearray()))
        self.ids[-1][2].extend(bytes.fromhex(id))


def check_objects(
    pool: Workers, dataset: Dataset, report: Report, tell: Callable[[str, int, int], None]
) -> dict[str, Repo]:
    """The pass, apart from reachability, which needs the triples' roots as well."""
    repos: dict[str, Repo] = {}
    jobs = [*_jobs(dataset, "blobs"), *_jobs(dataset, "trees")]
    total = sum(group.rows for t in ("blobs", "trees") for group in _shards(dataset, t).groups)
    last = ("", "")
    for job, found in zip(
        jobs, pool.map(_check, jobs, lambda done: tell("objects", done, total)), strict=True
    ):
        if found.first is not None:
            file, where, repo = found.first
            if (job.table, repo) < last and last[0] == job.table:
                report.add(file, where, "rows are not sorted by repo")
            last = (job.table, found.last)
        report.include(found.report)
        for file, name, packed in found.ids:
            known = repos.setdefault(name, Repo())
            ids = known.blobs if job.table == "blobs" else known.trees
            for raw in split(packed):
                if raw in ids:
                    where = f"{name} {job.table[:-1]} {raw.hex()}"
                    report.add(file, where, "stands in the dataset twice")
                ids.add(raw)
        for name, named in found.named.items():
            for is_tree, both in enumerate(named):
                repos[name].named.update((bool(is_tree), raw) for raw in split(both))
    return repos


def check_reachability(repos: Mapping[str, Repo], report: Report) -> None:
    """All that is named is there; all that is there is named by a directory or a triple."""
    for name, repo in sorted(repos.items()):
        for is_tree, what, table in ((True, "tree", "trees"), (False, "blob", "blobs")):
            there = repo.trees if is_tree else repo.blobs
            named = {raw for kind, raw in repo.named if kind == is_tree}
            for raw in sorted(named - there):
                report.add(table, name, f"{what} {raw.hex()} is referred to, but missing")
            for raw in sorted(there - named):
                report.add(table, name, f"{what} {raw.hex()} is reached by no triple")


def is_id(id: str) -> bool:
    """Whether this is an object's id at all."""
    return len(id) == 40 and not id.strip("0123456789abcdef")


def split(packed: bytes | bytearray) -> Iterator[bytes]:
    """The ids that were packed one after the other."""
    return (bytes(packed[k : k + 20]) for k in range(0, len(packed), 20))


def _shards(dataset: Dataset, table: str) -> Shards:
    return dataset.blob_shards if table == "blobs" else dataset.tree_shards


def _jobs(dataset: Dataset, table: str) -> Iterator[ObjectsJob]:
    groups = _shards(dataset, table).groups
    start = rows = 0
    for number, group in enumerate(groups):
        rows += group.rows
        if rows >= _ROWS_A_JOB or number == len(groups) - 1:
            yield ObjectsJob(dataset, table, start, number + 1)
            start, rows = number + 1, 0


def _check(job: ObjectsJob, advance: Advance) -> Objects:
    return (_check_blobs if job.table == "blobs" else _check_trees)(job, advance)


def _check_blobs(job: ObjectsJob, advance: Advance) -> Objects:
    found = Objects()
    report, shards = found.report, job.dataset.blob_shards
    for file, table in tables(job.dataset, shards, shards.groups[job.start : job.stop], report):
        names, ids = table.column("repo").to_pylist(), table.column("id").to_pylist()
        sizes, contents = table.column("size_bytes").to_pylist(), table.column("content")
        for name, id, size, value in zip(names, ids, sizes, contents, strict=True):
            content = as_bytes(value)
            where = f"{name} blob {id}"
            found.row(file, where, name)
            if blob_id(content) != id:
                report.add(file, where, f"the content hashes to {blob_id(content)}")
                continue
            if len(content) != size:
                report.add(file, where, f"size_bytes is {size}, the content has {len(content)}")
            if b"\0" in content:
                report.add(file, where, "the content is not text: it has a NUL byte")
            found.good(file, name, id)
            report.blobs += 1
        advance(table.num_rows)
    return found


def _check_trees(job: ObjectsJob, advance: Advance) -> Objects:
    found = Objects()
    report, shards = found.report, job.dataset.tree_shards
    named: dict[str, tuple[set[bytes], set[bytes]]] = {}
    for file, table in tables(job.dataset, shards, shards.groups[job.start : job.stop], report):
        for row in table.to_pylist():
            name, id = row["repo"], row["id"]
            where = f"{name} tree {id}"
            found.row(file, where, name)
            entries = [TreeEntry(**entry) for entry in row["entries"]]
            fault = tree_fault(id, entries)
            if fault is not None:
                report.add(file, where, fault)
                continue
            found.good(file, name, id)
            sets = named.setdefault(name, (set(), set()))
            for entry in entries:
                sets[entry.is_tree].add(bytes.fromhex(entry.id))
            report.trees += 1
        advance(table.num_rows)
    found.named = {
        name: (b"".join(sorted(blobs)), b"".join(sorted(trees)))
        for name, (blobs, trees) in named.items()
    }
    return found


def tree_fault(id: str, entries: list[TreeEntry]) -> str | None:
    """What is wrong with a directory, or None."""
    for entry in entries:
        if entry.mode not in _MODES:
            return f"{entry.name!r} has mode {entry.mode!r}"
        if "/" in entry.name or refused_by_git(entry.name, entry.mode):
            return f"git's index refuses the name {entry.name!r}"
        if len(entry.id) != 40 or entry.id.strip("0123456789abcdef"):
            return f"{entry.name!r} has id {entry.id!r}"
    if len({entry.name for entry in entries}) < len(entries):
        return "a name stands in it twice"
    if sorted(entries, key=tree_order) != entries:
        return "the entries are not in git's order"
    if not entries and id != EMPTY_TREE:
        return "is empty"
    actual = tree_id(entries)
    return None if actual == id else f"the entries hash to {actual}"
