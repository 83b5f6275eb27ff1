"""The dedup stage gives the same bytes for any order, workers and kills."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from codeflow.contracts import Unit
from codeflow.execution.ray_pool import RayPool
from codeflow.execution.serial_pool import SerialPool
from dedup_stage import Stage


class AnyOrder:
    """A pool that runs units in an order of chance, and may die before one of them."""

    room = 5
    workers = 1

    def __init__(self, folder: Path, chance: random.Random, dies_after: int | None = None) -> None:
        self._serial = SerialPool(folder)
        self._chance = chance
        self._waiting: list[Unit] = []
        self._left = dies_after

    def submit(self, unit: Unit) -> None:
        self._waiting.append(unit)

    def next_done(self) -> Any:
        if self._left == 0:
            raise KeyboardInterrupt
        if self._left is not None:
            self._left -= 1
        self._serial.submit(self._waiting.pop(self._chance.randrange(len(self._waiting))))
        return self._serial.next_done()

    def close(self) -> None:
        self._waiting.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_two_workers_give_the_same_bytes(crowded: Stage) -> None:
    crowded.fresh()
    one = crowded.bytes()
    shutil.rmtree(crowded.folder / "decisions")
    crowded.fresh(pool=RayPool(crowded.folder, 2, None))
    assert crowded.bytes() == one


def test_any_order_and_kills_give_the_same_bytes(crowded: Stage) -> None:
    crowded.fresh()
    one = crowded.bytes()
    chance = random.Random(6)
    shutil.rmtree(crowded.folder / ".work")
    shutil.rmtree(crowded.folder / "decisions")
    kills = 0
    while True:
        try:
            crowded.run(pool=AnyOrder(crowded.folder, chance, chance.randrange(9)))
            break
        except KeyboardInterrupt:
            kills += 1
            leftovers(crowded.folder, chance)
    assert kills >= 3
    assert crowded.bytes() == one


def leftovers(folder: Path, chance: random.Random) -> None:
    """Loses a marker, as if the kill had come before it was written."""
    markers = sorted((folder / ".work/done").rglob("*.json"))
    if markers and chance.random() < 0.5:
        chance.choice(markers).unlink()


def test_another_order_of_parts_gives_the_same_bytes(crowded: Stage) -> None:
    crowded.fresh()
    one = crowded.bytes()
    before = crowded.parts
    crowded.parts = before[::-1]
    try:
        crowded.fresh()
    finally:
        crowded.parts = before
    assert crowded.bytes() == one
