"""The detection curve: how likely banding is to find a pair of a given similarity.

Two sets of Jaccard similarity s agree in a permutation with probability s, in a band of r rows with
s^r, and in at least one of b bands with 1 - (1 - s^r)^b. What is found is confirmed, so the curve
is the recall, and precision is that of the threshold itself.
"""

from __future__ import annotations

STEP = 0.05


def detection(similarity: float, bands: int, rows: int) -> float:
    """The probability that a pair of this similarity shares a band."""
    return float(1 - (1 - similarity**rows) ** bands)


def curve(bands: int, rows: int) -> list[tuple[float, float]]:
    """Points (similarity, probability) from 0 to 1, for printing and plotting."""
    steps = round(1 / STEP)
    return [(k / steps, round(detection(k / steps, bands, rows), 6)) for k in range(steps + 1)]
