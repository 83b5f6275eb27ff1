"""Which pool a run has: as it was asked for, or as the work decides.

Starting Ray takes longer than many a run, so where nobody says how many workers there are to be,
Ray starts when there is work that it would end sooner.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from codeflow.contracts import Unit
from codeflow.execution.pool import Done, Note, Pool
from codeflow.execution.ray_pool import RayPool
from codeflow.execution.serial_pool import SerialPool

RAY_START_S: Final = 6.0
"""What Ray costs before it works and after: 2.5 to 8 s were measured, on two cores."""


class SizedPool:
    """This process until there is work that Ray would end sooner; then all cores, to the end.

    Args:
        cores: how many workers there would be.
        note: takes a line when Ray starts and ends.
        preload: as `RayPool`.
    """

    def __init__(self, folder: Path, cores: int, note: Note, preload: Sequence[str] = ()) -> None:
        self._folder, self._cores, self._note = folder, cores, note
        self._preload = preload
        self._pool: Pool = SerialPool(folder)

    def workers_for(self, work_s: float) -> int:
        """How many workers end work of so many seconds of one process first."""
        saved_s = work_s * (1 - 1 / self._cores)
        return self._cores if saved_s > RAY_START_S else self.workers

    def grow(self) -> None:
        """Changes to Ray; nothing may be running."""
        self._pool.close()
        self._pool = _start(self._folder, self._cores, None, self._note, self._preload)

    @property
    def workers(self) -> int:
        return self._pool.workers

    @property
    def room(self) -> int:
        return self._pool.room

    def submit(self, unit: Unit) -> None:
        self._pool.submit(unit)

    def next_done(self) -> Done:
        return self._pool.next_done()

    def close(self) -> None:
        self._pool.close()


def make_pool(
    folder: Path,
    workers: int | None,
    address: str | None,
    note: Note = lambda text: None,
    preload: Sequence[str] = (),
) -> Pool:
    """The pool for `--workers` (None: by the work) and `--ray-address`; `preload` as `RayPool`."""
    if address is not None:
        return _start(folder, None, address, note, preload)
    if workers is None:
        return SizedPool(folder, os.cpu_count() or 1, note, preload)
    return _start(folder, workers, None, note, preload) if workers > 1 else SerialPool(folder)


def _start(
    folder: Path, workers: int | None, address: str | None, note: Note, preload: Sequence[str]
) -> Pool:
    begun = time.monotonic()
    pool = RayPool(folder, workers, address, note, preload)
    note(f"Ray is up after {time.monotonic() - begun:.1f} s")
    return pool
