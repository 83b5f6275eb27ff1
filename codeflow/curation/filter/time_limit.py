"""A bound on the time of a call of code that is not ours: a filter that hangs must not hang a run.

By a timer of the system, whose signal interrupts Python code and its regular expressions. What
waits within a library is interrupted when it comes back. Signals reach main threads only, where
units run in this process and in Ray's; in another thread nothing is bounded. Costs 7 µs a call.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class TimeIsUpError(BaseException):
    """The call took too long. No `except Exception` of the code that is to end catches it."""


class TimeLimit:
    """Bounds calls while it is entered: `with time_limit.applied(): ...` raises TimeIsUpError.

    Args:
        seconds: of wall time for a call.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._before: Any = None
        self._works = False

    def __enter__(self) -> TimeLimit:
        self._works = threading.current_thread() is threading.main_thread()
        if self._works:
            self._before = signal.signal(signal.SIGALRM, _ring)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._works:
            signal.signal(signal.SIGALRM, self._before)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """What is within may take so long. A timer that ran before goes on afterwards."""
        if not self._works:
            yield
            return
        left, every = signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, left, every)


def _ring(number: int, frame: FrameType | None) -> None:
    raise TimeIsUpError
