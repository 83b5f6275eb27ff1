"""Work on many things in many processes, results in order: the same for any number of them.

For reading a folder on one machine, where Ray would take longer to start than the work does. One
process is this one. Workers are spawned, not forked, since Arrow's threads do not survive a fork;
they tell how far they are through a shared number. Ctrl-C ends them without a word.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, TypeVar

from codeflow.errors import CodeflowError

_MOST_WORKERS = 16  # more wait for the disk and for the parent
_TOLD_EVERY_S = 0.25

Job = TypeVar("Job")
Result = TypeVar("Result")
Advance = Callable[[int], None]
"""Told how much more is done."""

_done: Any = None  # of a worker: the number it shares with its parent


def default_workers() -> int:
    """As many processes as there are cores for this one, within reason."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST_WORKERS)


class Workers:
    """Some processes, started when they are first needed and ended with the block."""

    def __init__(self, count: int) -> None:
        """
        Args:
            count: 1 works in this process.
        """
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._shared: Any = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def map(
        self, work: Callable[[Job, Advance], Result], jobs: Sequence[Job], tell: Advance
    ) -> Iterator[Result]:
        """The results of all jobs, in their order.

        Args:
            work: a function of a module, given a job and a function to tell how far it is.
            tell: told how much is done in all.

        Raises:
            CodeflowError: a process died.
        """
        if self._count == 1 or len(jobs) < 2:
            yield from _here(work, jobs, tell)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._shared = context.Value("Q", 0)
            self._pool = ProcessPoolExecutor(self._count, context, _begin, (self._shared,))
        self._shared.value = 0
        waiting = iter(jobs)
        running: deque[Any] = deque()
        try:
            while True:
                while len(running) < 2 * self._count and (job := next(waiting, None)) is not None:
                    running.append(self._pool.submit(_in_worker, work, job))
                if not running:
                    return
                while not running[0].done():
                    wait([running[0]], _TOLD_EVERY_S)
                    tell(self._shared.value)
                yield running.popleft().result()
        except BrokenProcessPool:
            raise CodeflowError(
                "a worker process died, perhaps for want of memory; try again with --workers 1"
            ) from None


def _here(
    work: Callable[[Job, Advance], Result], jobs: Sequence[Job], tell: Advance
) -> Iterator[Result]:
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(done)

    for job in jobs:
        yield work(job, advance)


def _begin(shared: Any) -> None:
    """Makes a process a worker."""
    global _done
    _done = shared
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # its parent says what there is to say


def _in_worker(work: Callable[[Any, Advance], Any], job: Any) -> Any:
    return work(job, _advance)


def _advance(more: int) -> None:
    with _done.get_lock():
        _done.value += more
