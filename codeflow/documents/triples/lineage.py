"""Where the lines of a file come from, while the steps of a triple change it.

A line that stood there before the first step has its number there; one that a step wrote was
written on the page. So what has to be shown before the steps is what they ask for and none of them
wrote. Costs no content: a file is stretches of lines, and the last one has no end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from codeflow.documents.document import Window

ENDLESS: Final = 1 << 60


class Stretch(NamedTuple):
    """Neighbouring lines, and the number of the first one before all steps; None for written."""

    lines: int
    first: int | None


@dataclass(frozen=True)
class Lineage:
    """One version of a file; `path` is its name before all steps, None where a step made it."""

    path: str | None
    stretches: tuple[Stretch, ...]

    @classmethod
    def of_old(cls, path: str) -> Lineage:
        """A file that no step has touched yet."""
        return cls(path, (Stretch(ENDLESS, 0),))

    def cut(self, start: int, stop: int) -> Iterator[Stretch]:
        """What of it lies in a range of its lines."""
        at = 0
        for lines, first in self.stretches:
            low, high = max(start, at), min(stop, at + lines)
            if low < high:
                yield Stretch(high - low, None if first is None else first + low - at)
            at += lines

    def written(self, line: int) -> bool:
        """Whether a step wrote a line, counted from 0."""
        return all(stretch.first is None for stretch in self.cut(line, line + 1))

    def windows(self, start: int, stop: int) -> Iterator[Window]:
        """Where the lines of a range were before all steps, as far as they were."""
        for lines, first in self.cut(max(0, start), stop):
            if first is not None:
                yield Window(first, first + lines)


NOTHING: Final = Lineage(None, ())
"""A file that is about to be made."""


def joined(path: str | None, stretches: Iterable[Stretch]) -> Lineage:
    """A version made of stretches of others."""
    found: list[Stretch] = []
    for lines, first in stretches:
        if found:
            before, start = found[-1]
            if (start is None and first is None) or (
                start is not None and first is not None and start + before == first
            ):
                found[-1] = Stretch(before + lines, start)
                continue
        found.append(Stretch(lines, first))
    return Lineage(path, tuple(found))


class Line(NamedTuple):
    """A line of a patch: its sign where it is one of a hunk, else nothing; and how many lines of
    the old file lie before it."""

    text: str
    sign: str
    at: int


def read_section(text: str) -> Iterator[Line]:
    """The lines of one file's section of a patch, as git writes it."""
    old_left = new_left = at = 0
    for line in text.split("\n"):
        sign = line[:1] if old_left or new_left else ""
        if not sign and line.startswith("@@ "):
            before, after = line.split(" ", 3)[1:3]
            at, old_left = _range(before)
            _, new_left = _range(after)
        yield Line(line, sign, at)
        at += sign in (" ", "-")
        old_left -= sign in (" ", "-")
        new_left -= sign in (" ", "+")


def _range(field: str) -> tuple[int, int]:
    """Lines before a stretch, and how many it has, from `-12,3`."""
    first, _, count = field[1:].partition(",")
    lines = int(count) if count else 1
    return (int(first) - 1 if lines else int(first)), lines
