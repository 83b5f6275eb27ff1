"""Shares, a budget and a limit on each language → tokens of each language.

Where a language has not enough, what it lacks goes to those that have room, in proportion to their
shares: tokens are min(limit, λ·share) with the one λ that meets the budget. So the budget is met
whenever the limits allow it, and languages that are not at their limit keep their ratios.
"""

from __future__ import annotations

from collections.abc import Mapping


def fill(
    shares: Mapping[str, float], limits: Mapping[str, float], budget: float
) -> dict[str, float]:
    """Tokens of each language; their sum is the budget, or all limits where these are less.

    Args:
        shares: not negative; they need not sum to 1. A language without a share gets nothing.
        limits: the most that each language may get, for every name in `shares`.
    """
    tokens = dict.fromkeys(shares, 0.0)
    asked = sorted(
        (name for name in shares if shares[name] > 0),
        key=lambda name: (limits[name] / shares[name], name),
    )
    left = budget
    for place, name in enumerate(asked):
        part = left * shares[name] / sum(shares[other] for other in asked[place:])
        tokens[name] = min(limits[name], part)
        left -= tokens[name]
    return tokens
