"""The third pass of verifying: every patch of a triple or a step, on its old side, gives exactly
its new side.

Triples are stored by id, contents by repository. So a job is some repositories whose patches stay
within a budget, or a range of ids of one that has more; it reads the row groups of triples that may
hold any, and the contents of its repositories about once. With a larger dataset the budget grows:
every job of other repositories looks through the same triples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.reader import Dataset
from codeflow.dataset.replay import Replay, row_faults
from codeflow.dataset.steps import with_patches
from codeflow.dataset.verify_objects import Repo, check_reachability, is_id
from codeflow.dataset.verify_report import Report, name, tables
from codeflow.dataset.verify_steps import check_steps, faults_of, references
from codeflow.errors import DataError
from codeflow.execution.many import Advance, Workers
from codeflow.triple import Triple

JOB_BYTES = 32 << 20
_JOBS_WANTED = 64
_TRIPLE_BYTES = 16 << 10  # what a triple costs beside its patch, as if it were patch
_BATCH_BYTES = 64 << 20
_TRIPLES_AT_ONCE = 64
_LAST = "\U0010ffff"


class RowsJob(NamedTuple):
    """Row group `number` of the triples of a split."""

    dataset: Dataset
    split: str
    number: int


@dataclass
class Rows:
    """What the rows of a row group say by themselves: ids, of triples of several commits how many,
    and costs and roots by repository."""

    file: str
    report: Report = field(default_factory=Report)
    ids: list[str] = field(default_factory=list)
    several: dict[str, int] = field(default_factory=dict)
    costs: dict[str, int] = field(default_factory=dict)
    roots: dict[str, set[bytes]] = field(default_factory=dict)


class ReplayJob(NamedTuple):
    """Triples of these repositories with ids from `low` up to, and without, `high`; their steps,
    too, but those of `lacking`; none where that is None."""

    dataset: Dataset
    projection: str
    repos: tuple[str, ...]
    low: str
    high: str
    lacking: frozenset[str] | None


def check_triples(
    pool: Workers,
    dataset: Dataset,
    projection: str,
    repos: dict[str, Repo],
    report: Report,
    tell: Callable[[str, int, int], None],
) -> None:
    """The pass; before it, that what triples, steps and directories name is what is there."""
    several: dict[str, dict[str, int]] = {split: {} for split in dataset.triple_shards}
    costs: dict[str, int] = {}
    seen: set[str] = set()
    rows = [
        RowsJob(dataset, split, number)
        for split, shards in dataset.triple_shards.items()
        for number in range(len(shards.groups))
    ]
    last = ("", "")
    for job, found in zip(rows, pool.map(_check_rows, rows, lambda done: None), strict=True):
        report.include(found.report)
        for id in found.ids:
            where = f"triple {id}"
            if last[0] == job.split and id <= last[1]:
                report.add(found.file, where, f"ids of {job.split} are not sorted")
            if id in seen:
                report.add(found.file, where, "stands in the dataset twice")
            last = (job.split, id)
            seen.add(id)
        several[job.split].update(found.several)
        for repo, cost in found.costs.items():
            costs[repo] = costs.get(repo, 0) + cost
        for repo, roots in found.roots.items():
            repos.setdefault(repo, Repo()).named.update((True, raw) for raw in roots)
    lacking = check_steps(pool, dataset, several, repos, report)
    check_reachability(repos, report)
    jobs = [
        ReplayJob(dataset, projection, group, low, high, lacking)
        for group, low, high in _groups(costs)
    ]
    total = len(dataset)
    for done in pool.map(_replay_job, jobs, lambda done: tell("triples", done, total)):
        report.include(done)


def _check_rows(job: RowsJob, advance: Advance) -> Rows:
    shards = job.dataset.triple_shards[job.split]
    group = shards.groups[job.number]
    found = Rows(name(job.dataset, group))
    for _, table in tables(job.dataset, shards, [group], found.report):
        found.ids = table.column("id").to_pylist()
        lengths = pc.binary_length(table.column("patch")).to_pylist()
        commits = pc.list_value_length(table.column("commits")).to_pylist()
        found.several = {id: n for id, n in zip(found.ids, commits, strict=True) if n > 1}
        columns = (table.column(c).to_pylist() for c in ("repo", "old_tree", "new_tree"))
        for repo, old, new, length in zip(*columns, lengths, strict=True):
            found.costs[repo] = found.costs.get(repo, 0) + length + _TRIPLE_BYTES
            roots = found.roots.setdefault(repo, set())
            roots.update(bytes.fromhex(tree) for tree in (old, new) if is_id(tree))
    return found


def _groups(costs: dict[str, int]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """(repositories, first id, id behind the last one) of each job, by the dataset alone."""
    budget = max(JOB_BYTES, sum(costs.values()) // _JOBS_WANTED)
    group: list[str] = []
    size = 0
    for repo, cost in sorted(costs.items()):
        if group and size + cost > budget:
            yield tuple(group), "", _LAST
            group, size = [], 0
        if cost > budget:
            parts = -(-cost // budget)
            bounds = ["", *(f"{(k << 32) // parts:08x}" for k in range(1, parts)), _LAST]
            for low, high in pairwise(bounds):
                yield (repo,), low, high
        else:
            group.append(repo)
            size += cost
    if group:
        yield tuple(group), "", _LAST


def _replay_job(job: ReplayJob, advance: Advance) -> Report:
    report = Report()
    batch: list[tuple[str, Triple]] = []
    size = 0
    for file, triple in _triples_of(job):
        batch.append((file, triple))
        size += len(triple.patch)
        if size > _BATCH_BYTES:
            _replay(job, batch, report, advance)
            batch, size = [], 0
    _replay(job, batch, report, advance)
    return report


def _triples_of(job: ReplayJob) -> Iterator[tuple[str, Triple]]:
    wanted = pa.array(job.repos)
    for shards in job.dataset.triple_shards.values():
        for group in shards.groups:
            if not group.may_hold(job.low, job.high):
                continue
            table = shards.read(group)
            ids = table.column("id")
            inside = pc.and_(pc.greater_equal(ids, job.low), pc.less(ids, job.high))
            table = table.filter(pc.and_(inside, pc.is_in(table.column("repo"), wanted)))
            for start in range(0, table.num_rows, _TRIPLES_AT_ONCE):
                for row in table.slice(start, _TRIPLES_AT_ONCE).to_pylist():
                    yield name(job.dataset, group), Triple.from_row(row, job.dataset)


def _replay(
    job: ReplayJob, batch: Iterable[tuple[str, Triple]], report: Report, advance: Advance
) -> None:
    """Some triples, repository by repository, contents in stored order."""
    by_repo: dict[str, list[Replay]] = {}
    for file, triple in batch:
        where = f"triple {triple.id}"
        replay = Replay(triple, file, where, row_faults(triple, job.projection))
        by_repo.setdefault(triple.repo, []).append(replay)
    for repo, steps in _steps(job, batch, report):
        by_repo.setdefault(repo, []).append(steps)
    for repo, replays in sorted(by_repo.items()):
        needed: dict[str, list[Replay]] = {}
        for replay in replays:
            for blob in replay.prepare():
                needed.setdefault(blob, []).append(replay)
        for blob, content in _contents(job.dataset, repo, needed):
            for replay in needed[blob]:
                replay.feed(blob, content)
        for replay in replays:
            for fault in replay.finish():
                report.add(replay.file, replay.where, fault)
            if isinstance(replay.change, Triple):
                report.triples += 1
                advance(1)
            else:
                report.steps += 1


def _steps(
    job: ReplayJob, batch: Iterable[tuple[str, Triple]], report: Report
) -> Iterator[tuple[str, Replay]]:
    """(repository, replay) of every step of a batch."""
    if job.lacking is None:
        return
    several = [
        (file, triple)
        for file, triple in batch
        if len(triple.commits) > 1 and triple.id not in job.lacking
    ]
    rows = {t.id: job.dataset.stored_steps(t.id) for _, t in several}
    patches = job.dataset.patches({id for own in rows.values() for id in references(own)})
    for file, triple in several:
        where = f"triple {triple.id}"
        try:
            steps = triple.steps_of(with_patches(rows[triple.id], patches))
        except DataError as error:
            report.add(file, where, error)
            continue
        for fault in faults_of(triple, rows[triple.id], steps, job.projection):
            report.add(file, where, fault)
        for step in steps:
            yield triple.repo, Replay(step, file, f"{where} step {step.index}")


def _contents(dataset: Dataset, repo: str, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Those that are there; one that is not must not hide what is wrong with other triples."""
    left = set(ids)
    try:
        for id, content in dataset.blobs(repo, tuple(left)):
            left.discard(id)
            yield id, content
    except DataError:
        for id in sorted(left):
            with suppress(DataError):  # whoever needs it says so
                yield id, dataset.blob(repo, id)
