"""How good every span is: three components in [0, 1] and their weighted geometric mean.

- *contrast*: the weakest joint inside the span against the strongest tie across its two ends, in
  common subject. High where a run of steps hangs together and its neighbours are about something
  else. This carries most of the score.
- *joint*: the weakest joint inside, with pauses and distance counted as well as subject.
- *retention*: net over gross lines, full at a half: work that is undone inside is not progress.

The strength of a joint (a place between two steps) is that of the strongest pair of steps across
it. Tables are `[start, m]`, m = 0 .. M. What was tried and left out stands in docs/spans.md.
Cost: O(N M^2) in array operations, under 2 s for 20,000 steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from codeflow_miners.kinds.span.likeness import link_band, topic_band
from codeflow_miners.kinds.span.net import Net
from codeflow_miners.kinds.span.steps import Floats, Steps

FLOOR = 0.05
STEEPNESS = 8.0
AROUND = 4  # how many steps before and after a span are looked at for ties across its ends


def components(steps: Steps, net: Net, longest: int) -> dict[str, Floats]:
    """Every component of every span of 2 to `longest` steps, (N, M + 1) each; 0 elsewhere."""
    topic = topic_band(steps, longest)
    link = link_band(topic, steps.elapsed)
    inside, across = weakest_joints(topic), strongest_ties(topic, AROUND)
    kept = np.where(net.gross_lines > 0, net.lines / np.maximum(net.gross_lines, 1), 1.0)
    return {
        "contrast": 1 / (1 + np.exp(-STEEPNESS * (inside - across))),
        "joint": weakest_joints(link),
        "retention": np.pad(np.clip(2 * kept, 0.0, 1.0), ((0, 0), (1, 0))),
    }


def combine(parts: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The weighted geometric mean of the components, none counting below `FLOOR`."""
    total = sum(weights.values())
    logs = [weights[name] * np.log(np.maximum(parts[name], FLOOR)) for name in sorted(weights)]
    score: Floats = np.exp(np.sum(logs, axis=0) / total)
    return score


def weakest_joints(band: Floats) -> Floats:
    """Per span the weakest joint between two of its steps, by pairs inside the span alone."""
    count, reach = band.shape
    weakest = np.zeros((count, reach + 1))
    joints = np.zeros((reach, count))  # [t, i]: the joint before step i + t of the span from i
    for m in range(2, min(reach, count) + 1):
        new = m - 1  # the span grows by step i + new
        strongest = np.zeros(count)
        for t in range(new):  # the pair (i + t, i + new) crosses the joints t + 1 .. new
            np.maximum(strongest[: count - t], band[t:, new - t - 1], out=strongest[: count - t])
            np.maximum(joints[t + 1], strongest, out=joints[t + 1])
        fits = count - m + 1
        weakest[:fits, m] = joints[1:m, :fits].min(axis=0)
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
