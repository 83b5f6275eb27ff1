"""Minimises a law over shares that sum to 1 and stay below bounds.

A compass search: from each start, share is moved from one language to another while that helps,
and the step halves when no move does. Moves between two languages span everything that the sum
and the bounds allow, so it ends where no small move helps. It needs no derivative, takes bounds
exactly, and gives the same shares on every machine, because steps are powers of two and the
result is rounded. With seven languages: 42 moves a round, some thousand evaluations a start,
about 0.1 s. No library of optimisers is worth a dependency here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

_FIRST_STEP = 1 / 8
_LAST_STEP = 1 / (1 << 22)
_DECIMALS = 6

Shares = Mapping[str, float]


def minimise(
    law: Callable[[Shares], float], starts: Iterable[Shares], bounds: Shares
) -> dict[str, float]:
    """The best shares found from any start; of equals, those of the first.

    Args:
        law: may be infinite at places, but not at every start.
        starts: shares that sum to 1 and are within the bounds.
        bounds: the largest share of each language.
    """
    found = [_descend(law, dict(start), bounds) for start in starts]
    best, _ = min(found, key=lambda pair: pair[1])
    return {name: round(share, _DECIMALS) for name, share in best.items()}


def _descend(
    law: Callable[[Shares], float], shares: dict[str, float], bounds: Shares
) -> tuple[dict[str, float], float]:
    value, step = law(shares), _FIRST_STEP
    while step >= _LAST_STEP:
        helped = False
        for taker in shares:
            for giver in shares:
                amount = min(step, shares[giver], bounds[taker] - shares[taker])
                if giver == taker or amount <= 0:
                    continue
                moved = shares | {
                    taker: shares[taker] + amount,
                    giver: shares[giver] - amount,
                }
                other = law(moved)
                if other < value:
                    shares, value, helped = moved, other, True
        if not helped:
            step /= 2
    return shares, value
