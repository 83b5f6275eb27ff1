"""Exact selection against brute force, with the rules for ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_miners.kinds.span.select import select

TAU = 0.5


def table(count: int, longest: int, values: dict[tuple[int, int], float]) -> np.ndarray:
    scores = np.zeros((count, longest + 1))
    for (start, end), value in values.items():
        scores[start, end - start] = value
    return scores


def brute(scores: np.ndarray, allowed: np.ndarray) -> list[tuple[int, int]]:
    """Every set of disjoint spans: most gain, then fewer commits, then the earlier list."""
    count, longest = scores.shape[0], scores.shape[1] - 1

    def gain(i: int, j: int) -> int:
        return round((j - i) * (scores[i, j - i] - TAU) * 1_000_000)

    def sets(i: int) -> list[list[tuple[int, int]]]:
        if i >= count:
            return [[]]
        found = sets(i + 1)
        for m in range(2, min(longest, count - i) + 1):
            if allowed[i, m] and gain(i, i + m) > 0:
                found = found + [[(i, i + m), *rest] for rest in sets(i + m)]
        return found

    return min(
        sets(0), key=lambda s: (-sum(gain(*span) for span in s), sum(j - i for i, j in s), s)
    )


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(2, 13))  # 14 commits
    longest = draw(st.integers(2, 5))
    # Few distinct scores, so that ties are common.
    value = st.sampled_from([0.0, 0.5, 0.6, 0.7, 0.75, 0.9, 1.0])
    cells = list(itertools.product(range(count), range(2, longest + 1)))
    scores, allowed = np.zeros((count, longest + 1)), np.zeros((count, longest + 1), dtype=bool)
    for i, m in cells:
        if i + m <= count and draw(st.booleans()):
            scores[i, m], allowed[i, m] = draw(value), draw(st.integers(0, 4)) > 0
    return scores, allowed


@settings(max_examples=150, deadline=None)
@given(tables())
def test_selection_is_brute_force(made: tuple[np.ndarray, np.ndarray]) -> None:
    scores, allowed = made
    assert select(scores, allowed, TAU) == brute(scores, allowed)


def test_greedy_would_be_wrong() -> None:
    scores = table(6, 4, {(1, 5): 0.8, (0, 3): 0.75, (3, 6): 0.75})
    assert select(scores, scores > 0, TAU) == [(0, 3), (3, 6)]


def test_ties_take_fewer_commits_then_the_earlier() -> None:
    fewer = table(4, 4, {(0, 4): 0.75, (1, 3): 1.0})
    assert select(fewer, fewer > 0, TAU) == [(1, 3)]
    earlier = table(5, 3, {(0, 3): 0.8, (1, 4): 0.8, (2, 5): 0.8})
    assert select(earlier, earlier > 0, TAU) == [(0, 3)]


@pytest.mark.parametrize("score", [0.5, 0.2])
def test_a_score_must_exceed_tau(score: float) -> None:
    scores = table(3, 2, {(0, 2): score})
    assert select(scores, scores > 0, TAU) == []


def test_density_adds_passes_without_what_is_chosen() -> None:
    values = {(0, 3): 0.9, (1, 4): 0.8, (2, 4): 0.7}
    scores = table(4, 3, values)
    passes = [select(scores, scores > 0, TAU, density=d) for d in (1, 2, 3, 4)]
    assert passes == [[(0, 3)], [(0, 3), (1, 4)], sorted(values), sorted(values)]
