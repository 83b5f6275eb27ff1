"""How good every span is: three components in [0, 1] and their weighted geometric mean.

- *contrast*: the tie of the span against the strongest tie across its two ends, in common subject.
  High where a run of steps hangs together and its neighbours are about something else. This
  carries most of the score.
- *joint*: the tie of the span, with pauses and distance counted as well as subject.
- *retention*: net over gross lines, full at a half: work that is undone inside is not progress.

The *tie* of a span is the weakest edge of the maximum spanning tree of its steps: the strength at
which they fall apart. No pair of steps, however much alike, can hold together what lies between
them; and steps of upkeep (`chores`) are tied to nothing. `tie` itself is no part of the score, but
must reach a least value. Tables are `[start, m]`, m = 0 .. M. What was tried and left out stands in
docs/spans.md.
Cost: O(N M^3) in array operations: about 5 s for 20,000 steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from codeflow_miners.kinds.span.likeness import link_band, topic_band
from codeflow_miners.kinds.span.net import Net
from codeflow_miners.kinds.span.steps import Floats, Steps

FLOOR = 0.05
STEEPNESS = 8.0
BLOCK = 1024  # starts that are looked at together
AROUND = 4  # how many steps before and after a span are looked at for ties across its ends


def components(
    steps: Steps, net: Net, upkeep: npt.NDArray[np.bool_], longest: int
) -> dict[str, Floats]:
    """Every component of every span of 2 to `longest` steps, (N, M + 1) each; 0 elsewhere.

    Steps marked in `upkeep` (N,) are tied to nothing.
    """
    topic = topic_band(steps, longest)
    link = link_band(topic, steps.elapsed)
    for band in (topic, link):
        band[upkeep] = 0
        for d in range(1, min(longest, steps.count - 1) + 1):
            band[:-d, d - 1][upkeep[d:]] = 0
    inside, across = weakest_links(topic), strongest_ties(topic, AROUND)
    kept = np.where(net.gross_lines > 0, net.lines / np.maximum(net.gross_lines, 1), 1.0)
    return {
        "contrast": 1 / (1 + np.exp(-STEEPNESS * (inside - across))),
        "tie": inside,
        "joint": weakest_links(link),
        "retention": np.pad(np.clip(2 * kept, 0.0, 1.0), ((0, 0), (1, 0))),
    }


def combine(parts: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The weighted geometric mean of the components, none counting below `FLOOR`."""
    total = sum(weights.values())
    logs = [weights[name] * np.log(np.maximum(parts[name], FLOOR)) for name in sorted(weights)]
    score: Floats = np.exp(np.sum(logs, axis=0) / total)
    return score


def weakest_links(band: Floats) -> Floats:
    """Per span the strength at which its steps fall apart, by pairs inside the span alone.

    That is the weakest edge of its maximum spanning tree: every step is tied to another by at
    least so much, and all of them together by such ties. Between two steps of a growing span the
    best way is kept, (B, M, M) for B starts at a time.
    """
    count, reach = band.shape
    weakest = np.zeros((count, reach + 1))
    for first in range(0, count, BLOCK):
        starts = np.arange(first, min(first + BLOCK, count))
        way = np.zeros((len(starts), reach, reach), dtype=np.float32)
        for new in range(1, reach):
            into = np.zeros((len(starts), new), dtype=np.float32)
            for t in range(new):  # the pair (i + t, i + new)
                inside = starts + t < count
                into[inside, t] = band[starts[inside] + t, new - t - 1]
            old = way[:, :new, :new]
            into = np.maximum(into, np.minimum(into[:, :, None], old).max(axis=1))
            np.maximum(old, np.minimum(into[:, :, None], into[:, None, :]), out=old)
            way[:, new, :new] = way[:, :new, new] = into
            fits = starts + new < count
            # the tree falls apart at the worst way from its first step to any other
            weakest[starts[fits], new + 1] = way[fits, 0, 1 : new + 1].min(axis=1)
    return weakest


def strongest_ties(band: Floats, around: int) -> Floats:
    """Per span the strongest pair of a step inside and one at most `around` steps outside."""
    count, reach = band.shape
    before = np.zeros(count)
    strongest = np.zeros((count, reach + 1))
    for m in range(1, min(reach, count) + 1):
        for back in range(1, min(around, reach - m + 1) + 1):
            if back < count:  # the pair (i - back, i + m - 1)
                np.maximum(before[back:], band[:-back, back + m - 2], out=before[back:])
        after = np.zeros(count)
        for t in range(m):
            for ahead in range(around):  # the pair (i + t, i + m + ahead)
                d = m - t + ahead
                if d <= reach:
                    np.maximum(after[: count - t], band[t:, d - 1], out=after[: count - t])
        strongest[:, m] = np.maximum(before, after)
    return strongest
