"""What a pool is: runs units of work in any order, wherever that may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from codeflow.contracts import Unit, UnitResult
from codeflow.execution.failures import Failure

WAITING_THREADS: Final = 8
"""How many units that wait for other processes run beside one that works."""

Note = Callable[[str], None]
Done = tuple[Unit, UnitResult | Failure]


class Pool(Protocol):
    """Runs units in any order."""

    def submit(self, unit: Unit) -> None:
        """Accepts a unit."""
        ...

    def next_done(self) -> Done:
        """Waits for any accepted unit to end. Raises CodeflowError when the run must stop."""
        ...

    @property
    def room(self) -> int:
        """How many more units to submit before waiting."""
        ...

    @property
    def workers(self) -> int:
        """How many units run side by side."""
        ...

    def close(self) -> None:
        """Stops what runs."""
        ...
