"""The span miner on planted histories: what it finds, what it obeys, what cannot move it."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from codeflow.contracts import History
from codeflow_miners.kinds.span.miner import SpanMiner
from spans_lures import LURES, lure, strew, swallowed
from spans_planted import Edit, Planted, Step, boundary_f1, history, planted

SEEDS = range(5)


@pytest.fixture(scope="module")
def made() -> list[Planted]:
    return [planted(seed) for seed in SEEDS]


def spans(miner: SpanMiner, given: History) -> list[tuple[int, int]]:
    return [(pair.old, pair.new) for pair in miner.pairs(given)]


def mean_f1(miner: SpanMiner, made: list[Planted]) -> float:
    return float(np.mean([boundary_f1(spans(miner, p.history), p.features) for p in made]))


def windows(given: History, length: int) -> list[tuple[int, int]]:
    return [(i, i + length) for i in range(0, len(given.commits) - length, length)]


def test_planted_features_are_found_and_windows_do_not_find_them(made: list[Planted]) -> None:
    assert mean_f1(SpanMiner(), made) >= 0.8
    for length in range(2, 9):
        fixed = [boundary_f1(windows(p.history, length), p.features) for p in made]
        assert np.mean(fixed) < 0.6


def test_without_contrast_it_is_worse(made: list[Planted]) -> None:
    assert mean_f1(SpanMiner(contrast=0.0), made) < mean_f1(SpanMiner(), made) - 0.02


def lines(word: str, number: int) -> tuple[str, ...]:
    return tuple(f"{word}_{k} = {word}_value(other_{k})" for k in range(number))


def work(word: str, count: int = 2, size: int = 6) -> list[Step]:
    """Steps on one subject, in two files."""
    paths = [f"src/{word}.py", f"tests/test_{word}.py"]
    return [
        Step(f"{word} part {k}", 60, (Edit(paths[k % 2], (), lines(f"{word}", size + k)),))
        for k in range(count)
    ]


def alone(word: str) -> Step:
    return Step(f"{word} chore", 90_000, (Edit(f"src/{word}.py", (), lines(word, 3)),))


BETWEEN = [alone(f"lonely{k}") for k in range(6)]


def test_work_that_is_undone_inside_is_not_a_span() -> None:
    added = lines("attempt", 10)
    attempt = [
        Step("attempt it", 60, (Edit("src/attempt.py", (), added),)),
        Step('Revert "attempt it"', 60, (Edit("src/attempt.py", added, ()),)),
    ]
    given = history([*BETWEEN[:3], *attempt, *BETWEEN[3:]])
    assert spans(SpanMiner(), given) == []


@pytest.mark.parametrize("kind", LURES)
def test_a_pair_of_lures_holds_nothing_together(kind: str) -> None:
    made = lure(kind, 7)
    for between in range(4):
        first, second = made.steps
        given = history([*BETWEEN[:3], first, *BETWEEN[3 : 3 + between], second, BETWEEN[5]])
        if made.author_kind == "bot":
            by = {4, 5 + between}
            commits = [
                commit._replace(author_kind="bot") if k in by else commit
                for k, commit in enumerate(given.commits)
            ]
            given = dataclasses.replace(given, commits=commits)
        assert spans(SpanMiner(), given) == []


def test_lures_strewn_between_features_are_not_swallowed(made: list[Planted]) -> None:
    for seed, plant in enumerate(made):
        strewn = strew(plant.history, plant.features, seed, every=8)
        found = spans(SpanMiner(), strewn.history)
        moved = [(strewn.place[i], strewn.place[j - 1] + 1) for i, j in plant.features]
        assert swallowed(found, strewn) == []
        assert boundary_f1(found, moved) >= 0.8


def test_a_revert_without_words_is_known_by_its_lines() -> None:
    added = lines("attempt", 10)
    first = Step("attempt part", 60, (Edit("src/attempt.py", (), added),))
    back = Step("attempt simpler", 60, (Edit("src/attempt.py", added, ()),))
    middle = work("attempt", 1)
    assert spans(SpanMiner(), history([*BETWEEN[:3], first, *middle, back, *BETWEEN[3:]])) == []


def test_work_that_is_gone_at_the_end_is_not_a_span() -> None:
    first, second = lines("attempt", 10), lines("attempt_more", 10)
    steps = [
        Step("attempt it", 60, (Edit("src/attempt.py", (), first),)),
        Step("attempt more", 60, (Edit("src/attempt.py", (), second),)),
        Step("attempt nothing", 60, (Edit("src/attempt.py", first + second, ()),)),
    ]
    given = history([*BETWEEN[:3], *steps, *BETWEEN[3:]])
    assert (3, 6) not in spans(SpanMiner(), given)
    assert spans(SpanMiner(retention=0.0), given) == [(3, 6)], "the wrong variant takes it"


def test_one_strong_pair_does_not_carry_what_lies_between() -> None:
    first, second = work("engine", 2)
    given = history([*BETWEEN[:2], first, *BETWEEN[2:4], second, *BETWEEN[4:]])
    assert spans(SpanMiner(), given) == []


def test_two_pieces_side_by_side_are_two_spans() -> None:
    given = history([*BETWEEN[:2], *work("engine"), *work("wheel"), *BETWEEN[2:]])
    assert spans(SpanMiner(), given) == [(2, 4), (4, 6)]


def test_unrelated_steps_give_nothing_and_work_is_taken_whole() -> None:
    assert spans(SpanMiner(), history(BETWEEN)) == []
    given = history([*BETWEEN[:3], *work("engine", 4), *BETWEEN[3:]])
    (pair,) = SpanMiner().pairs(given)
    assert (pair.old, pair.new) == (3, 7)
    assert pair.scores.keys() == {"score", "contrast", "tie", "joint", "retention"}
    assert all(type(value) is float and 0 <= value <= 1 for value in pair.scores.values())


@pytest.mark.parametrize(
    ("limit", "below"),
    [
        ("max_commits", {"max_commits": 3}),
        ("max_files", {"max_files": 1}),
        ("max_lines", {"max_lines": 29}),  # the four steps add 6 + 7 + 8 + 9 lines
        ("max_patch_bytes", {"max_patch_bytes": 500}),
    ],
)
def test_limits(limit: str, below: dict[str, int]) -> None:
    given = history([*BETWEEN[:3], *work("engine", 4), *BETWEEN[3:]])
    at = {"max_commits": 4, "max_files": 2, "max_lines": 30, "max_patch_bytes": 5_000}
    assert spans(SpanMiner(**{limit: at[limit]}), given) == [(3, 7)]
    assert (3, 7) not in spans(SpanMiner(**below), given)


def test_starts_are_obeyed_and_ends_may_lie_past_them() -> None:
    steps = [*BETWEEN[:3], *work("engine", 3), BETWEEN[3], *work("wheel", 3), BETWEEN[4]]
    assert spans(SpanMiner(), history(steps)) == [(3, 6), (7, 10)]
    assert spans(SpanMiner(), history(steps, starts=range(8))) == [(3, 6), (7, 10)]
    assert spans(SpanMiner(), history(steps, starts=[0, 1, 2, 3])) == [(3, 6)]
    for old, _ in spans(SpanMiner(tau=0.1), history(steps, starts=[1, 4, 8])):
        assert old in (1, 4, 8)
    assert spans(SpanMiner(), history(steps, starts=[])) == []


def test_spans_of_one_pass_do_not_overlap_and_density_only_adds(made: list[Planted]) -> None:
    given = made[0].history
    once, twice = spans(SpanMiner(), given), spans(SpanMiner(density=2), given)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(once))
    assert set(once) < set(twice)
    assert len(set(twice)) == len(twice)


def test_order_and_grouping_of_rows_do_not_matter(made: list[Planted]) -> None:
    given = made[0].history
    assert given.features is not None
    want = list(SpanMiner().pairs(given))
    rows = list(range(given.features.num_rows))
    for seed, size in ((1, 1), (2, 7), (3, 64)):
        random.Random(seed).shuffle(rows)
        parts = [given.features.take(rows[k : k + size]) for k in range(0, len(rows), size)]
        mixed = dataclasses.replace(given, features=pa.concat_tables(parts))
        assert list(SpanMiner().pairs(mixed)) == want


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_and_empty_histories(count: int) -> None:
    steps = [Step("", 0, ())] * count
    assert spans(SpanMiner(), history(steps)) == []


def test_dates_may_run_backwards() -> None:
    steps = [*BETWEEN[:3], *work("engine", 3), *BETWEEN[3:]]
    steps[4] = steps[4]._replace(pause_s=-500_000)
    assert spans(SpanMiner(), history(steps)) == [(3, 6)]
