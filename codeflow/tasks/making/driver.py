"""`codeflow tasks make`: every candidate of a dataset, made a task or a row of the ledger.

A candidate is a unit of work: it runs here or on Ray, and one that is done is never done again, so
that a run can be killed at any moment and goes on. What the machine is at fault for ends the run
and leaves no mark.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from codeflow.contracts import Flow, Sink, Unit
from codeflow.dataset.reader import Dataset
from codeflow.dataset.reader import open as open_dataset
from codeflow.execution.failures import disk_error
from codeflow.execution.job import Job
from codeflow.execution.process import stopped_by_sigterm
from codeflow.execution.progress import Progress
from codeflow.execution.sized_pool import make_pool
from codeflow.sandbox.choose import DEFAULT, find_sandbox
from codeflow.storage.layout import SPLITS
from codeflow.storage.lock import locked
from codeflow.tasks import store
from codeflow.tasks.making import uv
from codeflow.tasks.making.candidates import COLUMNS, RejectedError, is_candidate, split
from codeflow.tasks.making.held_back import HeldBack
from codeflow.tasks.making.validate import Spent, make_task, repo_name
from codeflow.tasks.task import TASKS, Task

CANDIDATE_S: Final = 15.0
"""What one process takes for a candidate, on the whole."""
_VERSION: Final = 2  # of what makes a task of a candidate


@dataclass(frozen=True)
class MakeConfig:
    """What decides which tasks there are.

    Attributes:
        kinds: of triples; none for all.
        limit: how many candidates are tried at most, in the order of their ids; 0 for all.
        benchmarks: files of instances that no task may give away.
    """

    kinds: tuple[str, ...] = ()
    limit: int = 0
    benchmarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """What came of it.

    Attributes:
        rules: how many candidates were rejected by which rule.
        cpu_s: of all runs of tests.
    """

    place: Path
    triples: int
    candidates: int
    tasks: int
    rules: Mapping[str, int]
    cpu_s: float
    environments: int


def make(
    folder: Path,
    name: str,
    config: MakeConfig,
    progress: Progress,
    workers: int | None = 1,
    ray_address: str | None = None,
    sandbox: str = DEFAULT,
) -> Made:
    """Makes the tasks of a dataset folder, or goes on making them.

    Raises:
        UsageError: no sandbox, no uv, or no such folder. CodeflowError: what stopped the run.
    """
    find_sandbox(sandbox)
    uv.uv_program()
    folder = folder.absolute()  # workers and sandboxes are elsewhere
    place = store.place(folder, name)
    dataset = open_dataset(folder)
    held_back = HeldBack.read(config.benchmarks)
    found, triples = _candidates(dataset, config)
    try:
        with stopped_by_sigterm(), locked(folder):
            pool = make_pool(folder, workers, ray_address, progress.note)
            try:
                job = Job(folder, pool, progress)
                job.expect(f"{len(found):,} candidates", len(found) * CANDIDATE_S)
                prefix = f"tasks-{_stamp(dataset)}/"
                units = [
                    Unit(f"{prefix}part-{id}", _make_one, (str(folder), str(place), id, sandbox))
                    for id, _ in found
                ]
                values = job.run_stage("tasks", prefix, _all(units))["values"]
            finally:
                pool.close()
            splits = dict(found)
            tasks = [_task(v, splits) for v in values if "task" in v]
            rejected = [_ledger_row(value) for value in values if "task" not in value]
            for task in tasks:
                if (why := held_back.gives_away(task)) is not None:
                    row = (task.triple_id, task.repo, task.base_commit, "benchmark", why)
                    rejected.append((*row, task.cpu_s))
            tasks = [task for task in tasks if held_back.gives_away(task) is None]
            store.write(place, tasks, rejected)
            store.remove_unused(place, {task.environment for task in tasks})
    except BrokenPipeError:  # of the display
        raise
    except OSError as error:
        raise disk_error(error, folder) from error
    return Made(
        place,
        triples,
        len(found),
        len(tasks),
        dict(Counter(str(row[3]) for row in rejected).most_common()),
        round(sum(v["cpu_s"] for v in values), 1),
        len({task.environment for task in tasks}),
    )


def _candidates(dataset: Dataset, config: MakeConfig) -> tuple[list[tuple[str, str]], int]:
    """(id, split) of the candidates, by id, and the number of triples that were looked at."""
    found, count = [], 0
    for split_name in SPLITS:
        for triple in dataset.triples(split_name, columns=("id", "repo", "kind", "files")):
            if config.kinds and triple.kind not in config.kinds:
                continue
            count += 1
            if is_candidate(triple):
                found.append((triple.id, split_name))
    found.sort()
    return (found[: config.limit] if config.limit else found), count


def _stamp(dataset: Dataset) -> str:
    """What a candidate's outcome depends on, besides the candidate."""
    versions = [i.version for i in uv.interpreters()]
    text = json.dumps([_VERSION, versions, sorted(COLUMNS)])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _all(units: Sequence[Unit]) -> Flow[dict[str, Any]]:
    results = yield list(units)
    return {"values": [dict(result.value) for result in results]}


@lru_cache(2)
def _opened(folder: str) -> Dataset:
    return open_dataset(folder)


def _make_one(arguments: tuple[str, str, str, str], sink: Sink) -> dict[str, Any]:
    """The unit: a task as a row, or a row of the ledger."""
    folder, place, id, sandbox = arguments
    dataset = _opened(folder)
    triple = dataset.triple(id)
    spent = Spent()
    value: dict[str, Any]
    try:
        parts = split(triple, store.tree_files(dataset, triple.repo, triple.old_tree))
        environments = Path(place) / store.ENVIRONMENTS
        task = make_task(triple, parts, environments, find_sandbox(sandbox), spent)
        value = {"task": task.row}
    except RejectedError as error:
        row = [triple.id, repo_name(triple), triple.old_commit, error.rule, error.detail]
        value = {"rejected": row}
    return {**value, "cpu_s": round(spent.cpu_s, 3)}


def _task(value: Mapping[str, Any], splits: Mapping[str, str]) -> Task:
    names = TASKS.names
    row = dict(zip(names, value["task"], strict=True))
    return Task.from_row({**row, "split": splits[row["triple_id"]]})


def _ledger_row(value: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*value["rejected"], value["cpu_s"])
