"""Keeps a pool busy with the units of many flows.

Flows are started as there is room, so that a list of a hundred thousand repositories costs memory
for the active ones only. The driver sees ids, counts and file names, never contents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from codeflow.contracts import Flow, Result, Unit, UnitResult
from codeflow.errors import RepositoryError
from codeflow.execution.failures import Failure
from codeflow.execution.pool import Pool
from codeflow.execution.units import find_result

OnUnit = Callable[[Unit, UnitResult | Failure], None]


@dataclass
class _Running(Generic[Result]):
    name: str
    flow: Flow[Result]
    results: list[UnitResult | Failure | None] = field(default_factory=list)
    missing: int = 0


def drive(
    flows: Iterable[tuple[str, Flow[Result]]], pool: Pool, folder: Path, on_unit: OnUnit
) -> Iterator[tuple[str, Result | Failure]]:
    """Runs flows to their ends; yields (name, what it returned or why it failed) as they end.

    Args:
        on_unit: called in the driver for each unit that ended, also those of an earlier run.
    """
    waiting = iter(flows)
    # by key of a submitted unit, with its place
    running: dict[str, tuple[_Running[Result], int]] = {}
    ready: deque[tuple[_Running[Result], Unit, int]] = deque()
    more = True
    while more or ready or running:
        while ready and pool.room > 0:
            state, unit, place = ready.popleft()
            running[unit.key] = (state, place)
            pool.submit(unit)
        if more and not ready and pool.room > 0:
            named = next(waiting, None)
            if named is None:
                more = False
                continue
            yield from _advance(_Running(*named), None, ready, folder, on_unit)
            continue
        if not running:
            continue
        unit, result = pool.next_done()
        on_unit(unit, result)
        state, place = running.pop(unit.key)
        state.results[place] = result
        state.missing -= 1
        if state.missing == 0:
            yield from _advance(state, state.results, ready, folder, on_unit)


def _advance(
    state: _Running[Result],
    results: list[UnitResult | Failure | None] | None,
    ready: deque[tuple[_Running[Result], Unit, int]],
    folder: Path,
    on_unit: OnUnit,
) -> Iterator[tuple[str, Result | Failure]]:
    """Sends results into a flow until it asks for a unit that is not done, or ends."""
    while True:
        failed = next((r for r in results or () if isinstance(r, Failure)), None)
        try:
            if failed is not None:
                state.flow.throw(RepositoryError(failed.rule, failed.reason))
                raise AssertionError("a flow must end when a unit of its fails")
            if results is None:
                units = next(state.flow)
            else:
                units = state.flow.send([r for r in results if isinstance(r, UnitResult)])
        except StopIteration as end:
            yield state.name, end.value
            return
        except RepositoryError as error:
            yield state.name, failed or Failure(error.rule, error.reason)
            return
        results = [find_result(unit.key, folder) for unit in units]
        for unit, result in zip(units, results, strict=True):
            if result is not None:
                on_unit(unit, result)
        state.results = results
        todo = [(state, unit, k) for k, unit in enumerate(units) if results[k] is None]
        state.missing = len(todo)
        if todo:
            # flows that are under way go before new ones, so that they end and free their files
            ready.extendleft(reversed(todo))
            return
