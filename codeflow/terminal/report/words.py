"""Numbers and counts as people write them, for the page's sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

Name = TypeVar("Name")


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 triple`, `2 triples`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """A share, exact enough to tell small ones from none."""
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{share:.1%}" if share < 0.0995 or 0.9995 > share > 0.9905 else f"{share:.0%}"


def top(counts: Counter[Name], most: int) -> tuple[list[tuple[Name, int]], int]:
    """The most frequent names, ties by name, and how much the others have together."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return ordered[:most], sum(n for _, n in ordered[most:])


def listing(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *head, last = names
    return f"{', '.join(head)} and {last}" if head else last
