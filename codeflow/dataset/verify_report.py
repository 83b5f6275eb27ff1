"""What verifying found, and how the findings of many jobs are put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from codeflow.dataset.contents import RowGroup, Shards
from codeflow.dataset.reader import Dataset

FIRST_PROBLEMS = 100
_COUNTS = ("files", "bytes", "blobs", "trees", "triples", "steps", "problem_count", "remark_count")


class Problem(NamedTuple):
    """One thing that is wrong: in which file or repository, where in it, and what."""

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


@dataclass
class Report:
    """What was found. `problems` holds the first `FIRST_PROBLEMS` of `problem_count`.

    `remarks` are no damage: nothing that codeflow reads or promises is touched. `replayed` says
    that all triples were looked at.
    """

    files: int = 0
    bytes: int = 0
    blobs: int = 0
    trees: int = 0
    triples: int = 0
    steps: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    remark_count: int = 0
    remarks: list[Problem] = field(default_factory=list)
    replayed: bool = False

    @property
    def ok(self) -> bool:
        return not self.problem_count

    def add(self, file: str, where: str, what: object) -> None:
        """Something is wrong."""
        self.problem_count += 1
        if len(self.problems) < FIRST_PROBLEMS:
            self.problems.append(Problem(file, where, str(what)))

    def remark(self, file: str, where: str, what: object) -> None:
        """Something is as it was not published, and does no harm."""
        self.remark_count += 1
        if len(self.remarks) < FIRST_PROBLEMS:
            self.remarks.append(Problem(file, where, str(what)))

    def include(self, other: Report) -> None:
        """Adds what a job found."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems[: FIRST_PROBLEMS - len(self.problems)]
        self.remarks += other.remarks[: FIRST_PROBLEMS - len(self.remarks)]


def tables(
    dataset: Dataset, shards: Shards, groups: list[RowGroup], report: Report
) -> Iterator[tuple[str, pa.Table]]:
    """Row groups that are what Arrow takes for whole, each with the name of its file."""
    for group in groups:
        file = name(dataset, group)
        table = shards.read(group)
        try:
            table.validate(full=True)  # strings are UTF-8, offsets are in bounds
        except pa.ArrowException as error:
            report.add(file, f"row group {group.number}", error)
            continue
        yield file, table


def name(dataset: Dataset, group: RowGroup) -> str:
    """The shard of a row group, as the manifest lists it."""
    return group.path.relative_to(dataset.folder).as_posix()
