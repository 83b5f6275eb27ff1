"""A run at work: its folder, its pool and its display, and how units and flows go through them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from codeflow.contracts import Figures, Flow, Result, Unit, UnitResult
from codeflow.errors import CodeflowError, DataError, RepositoryError
from codeflow.execution.driver import drive
from codeflow.execution.failures import Failure
from codeflow.execution.pool import Pool
from codeflow.execution.progress import Progress
from codeflow.execution.sized_pool import RAY_START_S, SizedPool
from codeflow.execution.units import forget_failure
from codeflow.storage.layout import DONE
from codeflow.text.numbers import duration

SHOWN = "publish-"
"""How the keys of units begin that count for the progress of their stage one by one."""


class Job:
    """What every step of a run shares.

    Attributes:
        folder: absolute.
        pace: while Git is read, how many steps more are done now that a unit (its key) has ended
            with a value.
    """

    def __init__(self, folder: Path, pool: Pool, progress: Progress) -> None:
        self.folder = folder.absolute()
        self.progress = progress
        self._pool = pool
        self._counted: tuple[str, ...] = (SHOWN,)
        self._told = False
        self.pace: Callable[[str, Mapping[str, Any]], int] | None = None

    def expect(self, what: str, work_s: float) -> None:
        """Says once how long the work ahead will take, and has as many workers as end it first.

        Args:
            what: how much there is to do, in words.
            work_s: what one process would take for it, about.
        """
        pool = self._pool
        workers = pool.workers_for(work_s) if isinstance(pool, SizedPool) else pool.workers
        if not self._told:
            left_s = work_s / workers + (RAY_START_S if workers > pool.workers else 0)
            long = f"about {duration(5 * round(left_s / 5))}" if left_s >= 8 else "a few seconds"
            where = "in this process" if workers == 1 else f"on {workers} Ray workers"
            self.progress.note(f"{what}: {long} {where}")
            self._told = True
        self.prepare(work_s)

    def prepare(self, work_s: float) -> None:
        """As `expect`, without a word."""
        pool = self._pool
        if isinstance(pool, SizedPool) and pool.workers_for(work_s) > pool.workers:
            pool.grow()

    def drive(
        self, flows: Iterable[tuple[str, Flow[Result]]]
    ) -> Iterator[tuple[str, Result | Failure]]:
        """Runs flows on the pool; yields (name, what came of it) as they end."""
        return drive(flows, self._pool, self.folder, self._on_unit)

    def run_units(self, name: str, units: Sequence[Unit]) -> list[Figures]:
        """The values of independent units, in their order.

        Raises:
            CodeflowError: one of them failed; it runs again with the next start.
        """

        def flow(unit: Unit) -> Flow[Figures]:
            [result] = yield [unit]
            return dict(result.value)

        values: dict[str, Figures] = {}
        for key, outcome in self.drive((unit.key, flow(unit)) for unit in units):
            if isinstance(outcome, Failure):
                self._forget(name, key, outcome)
            values[key] = outcome
        return [values[unit.key] for unit in units]

    def run_stage(self, name: str, prefix: str, flow: Flow[Figures]) -> Figures:
        """The figures of one stage's flow; its units' keys begin with `prefix`.

        Each of its passes is shown as a step of its own, since only then is their number known.

        Raises:
            CodeflowError: a unit of it failed; it runs again with the next start.
        """
        self._counted = (SHOWN, prefix)
        self._failed: tuple[str, Failure] | None = None
        with self.trusting(prefix):
            for _, outcome in self.drive(iter([(name, self._shown(name, prefix, flow))])):
                if isinstance(outcome, Failure):
                    key = self._failed[0] if self._failed else name
                    self._forget(name, key, outcome)
                return outcome
        raise AssertionError("a flow ends once")

    def _shown(self, name: str, prefix: str, flow: Flow[Result]) -> Flow[Result]:
        """The same flow, which tells the display of each pass before it begins."""
        go_on: Callable[[], list[Unit]] = partial(next, flow)
        while True:
            try:
                units = go_on()
            except StopIteration as end:
                result: Result = end.value
                return result
            if units:
                first = units[0].key.removeprefix(prefix)
                passed = first.rpartition("-")[0] or first
                self.progress.stage(f"{name} {passed}".removesuffix(" part"), len(units))
            try:
                go_on = partial(flow.send, (yield units))
            except RepositoryError as error:
                go_on = partial(flow.throw, error)

    @contextmanager
    def trusting(self, prefix: str) -> Iterator[None]:
        """Work on what units of this prefix left: where that is damaged, none of them is done."""
        try:
            yield
        except DataError:
            shutil.rmtree(self.folder / DONE / prefix, ignore_errors=True)
            raise

    def _forget(self, name: str, key: str, failure: Failure) -> NoReturn:
        forget_failure(key, self.folder)
        raise CodeflowError(f"{name}: {key}: {failure.reason}")

    def _on_unit(self, unit: Unit, result: UnitResult | Failure) -> None:
        if isinstance(result, Failure):
            self._failed = (unit.key, result)
            return
        value = result.value
        steps = 0 if self.pace is None else self.pace(unit.key, value)
        self.progress.add(
            units=steps + unit.key.startswith(self._counted),
            commits=value.get("steps", 0),
            triples=sum(value.get("kinds", {}).values()),
            bytes=value.get("bytes", 0),
        )
