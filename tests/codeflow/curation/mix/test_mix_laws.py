"""The laws against a reading of them in matrices, and what is and is not true of them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.curation.mix.config import MixConfig
from codeflow.curation.mix.laws import (
    FITS,
    GREATEST_GAMMA,
    LANGUAGES,
    PUBLISHED,
    SYNERGY,
    literal,
    per_language,
)
from codeflow.curation.mix.samplers import optimum
from codeflow.curation.mix.search import minimise

TAU = np.array([[SYNERGY[i][j] for j in LANGUAGES] for i in LANGUAGES])
ALPHA_N, ALPHA_D, FLOOR = np.array([FITS[name] for name in LANGUAGES]).T
PUB = np.array([PUBLISHED[name] for name in LANGUAGES]) / 350
EQUAL = np.full(7, 1 / 7)

points = st.lists(st.floats(0.01, 1), min_size=7, max_size=7).map(
    lambda values: np.array(values) / sum(values)
)


def named(p: Any) -> dict[str, float]:
    return dict(zip(LANGUAGES, p.tolist(), strict=True))


def test_the_table_is_the_published_one() -> None:
    assert sum(PUBLISHED.values()) == pytest.approx(350.0, abs=1e-9)
    assert not TAU.diagonal().any()
    # read across: the row is the language that gains
    assert SYNERGY["Java"]["C#"] == pytest.approx(0.2058)
    assert SYNERGY["C#"]["Java"] == pytest.approx(0.0193)
    assert TAU.min() == SYNERGY["Python"]["Rust"] == pytest.approx(-0.0272)
    # sums by row and by column, added up by hand from the published table
    rows = [-7.25, 74.39, 19.50, 14.05, 16.43, 20.64, 20.62]
    columns = [28.16, 14.40, 24.84, 27.99, 28.77, 15.95, 18.27]
    assert TAU.sum(1) * 100 == pytest.approx(rows)
    assert TAU.sum(0) * 100 == pytest.approx(columns)


@given(points, st.floats(1, 1e4), st.floats(0, GREATEST_GAMMA))
def test_the_laws_are_what_the_matrices_say(p: Any, tokens: float, gamma: float) -> None:
    effective = tokens * p * (1 + gamma * TAU @ p)
    assert per_language(named(p), tokens, gamma) == pytest.approx((effective**-ALPHA_D).sum())
    data = tokens * (1 + gamma * p @ TAU @ p)
    expected = 2 * 7 ** -(p @ ALPHA_N) + 3 * data ** -(p @ ALPHA_D) + p @ FLOOR
    assert literal(named(p), tokens, gamma, 2, 3, 7) == pytest.approx(expected)


@given(points, st.floats(1, 1e4))
def test_no_language_is_left_less_than_no_data(p: Any, tokens: float) -> None:
    assert np.isfinite(per_language(named(p), tokens, GREATEST_GAMMA))


def test_a_language_without_a_share_is_infinitely_bad() -> None:
    assert per_language({"Python": 1.0, "Go": 0.0}, 350, 1) == float("inf")


def test_the_published_optimum_never_beats_equal_shares_under_the_literal_law() -> None:
    """Random choices of all that is not published, over many orders of magnitude."""
    draw = np.random.default_rng(12)
    for _ in range(4000):
        a, b = 10 ** draw.uniform(-6, 6, 2)
        gamma = 10 ** draw.uniform(-3, 4)
        size, tokens = 10 ** draw.uniform(0, 4, 2)
        losses = [literal(named(p), tokens, gamma, a, b, size) for p in (PUB, EQUAL)]
        assert losses[0] >= losses[1]


def test_the_reason_is_that_each_term_of_it_is_worse() -> None:
    """docs/mix.md argues from these, so the finding above holds for all constants."""
    assert PUB @ FLOOR > EQUAL @ FLOOR
    assert PUB @ ALPHA_N < EQUAL @ ALPHA_N
    assert PUB @ ALPHA_D < EQUAL @ ALPHA_D
    assert PUB @ TAU @ PUB < EQUAL @ TAU @ EQUAL


def test_the_literal_law_can_tell_mixes_apart() -> None:
    """The two tests above are not true of any mix: all C# beats equal shares by its floor."""
    sharp = named(np.eye(7)[LANGUAGES.index("C#")])
    assert literal(sharp, 350, 1, 0, 1) < literal(named(EQUAL), 350, 1, 0, 1)


