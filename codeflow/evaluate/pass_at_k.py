"""pass@k without bias, and how sure it is.

Of n samples of a problem c pass. The chance that k of them, drawn without return, hold one that
passes is 1 - C(n-c, k) / C(n, k) (Chen et al., arXiv 2107.03374): simply raising c/n to a power
would be too low. The interval is by bootstrap over the problems, since they differ more among
themselves than the samples of one of them do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

_ROUNDS = 2000
_INTERVAL = (2.5, 97.5)


@dataclass(frozen=True)
class Rate:
    """pass@k over problems.

    Attributes:
        problems: how many have k samples that count.
        low, high: 95% of the bootstrap lie between them.
    """

    k: int
    value: float
    low: float
    high: float
    problems: int


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Of one problem. `k` is at most `samples`."""
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {passed} in {samples} samples")
    return 1.0 - comb(samples - passed, k) / comb(samples, k)


def rate(counts: Sequence[tuple[int, int]], k: int, seed: int = 0) -> Rate | None:
    """Over problems, by their (samples, passed); None where none has k samples."""
    values = np.array([pass_at_k(n, c, k) for n, c in counts if n >= k])
    if not len(values):
        return None
    draws = np.random.default_rng(seed).integers(0, len(values), (_ROUNDS, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), _INTERVAL)
    return Rate(k, float(values.mean()), float(low), float(high), len(values))
