"""A stage's passes on the display: each of them has a number to go to, and goes to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codeflow.contracts import Figures, Flow, Sink, Unit
from codeflow.errors import CodeflowError, RepositoryError
from codeflow.execution.job import Job
from codeflow.execution.progress import Quiet
from codeflow.execution.serial_pool import SerialPool


class Seen(Quiet):
    """Keeps (name, total, units that ended) of each stage."""

    def __init__(self) -> None:
        self.stages: list[list[Any]] = []

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        self.stages.append([name, total, done])

    def add(self, *, units: int = 0, **_: int) -> None:
        self.stages[-1][2] += units


def _double(number: int, _: Sink) -> dict[str, Any]:
    if number < 0:
        raise RepositoryError("sign", "negative")
    return {"number": 2 * number}


def _flow(numbers: list[int]) -> Flow[Figures]:
    counted = yield [Unit(f"x-1/count-{n:05d}", _double, n) for n in numbers]
    yield []
    [one] = yield [Unit("x-1/plan", _double, sum(r.value["number"] for r in counted))]
    yield [Unit(f"x-1/part-{n:05d}", _double, n) for n in range(3)]
    return {"sum": one.value["number"]}


def test_each_pass_has_a_total_and_reaches_it(tmp_path: Path) -> None:
    seen = Seen()
    for again in range(2):  # the second time all units are found done
        pool = SerialPool(tmp_path)
        figures = Job(tmp_path, pool, seen).run_stage("x", "x-1/", _flow([1, 2]))
        assert figures == {"sum": 12}, again
    wanted = [["x count", 2, 2], ["x plan", 1, 1], ["x", 3, 3]]
    assert seen.stages == wanted * 2


def test_a_unit_that_fails_ends_the_stage_with_its_reason(tmp_path: Path) -> None:
    job = Job(tmp_path, SerialPool(tmp_path), Quiet())
    with pytest.raises(CodeflowError, match="x: x-1/count--0001: negative"):
        job.run_stage("x", "x-1/", _flow([-1]))
