"""A set of tasks on disk: `DIR/tasks/NAME/` with its table, its ledger and its environments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from codeflow.dataset.reader import Dataset
from codeflow.dataset.reader import open as open_dataset
from codeflow.errors import DataError, UsageError
from codeflow.git.apply import File
from codeflow.records import table_of
from codeflow.sandbox.job import Sandbox
from codeflow.storage import files, layout, tables
from codeflow.storage.damage import reading
from codeflow.storage.shape import build
from codeflow.tasks.grading.environment import Environment
from codeflow.tasks.grading.grade import Verdict, judge, submit, verdict_key
from codeflow.tasks.making import uv
from codeflow.tasks.making.candidates import files_of
from codeflow.tasks.task import REJECTED, TASKS, Task
from codeflow.triple import Snapshot

ENVIRONMENTS = "environments"
LEDGER = "ledger.parquet"
VERDICTS = "verdicts"
DEFAULT_NAME = "default"


def place(folder: Path, name: str) -> Path:
    """The folder of a set of tasks. Raises UsageError for a name that is none."""
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise UsageError(f"--name {name!r}: give a plain name for a folder")
    return folder / layout.TASKS / name


def write(folder: Path, tasks: Sequence[Task], rejected: Sequence[tuple[Any, ...]]) -> None:
    """Writes the table and the ledger, each sorted by triple."""
    ordered = sorted(tasks, key=lambda task: task.triple_id)
    path = folder / "tasks-00000-of-00001.parquet"
    with files.parquet(path, TASKS) as writer:
        writer.write(table_of([task.row for task in ordered], TASKS))
    with files.parquet(folder / LEDGER, REJECTED) as writer:
        writer.write(table_of(sorted(rejected), REJECTED))


def remove_unused(folder: Path, keys: Collection[str]) -> None:
    """Removes environments that were tried for candidates, and that no task needs."""
    for path in sorted((folder / ENVIRONMENTS).glob("*")):
        if path.name.removeprefix(".").removesuffix(".lock") not in keys:
            files.remove(path)


@dataclass(frozen=True)
class TaskSet:
    """The tasks of a folder, with what is needed to run them."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        if not list(self.place.glob("tasks-*.parquet")):
            raise DataError(
                f"{self.place}: no tasks; `codeflow tasks make {self.folder}` makes them"
            )

    @property
    def place(self) -> Path:
        """The folder of this set."""
        return place(self.folder.absolute(), self.name)

    @cached_property
    def dataset(self) -> Dataset:
        """Where the repositories come from."""
        return open_dataset(self.folder)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, by triple."""
        paths = sorted(self.place.glob("tasks-*.parquet"))
        rows = (row for path in paths for row in tables.read(path, TASKS).to_pylist())
        return tuple(Task.from_row(row) for row in rows)

    @cached_property
    def rejected(self) -> list[dict[str, Any]]:
        """The rows of the ledger."""
        found: list[dict[str, Any]] = tables.read(self.place / LEDGER, REJECTED).to_pylist()
        return found

    def task(self, id: str) -> Task:
        """A task by its instance id, its triple's id, or the only one that begins so.

        Raises:
            DataError: there is none, or more than one.
        """
        exact = [t for t in self.tasks if id in (t.instance_id, t.triple_id)]
        found = exact or [
            t for t in self.tasks if t.instance_id.startswith(id) or t.triple_id.startswith(id)
        ]
        if len(found) != 1:
            what = "more than one task begins" if found else "no task begins"
            raise DataError(f"{self.place}: {what} with {id!r}")
        return found[0]

    def old_files(self, task: Task) -> dict[str, File]:
        """The repository before the change."""
        return tree_files(self.dataset, task.repo_id, task.old_tree)

    def environment(self, task: Task) -> Environment:
        """Where its tests run."""
        return uv.find(self.place / ENVIRONMENTS, task.environment)

    def graded(self, task: Task, patch: str, sandbox: Sandbox, fresh: bool = False) -> Verdict:
        """Judges a patch, unless the same tree was judged for the same task before.

        Args:
            fresh: judge it again.
        """
        environment = self.environment(task)
        submission = submit(task, self.old_files(task), patch, environment)
        if submission.verdict is not None:
            return submission.verdict
        key = verdict_key(task, submission)
        path = self.place / VERDICTS / key[:2] / f"{key}.json"
        values = None if fresh else files.read_json(path)
        if values is not None:
            with reading(path, ValueError):
                return build(Verdict, values)
        verdict = judge(task, submission, environment, sandbox)
        if verdict.reward is not None:  # of what the infrastructure failed at there is none
            files.write_json(path, verdict.as_json)
        return verdict


def tree_files(dataset: Dataset, repo: str, tree: str) -> dict[str, File]:
    """All files of a tree of a dataset."""
    snapshot = Snapshot(dataset, repo, tree)
    ids = {entry.id for _, entry in snapshot.entries()}
    return files_of(snapshot, dict(dataset.blobs(repo, sorted(ids))))


def by_rule(rejected: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """How many were rejected by which rule, most first."""
    return iter(Counter(str(row["rule"]) for row in rejected).most_common())
