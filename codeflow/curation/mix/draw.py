"""Which triples of a language stay: those whose ids, hashed with the seed, are lowest.

A hash decides alone, never the order of arrival, and a larger share keeps all that a smaller one
kept. Where to cut is found on a histogram of tokens over the first bits of the hash, so it costs
a fixed 4,096 counts a language however many triples there are. The cut is the bound of buckets
nearest to what is wanted: off by at most half a bucket, which is 1/8,192 of a large language and
half a triple of a small one. It is not always below, or a language of one triple could never stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

BUCKETS: Final = 1 << 12
_WEIGHT_DECIMALS = 6  # the noise of floating point must not become a weight
_ALL = 1 - 1e-9


class Draw(NamedTuple):
    """What happens to a language: triples in buckets below `stop` stay, with `weight`."""

    stop: int
    weight: float


def chance(seed: int, key: str) -> int:
    """64 random bits that belong to a key."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8], "big")


def buckets(seed: int, ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """The bucket of each id."""
    return np.array([chance(seed, key) * BUCKETS >> 64 for key in ids], np.int64)


def draw(histogram: npt.NDArray[np.int64], share: float) -> Draw:
    """Keeps `share` of a language: below 1 the lowest buckets, above 1 all, weighted.

    Args:
        histogram: (BUCKETS,) bytes, or any other measure, of the language by bucket.
        share: wanted measure over measure there.
    """
    if share >= _ALL:
        return Draw(BUCKETS, max(1.0, round(share, _WEIGHT_DECIMALS)))
    if share <= 0:
        return Draw(0, 1.0)
    kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(histogram)])
    stop = int(np.argmin(np.abs(kept - share * kept[-1])))
    return Draw(stop, 1.0)
