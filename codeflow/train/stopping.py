"""How a training run is asked to end: Ctrl-C or SIGTERM once saves and stops, Ctrl-C twice stops.

A signal only leaves a mark; the loop looks at it between two steps, where the state is whole, and
all ranks look together, since one that stopped alone would leave the others waiting for it. Before
the first step and after the last checkpoint there is nothing to save, and one signal is enough.

In a process of our own a thread listens, because Python's own handlers wait for the line that is
being run, and that line may be waiting for a rank that never comes. Elsewhere (a notebook) the
process is not ours to end: there the second Ctrl-C is an ordinary KeyboardInterrupt.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from codeflow.errors import EXIT_INTERRUPTED
from codeflow.train.state.parallel import World

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """What was asked of a run. `saving` is true while a run has something to save."""

    def __init__(self, say: Callable[[str], None], at_once: Callable[[], NoReturn]) -> None:
        self._say, self._at_once = say, at_once
        self._asked = False
        self.saving = False

    def hear(self, number: int) -> None:
        """Takes a signal."""
        if not self.saving or (self._asked and number == signal.SIGINT):
            self._at_once()
        if not self._asked:
            self._asked = True
            self._say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")

    def agreed(self, world: World) -> bool:
        """Whether any rank was asked to stop; the same answer on all, which must ask together."""
        return world.sum(float(self._asked))[0] > 0

    def require_none(self, world: World) -> None:
        """For work that is left as it is when a stop comes. Raises StoppedError on all ranks."""
        if self.agreed(world):
            raise StoppedError


class StoppedError(Exception):
    """Something was not finished because the run is to stop."""


@contextlib.contextmanager
def listening(say: Callable[[str], None], own_process: bool) -> Iterator[Stop]:
    """Takes signals until the end of the block; only the main thread may.

    Args:
        own_process: whether the process may be ended at once.
    """
    stop = Stop(say, _leave if own_process else _raise)
    # a shell has background jobs ignore Ctrl-C, which is then not theirs
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        yield stop
    elif own_process:
        with _in_a_thread(stop, heard), _handled(heard, lambda number, frame: None):
            yield stop
    else:
        with _handled(heard, lambda number, frame: stop.hear(number)):
            yield stop


def _leave() -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(
            2, b"codeflow: stopped at once; the same command goes on from the last checkpoint\n"
        )
    os._exit(EXIT_INTERRUPTED)


def _raise() -> NoReturn:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _handled(numbers: list[signal.Signals], handler: Callable[[int, Any], None]) -> Iterator[None]:
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


@contextlib.contextmanager
def _in_a_thread(stop: Stop, numbers: list[signal.Signals]) -> Iterator[None]:
    """C's own handler writes the number of each signal into a pipe, whatever Python waits for."""
    read, write = os.pipe()
    os.set_blocking(write, False)

    def listen() -> None:
        while heard := os.read(read, 16):
            for number in heard:
                if number in numbers:
                    stop.hear(number)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)
        thread.join()
        os.close(read)