def cosine(shares: dict[str, float]) -> float:
    moved = np.array([shares[name] for name in LANGUAGES]) - EQUAL
    shift = PUB - EQUAL
    return float(moved @ shift / np.linalg.norm(moved) / np.linalg.norm(shift))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.0, 10.0])
def test_the_law_by_language_leads_the_published_way(gamma: float) -> None:
    there = dict.fromkeys(LANGUAGES, 50.0)
    config = MixConfig(sampler="optimal", gamma=gamma)
    found = optimum("per-language", config, there, dict.fromkeys(LANGUAGES, 1.0))
    assert 0.4 <= cosine(found) <= 0.8


def test_it_does_not_where_the_synergy_is_read_down_the_columns() -> None:
    """A table read the wrong way round gives another optimum."""
    config = MixConfig(sampler="optimal", gamma=10.0)
    there = dict.fromkeys(LANGUAGES, 50.0)
    found = optimum("per-language", config, there, dict.fromkeys(LANGUAGES, 1.0))

    def turned(shares: Any) -> float:
        p = np.array([shares[name] for name in LANGUAGES])
        with np.errstate(divide="ignore"):
            return float(((350 * p * (1 + 10 * TAU.T @ p)) ** -ALPHA_D).sum())

    wrong = minimise(turned, [named(EQUAL)], dict.fromkeys(LANGUAGES, 1.0))
    assert cosine(wrong) < 0.4 < cosine(found)


STEPS = 60


@pytest.mark.parametrize("law", ["per-language", "literal"])
@pytest.mark.parametrize(
    ("names", "limits"),
    [
        (("Python", "Java", "C#"), (1.0, 1.0, 1.0)),
        (("Python", "Go", "Rust"), (0.25, 1.0, 1.0)),
        (("JavaScript", "TypeScript", "Java"), (0.5, 0.4, 0.2)),
        (("Python", "Go", "C#"), (0.9, 0.5, 0.1)),
    ],
)
def test_the_optimum_of_three_is_that_of_a_grid(
    law: str, names: tuple[str, ...], limits: tuple[float, ...]
) -> None:
    bounds = dict(zip(names, limits, strict=True))
    config = MixConfig(sampler="optimal", gamma=5.0)
    found = optimum(law, config, dict.fromkeys(names, 1.0), bounds)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert all(found[name] <= bounds[name] + 1e-6 for name in names)

    def loss(shares: Any) -> float:  # the matrices again, not the code under test
        p = np.array([shares.get(name, 0.0) for name in LANGUAGES])
        if law == "literal":
            data = 350 * (1 + 5 * p @ TAU @ p)
            return float(14 ** -(p @ ALPHA_N) + data ** -(p @ ALPHA_D) + p @ FLOOR)
        mine = [LANGUAGES.index(name) for name in names]
        effective = 350 * p * (1 + 5 * TAU @ p)
        with np.errstate(divide="ignore"):
            return float((effective[mine] ** -ALPHA_D[mine]).sum())

    grid = [
        {names[0]: i / STEPS, names[1]: j / STEPS, names[2]: (STEPS - i - j) / STEPS}
        for i, j in product(range(STEPS + 1), repeat=2)
        if i + j <= STEPS
    ]
    allowed = [p for p in grid if all(p[n] <= bounds[n] + 1e-12 for n in names)]
    best = min(allowed, key=loss)
    assert loss(found) <= loss(best) * (1 + 1e-5)
    assert all(abs(found[n] - best[n]) <= 1.5 / STEPS for n in names)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(0.16, 1), min_size=7, max_size=7), st.floats(0, 20))
def test_no_small_move_within_the_bounds_betters_an_optimum(
    limits: list[float], gamma: float
) -> None:
    bounds = dict(zip(LANGUAGES, limits, strict=True))
    config = MixConfig(sampler="optimal", gamma=gamma)
    found = optimum("per-language", config, dict.fromkeys(LANGUAGES, 1.0), bounds)
    least = per_language(found, 350, gamma)
    for taker, giver in product(LANGUAGES, repeat=2):
        if taker == giver or found[taker] + 1e-3 > bounds[taker]:
            continue
        moved = found | {taker: found[taker] + 1e-3, giver: found[giver] - 1e-3}
        assert per_language(moved, 350, gamma) > least * (1 - 1e-9)


def test_bounds_that_leave_no_choice_are_the_answer() -> None:
    bounds = {"Python": 0.3, "Go": 0.2}
    found = optimum("per-language", MixConfig(), bounds, bounds)
    assert found == {"Python": pytest.approx(0.6), "Go": pytest.approx(0.4)}
