"""Units in this process, one at a time; those that wait for other processes run in threads."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from queue import SimpleQueue

from codeflow.contracts import Unit, UnitResult
from codeflow.execution.failures import Failure
from codeflow.execution.pool import WAITING_THREADS, Done
from codeflow.execution.units import run_unit


class SerialPool:
    """One worker: units run here, one at a time; those that wait for others run in threads.

    The threads are daemons: a run that is stopped must not wait for a clone of an hour to end.
    """

    workers = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: deque[Unit] = deque()
        self._inbox: SimpleQueue[Unit] = SimpleQueue()
        self._ended: SimpleQueue[tuple[Unit, UnitResult | Failure | BaseException]] = SimpleQueue()
        self._threads = 0
        self._waiting = 0

    @property
    def room(self) -> int:
        return 2 * WAITING_THREADS - len(self._queue) - self._waiting

    def submit(self, unit: Unit) -> None:
        if not unit.waits:
            self._queue.append(unit)
            return
        self._waiting += 1
        self._inbox.put(unit)
        if self._threads < min(self._waiting, WAITING_THREADS):
            self._threads += 1
            threading.Thread(target=self._wait_for_others, daemon=True).start()

    def _wait_for_others(self) -> None:
        while True:
            unit = self._inbox.get()
            try:
                self._ended.put((unit, run_unit(unit, self._folder)))
            except BaseException as error:
                self._ended.put((unit, error))

    def next_done(self) -> Done:
        if self._queue:
            unit = self._queue.popleft()
            return unit, run_unit(unit, self._folder)
        unit, result = self._ended.get()
        self._waiting -= 1
        if isinstance(result, BaseException):
            raise result
        return unit, result

    def close(self) -> None:
        while not self._inbox.empty():
            self._inbox.get()
