"""What verifying asks of `steps`: all of them are there, in order, and say what their triples say.

That a step's patch, on its old side, gives its new side is asked with the triples, by the same
`Replay`; this is the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from codeflow.dataset.reader import Dataset
from codeflow.dataset.verify_objects import Repo, is_id
from codeflow.dataset.verify_report import Report, tables
from codeflow.execution.many import Advance, Workers
from codeflow.records import triple_id
from codeflow.triple import Step, Triple

_SINCE_SCHEMA = 3


class StepsJob(NamedTuple):
    """Row groups `start` to `stop - 1` of the steps of a split."""

    dataset: Dataset
    split: str
    start: int
    stop: int


@dataclass
class Found:
    """Steps of a job: (triple, index) in order, roots by repository."""

    file: str = ""
    report: Report = field(default_factory=Report)
    rows: list[tuple[str, int]] = field(default_factory=list)
    roots: dict[str, set[bytes]] = field(default_factory=dict)


_GROUPS_A_JOB = 64


def check_steps(
    pool: Workers,
    dataset: Dataset,
    several: Mapping[str, Mapping[str, int]],
    repos: dict[str, Repo],
    report: Report,
) -> frozenset[str] | None:
    """Looks whether every triple of several commits has its steps, and nothing else has any.

    Args:
        several: by split, how many commits each of those triples has.
        repos: is told which trees the steps name.

    Returns:
        the triples that lack some, which cannot be replayed; None where the dataset is of before
        there were steps.
    """
    if dataset.manifest["schema_version"] < _SINCE_SCHEMA:
        return None
    jobs = [
        StepsJob(dataset, split, start, min(start + _GROUPS_A_JOB, len(shards.groups)))
        for split, shards in dataset.step_shards.items()
        for start in range(0, len(shards.groups), _GROUPS_A_JOB)
    ]
    last: dict[str, tuple[str, int]] = {}
    counts: dict[str, dict[str, int]] = {split: {} for split in several}
    for job, found in zip(jobs, pool.map(_check_rows, jobs, lambda done: None), strict=True):
        report.include(found.report)
        for triple, index in found.rows:
            before = last.get(job.split, ("", -1))
            if (triple, index) <= before:
                report.add(found.file, f"triple {triple}", f"steps of {job.split} are not sorted")
            last[job.split] = (triple, index)
            own = counts[job.split]
            if index != own.get(triple, 0):
                report.add(found.file, f"triple {triple}", f"step {index} is not the next one")
            own[triple] = own.get(triple, 0) + 1
        for repo, roots in found.roots.items():
            repos.setdefault(repo, Repo()).named.update((True, raw) for raw in roots)
    lacking = set()
    for split, wanted in several.items():
        for triple in sorted(counts[split].keys() - wanted.keys()):
            report.add("steps", f"triple {triple}", f"no triple of several commits in {split}")
        for triple, commits in sorted(wanted.items()):
            steps = counts[split].get(triple, 0)
            if steps != commits:
                lacking.add(triple)
                report.add("steps", f"triple {triple}", f"{commits} commits, {steps} steps")
    return frozenset(lacking)


def _check_rows(job: StepsJob, advance: Advance) -> Found:
    shards = job.dataset.step_shards[job.split]
    found = Found()
    for file, table in tables(
        job.dataset, shards, shards.groups[job.start : job.stop], found.report
    ):
        found.file = found.file or file
        columns = ("triple", "index", "repo", "tree", "same_as")
        patches = table.column("patch").is_null().to_pylist()
        for triple, index, repo, tree, same_as, elsewhere in zip(
            *(table.column(c).to_pylist() for c in columns), patches, strict=True
        ):
            found.rows.append((triple, index))
            if elsewhere != (same_as is not None):
                where = f"step {index} of triple {triple}"
                found.report.add(file, where, "has a patch and a reference, or neither")
            if is_id(tree):
                found.roots.setdefault(repo, set()).add(bytes.fromhex(tree))
    return found


def faults_of(
    triple: Triple, rows: Sequence[Mapping[str, Any]], steps: Sequence[Step], projection: str
) -> Iterator[str]:
    """What is wrong between a triple and its steps, apart from their patches."""
    for row, step in zip(rows, steps, strict=True):
        where = f"step {step.index}"
        if row["repo"] != triple.repo:
            yield f"{where}: is of {row['repo']}"
        if step.commit != triple.commits[step.index]:
            yield f"{where}: its commit is not that of `commits`"
        if (step.message, *step.subjects) != triple.messages[step.index]:
            yield f"{where}: its message is not that of `messages`"
    commits = (triple.old_commit, *triple.commits)
    for row, (old, new) in zip(rows, pairwise(commits), strict=True):
        expected = triple_id(triple.repo, old, new, "commit", projection)
        if row["same_as"] not in (None, expected):
            yield f"step {row['index']}: its patch should be that of {expected}"
    if steps[-1].new_tree != triple.new_tree:
        yield "the tree of the last step is not new_tree"
    kind = "bot" if all(step.author_kind == "bot" for step in steps) else "human"
    if kind != triple.author_kind:
        yield f"author_kind is {triple.author_kind}, its steps are by a {kind}"


def references(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The triples that hold the patches of these steps."""
    return {row["same_as"] for row in rows if row["patch"] is None and row["same_as"] is not None}
