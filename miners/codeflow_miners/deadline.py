"""The limit on a unit's time, checked between items of work."""

from __future__ import annotations

import time

from codeflow.errors import LimitExceededError


class Deadline:
    """Raises when a unit has run longer than it may."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._end = time.monotonic() + limit_s

    def check(self) -> None:
        """Raises LimitExceededError `unit-seconds`, which is not deterministic."""
        if time.monotonic() > self._end:
            raise LimitExceededError(
                "unit-seconds",
                f"one unit ran longer than limits.unit_seconds = {self._limit_s:g}",
                deterministic=False,
            )
