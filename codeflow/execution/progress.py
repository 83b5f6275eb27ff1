"""What a run reports while it goes on: the one interface that its steps know of a display."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a driver reports. Not thread-safe: one thread, the driver's, calls it."""

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        """A stage begins, and the one before it ends.

        Args:
            name: what is being done, one word (`clone`, `history`, `content`).
            total: units of work in it, None while unknown.
            done: units found done by an earlier run; they say nothing about speed.
        """
        ...

    def add(
        self,
        *,
        units: int = 0,
        repositories: int = 0,
        repositories_done: int = 0,
        repositories_failed: int = 0,
        commits: int = 0,
        triples: int = 0,
        bytes: int = 0,
    ) -> None:
        """Adds to the counters of the run; `units` counts towards the stage's total.

        `repositories` are those that the run knows of, `bytes` the contents read.
        """
        ...

    def note(self, text: str) -> None:
        """A line that stays, such as a failed repository with its reason."""
        ...

    def close(self) -> None:
        """Ends the last stage and restores the terminal; for a `finally`. May be called twice."""
        ...


class Quiet:
    """A `Progress` that shows nothing."""

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        """Nothing."""

    def add(self, **counts: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing: what failed is in the summary."""

    def close(self) -> None:
        """Nothing."""
