"""The best set of spans that do not overlap: weighted interval scheduling, exact.

Weights are whole millionths, so that no order of additions can tip a choice, and ties have one
answer: fewer commits in all, then the earlier span.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codeflow_miners.kinds.span.steps import Floats

MILLIONTH = 1_000_000


def select(
    scores: Floats, allowed: npt.NDArray[np.bool_], tau: float, density: int = 1
) -> list[tuple[int, int]]:
    """Chooses spans (start, end), ascending, that maximise the sum of m (score - tau).

    Args:
        scores, allowed: (N, M + 1), of the span of m steps from a start at `[start, m]`.
        tau: what a span must score more than.
        density: number of passes; each leaves out the spans chosen before, so that the spans of
            different passes may overlap.
    """
    lengths = np.arange(scores.shape[1])[None, :]
    gains = np.where(allowed, np.rint(lengths * (scores - tau) * MILLIONTH), 0).astype(np.int64)
    chosen: list[tuple[int, int]] = []
    for _ in range(density):
        found = _best(gains)
        if not found:
            break
        chosen += found
        for start, end in found:
            gains[start, end - start] = 0
    return sorted(chosen)


def _best(gains: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    count, longest = gains.shape[0], gains.shape[1] - 1
    # One key for (gain, fewer commits): the commits of all spans together stay below count + 1.
    keys = gains * (count + 1) - np.arange(longest + 1)[None, :]
    best = np.zeros(count + longest + 1, dtype=np.int64)  # from each step on
    take = np.zeros(count, dtype=np.int64)
    some = np.any(gains > 0, axis=1)
    for start in range(count - 1, -1, -1):
        best[start] = best[start + 1]
        if some[start]:
            totals = np.where(gains[start] > 0, keys[start] + best[start : start + longest + 1], -1)
            m = int(totals.argmax())  # the first, so the shortest, of equals
            if totals[m] >= best[start]:
                best[start], take[start] = totals[m], m
    spans = []
    start = 0
    while start < count:
        if take[start]:
            spans.append((start, start + int(take[start])))
        start += max(1, int(take[start]))
    return spans
