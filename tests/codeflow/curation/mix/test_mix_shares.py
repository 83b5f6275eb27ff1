"""Samplers, allocation and drawing against what they promise, computed another way."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.config import as_mapping, from_mapping
from codeflow.curation.mix.allocate import fill
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.mix.draw import BUCKETS, buckets, chance, draw
from codeflow.curation.mix.estimate import BYTES_PER_TOKEN, bytes_per_token, group
from codeflow.curation.mix.laws import LANGUAGES, PUBLISHED
from codeflow.curation.mix.samplers import mix
from codeflow.errors import UsageError

names = st.sampled_from(["Python", "Go", "C", "Ruby", "unknown", "YAML"])
amounts = st.floats(1e3, 1e12)
asked = st.dictionaries(names, st.just(0.0) | st.floats(1e-6, 1), min_size=1).filter(
    lambda shares: sum(shares.values()) > 0.01
)


@st.composite
def questions(draws: Any) -> tuple[dict[str, float], dict[str, float], float]:
    shares = draws(asked)
    limits = {name: draws(amounts) for name in sorted(shares)}
    return shares, limits, draws(st.floats(1.0, 1e13))


@given(questions())
def test_the_budget_and_every_limit_are_kept(question: Any) -> None:
    shares, limits, budget = question
    tokens = fill(shares, limits, budget)
    room = sum(limits[name] for name in shares if shares[name] > 0)
    assert sum(tokens.values()) == pytest.approx(min(budget, room))
    assert all(0 <= tokens[name] <= limits[name] for name in shares)


@given(questions())
def test_tokens_are_one_multiple_of_the_shares_below_the_limits(question: Any) -> None:
    """min(limit, λ·share), with the λ that meets the budget found by bisection."""
    shares, limits, budget = question
    if budget >= sum(limits[name] for name in shares if shares[name] > 0):
        return
    low, high = 1e-3, 1e20
    for _ in range(120):
        middle = (low * high) ** 0.5
        given_out = sum(min(limits[name], middle * share) for name, share in shares.items())
        low, high = (middle, high) if given_out < budget else (low, middle)
    expected = {name: min(limits[name], high * share) for name, share in shares.items()}
    assert fill(shares, limits, budget) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(questions(), st.floats(1, 10))
def test_a_larger_budget_takes_from_nobody(question: Any, factor: float) -> None:
    shares, limits, budget = question
    small, large = fill(shares, limits, budget), fill(shares, limits, budget * factor)
    assert all(small[name] <= large[name] * (1 + 1e-9) for name in shares)


@given(questions(), st.floats(1, 10))
def test_a_larger_limit_gives_its_language_no_less(question: Any, factor: float) -> None:
    shares, limits, budget = question
    for name in shares:
        more = fill(shares, limits | {name: limits[name] * factor}, budget)
        assert more[name] >= fill(shares, limits, budget)[name] * (1 - 1e-9)


THERE = {"Python": 600.0, "Go": 300.0, "C": 100.0}


def shares_of(config: MixConfig, there: dict[str, float]) -> dict[str, float]:
    tokens = mix(config, there).tokens
    return {name: value / sum(tokens.values()) for name, value in tokens.items()}


def test_natural_takes_all_as_it_is() -> None:
    found = mix(MixConfig(), THERE)
    assert found.tokens == pytest.approx(THERE)
    assert found.targets == pytest.approx({"Python": 0.6, "Go": 0.3, "C": 0.1})


def test_temperature_takes_roots() -> None:
    found = mix(MixConfig(sampler="temperature", temperature=2.0), THERE)
    roots = np.sqrt([600, 300, 100])
    assert list(found.targets.values()) == pytest.approx((roots / roots.sum()).tolist())
    cool = mix(MixConfig(sampler="temperature", temperature=1.0), THERE)
    assert cool.targets == pytest.approx(mix(MixConfig(), THERE).targets)
    hot = mix(MixConfig(sampler="temperature", temperature=1e6), THERE)
    assert hot.targets == pytest.approx(dict.fromkeys(THERE, 1 / 3), abs=1e-5)


def test_uniform_is_even_and_its_shortage_goes_to_the_others() -> None:
    config = MixConfig(sampler="uniform", max_repeats=2.0)
    found = mix(config, THERE)
    assert found.targets == pytest.approx(dict.fromkeys(THERE, 1 / 3))
    assert found.tokens == pytest.approx({"Python": 400, "Go": 400, "C": 200})


def test_given_shares_are_exact_and_leave_the_rest_to_the_rest() -> None:
    whole = MixConfig(sampler="shares", shares={"Python": 0.25, "Go": 0.75}, max_repeats=9.0)
    assert shares_of(whole, THERE) == pytest.approx({"Python": 0.25, "Go": 0.75, "C": 0})
    part = MixConfig(sampler="shares", shares={"C": 0.4}, max_repeats=9.0)
    # of the 0.6 that are left, two thirds are Python's by nature
    assert shares_of(part, THERE) == pytest.approx({"Python": 0.4, "Go": 0.2, "C": 0.4})


def test_a_share_of_a_language_that_is_not_there_goes_to_the_others() -> None:
    config = MixConfig(sampler="shares", shares={"Rust": 0.5, "C": 0.5}, max_repeats=99.0)
    assert shares_of(config, THERE) == pytest.approx({"Python": 0, "Go": 0, "C": 1})


@pytest.mark.parametrize("names", [LANGUAGES, ("Python", "Go"), ("C#", "Rust", "Java")])
def test_guided_is_the_published_optimum_among_what_is_there(names: tuple[str, ...]) -> None:
    there = dict.fromkeys(names, 50.0)
    found = mix(MixConfig(sampler="guided"), there).tokens
    total = sum(Fraction(str(PUBLISHED[name])) for name in names)
    budget = 50 * len(names)
    expected = {name: float(Fraction(str(PUBLISHED[name])) / total * budget) for name in names}
    assert found == pytest.approx(expected, rel=1e-12)
    if names == LANGUAGES:
        assert found == pytest.approx(dict(PUBLISHED))


@pytest.mark.parametrize("sampler", ["guided", "optimal"])
@pytest.mark.parametrize("budget", [0, 300, 2500])
def test_languages_that_the_paper_does_not_know_keep_their_share(sampler: str, budget: int) -> None:
    there = THERE | {"Ruby": 50.0, "Java": 20.0}
    found = mix(MixConfig(sampler=sampler, budget_tokens=budget), there)
    factor = (budget or 1070) / 1070
    assert found.tokens["C"] == pytest.approx(100 * factor)
    assert found.tokens["Ruby"] == pytest.approx(50 * factor)
    assert sum(found.tokens.values()) == pytest.approx(1070 * factor)
    assert sum(found.targets.values()) == pytest.approx(1)


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*LANGUAGES, "C"]), amounts, min_size=1).filter(
        lambda there: set(there) != {"C"}
    ),
    st.sampled_from(["guided", "optimal"]),
    st.floats(1, 8),
    st.floats(0.01, 20),
)
def test_the_samplers_of_the_paper_keep_budget_and_cap(
    there: dict[str, float], sampler: str, repeats: float, factor: float
) -> None:
    whole = sum(there.values())
    budget = max(1, round(whole * factor))
    config = MixConfig(sampler=sampler, max_repeats=repeats, budget_tokens=budget)
    found = mix(config, there)
    assert all(found.tokens[name] <= repeats * there[name] * (1 + 1e-9) for name in there)
    assert sum(found.tokens.values()) == pytest.approx(min(budget, repeats * whole), rel=1e-6)


def test_nothing_there_is_nothing() -> None:
    assert mix(MixConfig(sampler="guided"), {}).tokens == {}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (MixConfig(sampler="guided"), ["'guided'", "Python, Java", "(Ruby, C)"]),
        (MixConfig(sampler="optimal"), ["'optimal'", "none of them is there"]),
        (MixConfig(sampler="shares", shares={"Go": 1.0}), ["nothing is asked", "(Ruby, C)"]),
    ],
)
def test_a_sampler_with_nothing_to_go_by_says_so(config: MixConfig, words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        mix(config, {"C": 1.0, "Ruby": 2.0})
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sampler": "even"}, ["mix.sampler = 'even'", "uniform"]),
        ({"law": "none"}, ["mix.law", "per-language, literal"]),
        ({"temperature": 0.5}, ["mix.temperature = 0.5: give 1 to"]),
        ({"temperature": float("nan")}, ["mix.temperature = nan"]),
        ({"max_repeats": 0}, ["mix.max_repeats = 0"]),
        ({"gamma": 40.0}, ["mix.gamma = 40.0: give 0 to 35"]),
        ({"law_tokens": 0}, ["mix.law_tokens = 0"]),
        ({"budget_tokens": -1}, ["mix.budget_tokens = -1"]),
        ({"bytes_per_token": {"Go": 0}}, ["mix.bytes_per_token.Go = 0"]),
        ({"bytes_per_token": {"Go": "3"}}, ["mix.bytes_per_token.Go: expected a number, got '3'"]),
        ({"shares": {"Go": True}, "sampler": "shares"}, ["shares.Go: expected a number"]),
        ({"shares": {"Go": -0.1}, "sampler": "shares"}, ["mix.shares.Go = -0.1"]),
        ({"shares": {"Go": 0.6, "C": 0.6}, "sampler": "shares"}, ["sum to 1.2"]),
        ({"shares": {"Go": 0.6}}, ["'natural'", "sampler = 'shares'"]),
        ({"sampler": "shares"}, ["mix.shares: none"]),
        ({"sample": "natural"}, ["unknown key 'sample'", "did you mean 'sampler'?"]),
    ],
)
def test_a_wrong_configuration_is_named(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        from_mapping(MixConfig, values, "mix")
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


def test_a_configuration_reads_back_as_it_was_stored() -> None:
    config = MixConfig(sampler="shares", shares={"Go": 0.5}, bytes_per_token={"Go": 3})
    assert from_mapping(MixConfig, as_mapping(config), "mix") == config


def test_tokens_are_estimated_by_language() -> None:
    assert bytes_per_token("Java", {}) == BYTES_PER_TOKEN["Java"]
    assert bytes_per_token("Java", {"Java": 2}) == 2.0
    assert bytes_per_token("Zig", {}) == bytes_per_token("unknown", {})
    assert (group("TSX"), group(None), group("C")) == ("TypeScript", "unknown", "C")


ids = st.lists(st.integers(0, 1 << 60).map(lambda n: f"{n:032x}"), min_size=1, unique=True)


@given(ids, st.integers(0, 5))
def test_a_bucket_is_the_first_12_bits_of_the_hash(keys: list[str], seed: int) -> None:
    for key, bucket in zip(keys, buckets(seed, keys).tolist(), strict=True):
        digest = hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest()
        assert bucket == int(digest[:3], 16)
        assert chance(seed, key) == int(digest[:16], 16)


histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1 << 40), min_size=1)


@given(histograms, st.floats(0, 1.0), st.floats(0, 1.0))
def test_a_draw_is_nearest_to_what_is_wanted_and_grows_with_it(
    sizes: dict[int, int], one: float, other: float
) -> None:
    histogram = np.zeros(BUCKETS, np.int64)
    for bucket, size in sizes.items():
        histogram[bucket] = size
    total = sum(sizes.values())

    def kept(stop: int) -> int:
        return sum(size for bucket, size in sizes.items() if bucket < stop)

    for share in (one, other):
        found = draw(histogram, share)
        assert found.weight == 1.0
        off = abs(kept(found.stop) - share * total)
        assert off <= min(abs(kept(b + 1) - share * total) for b in sizes) * (1 + 1e-9) + 1e-3
        assert off <= max(sizes.values()) / 2 * (1 + 1e-9) + 1e-3
    low, high = sorted((one, other))
    assert draw(histogram, low).stop <= draw(histogram, high).stop


@given(histograms, st.floats(1, 50))
def test_more_than_there_is_becomes_a_weight(sizes: dict[int, int], share: float) -> None:
    histogram = np.zeros(BUCKETS, np.int64)
    for bucket, size in sizes.items():
        histogram[bucket] = size
    found = draw(histogram, share)
    assert found.stop == BUCKETS
    assert found.weight == pytest.approx(share, abs=1e-6)
    assert draw(histogram, 1 - 1e-12) == (BUCKETS, 1.0)
    assert draw(histogram, 0.0).stop == 0
