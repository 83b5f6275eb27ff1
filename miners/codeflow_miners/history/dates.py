"""How far a history has come in time, by commit dates of which some are wrong.

Dates are what machines believed: a clock that starts at zero writes 1970, one that is set wrong
next century, and an import may give none. Positions are shares of the time from the first commit to
the last, so one such date would push all others to one end of it. Those that cannot be true have
therefore no say, and their commits stand where the commit before them stands:

* none at all: 1970, before which there is no Git date, and the year 9999, to which later ones are
  cut (`objects`);
* the earliest and the latest, of at most a tenth of the commits each, if the gap to the rest is
  longer than `TOLERANCE_S` and than all of the rest;
* dates that the order of commits belies: off the longest run of commits whose dates never go back,
  and more than `TOLERANCE_S` later than the next one of that run.

Clocks that are a little off change nothing: the latest date so far counts, as ever.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

TOLERANCE_S: Final = 30 * 86_400
_FIRST_S: Final = 365 * 86_400  # 1971
_LAST_S: Final = 253_370_764_800  # 9999
_END_SHARE: Final = 10


def time_marks(dates: Sequence[int]) -> list[int]:
    """How far each commit of a chain has come, in seconds; never decreasing.

    Args:
        dates: commit dates, oldest commit first; at least one.
    """
    known = [k for k, date in enumerate(dates) if _FIRST_S <= date < _LAST_S]
    if not known:  # one clock that was wrong all along
        return list(accumulate(dates, max))
    first, last = _span(sorted(dates[k] for k in known))
    known = _in_order([k for k in known if first <= dates[k] <= last], dates)
    marks = [dates[known[0]]] * len(dates)
    for k in known:
        marks[k] = dates[k]
    return list(accumulate(marks, max))


def _in_order(known: Sequence[int], dates: Sequence[int]) -> list[int]:
    """Those of some commits whose dates are not far later than what follows them."""
    smallest: list[int] = []  # the earliest date that ends a run of each length, and its commit
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for k in known:
        place = bisect_right(smallest, dates[k])
        before[k] = ends[place - 1] if place else None
        smallest[place : place + 1] = [dates[k]]
        ends[place : place + 1] = [k]
    run: set[int] = set()
    last: int | None = ends[-1]
    while last is not None:
        run.add(last)
        last = before[last]
    kept: list[int] = []
    limit = _LAST_S
    for k in reversed(known):
        if k in run:
            limit = dates[k]
        if k in run or dates[k] <= limit + TOLERANCE_S:
            kept.append(k)
    return kept[::-1]


def _span(dates: Sequence[int]) -> tuple[int, int]:
    """The first and the last of some sorted dates that no gap parts from the rest."""
    few = max(1, len(dates) // _END_SHARE)
    start, stop = 0, len(dates)
    while stop - start > 2:
        heads = range(start, min(few, stop - 2))
        tails = range(max(len(dates) - few, start + 2), stop)
        head = max(heads, key=lambda k: dates[k + 1] - dates[k], default=None)
        tail = max(tails, key=lambda k: dates[k] - dates[k - 1], default=None)
        low = start if head is None else head + 1
        high = stop if tail is None else tail
        extent = max(TOLERANCE_S, dates[high - 1] - dates[low])
        cut_low = head is not None and dates[low] - dates[head] > extent
        cut_high = tail is not None and dates[tail] - dates[high - 1] > extent
        if not cut_low and not cut_high:
            break
        start, stop = low if cut_low else start, high if cut_high else stop
    return dates[start], dates[stop - 1]
