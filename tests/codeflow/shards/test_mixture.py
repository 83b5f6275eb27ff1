"""Mixtures: shares, epochs, curricula, ranks, and streams that go on where they were left."""

from __future__ import annotations

import itertools
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.errors import DataError, UsageError
from codeflow.shards.mixture import Curriculum, Mixture, Pick, Position, plan, shuffled
from codeflow.shards.reader import TokenShards
from token_shards import write_folder
from written_rows import DESCRIPTION, write


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[TokenShards]:
    folder = tmp_path_factory.mktemp("mixture")
    return [
        TokenShards(write(folder / name, count, start=start))
        for name, count, start in (("a", 7, 0), ("b", 20, 1000), ("c", 3, 2000))
    ]


@given(st.integers(1, 300), st.text(max_size=5))
@settings(max_examples=40, deadline=None)
def test_shuffled_is_a_permutation(size: int, key: str) -> None:
    assert sorted(shuffled(i, size, key) for i in range(size)) == list(range(size))


def test_epochs_and_seeds_differ() -> None:
    orders = [[shuffled(i, 50, key) for i in range(50)] for key in ("0/a/0", "0/a/1", "1/a/0")]
    assert len({tuple(order) for order in orders}) == 3
    assert all(order != list(range(50)) for order in orders)


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.lists(st.integers(1, 20), min_size=1)
)
@settings(max_examples=40, deadline=None)
def test_plan_keeps_shares_and_cuts_anywhere(shares: list[float], cuts: list[int]) -> None:
    start = Position((0,) * len(shares))
    whole, end = plan(start, shares, sum(cuts))
    position, pieces = start, []
    for cut in cuts:
        picked, position = plan(position, shares, cut)
        pieces += picked
    assert (pieces, position) == (whole, end)
    for share, taken in zip(shares, end.taken, strict=True):
        assert abs(taken - sum(cuts) * share / sum(shares)) <= len(shares)
    for source in range(len(shares)):
        assert [n for s, n in whole if s == source] == list(range(end.taken[source]))


def ids(mixture: Mixture, count: int, **options: object) -> list[int]:
    return [int(m.row.input_ids[0]) for m in islice(mixture.rows(**options), count)]  # type: ignore[arg-type]


def test_shares_hold_at_every_point_and_epochs_are_whole(sources: list[TokenShards]) -> None:
    mixture = Mixture(sources, [5, 3, 2], seed=3)
    rows = list(islice(mixture.rows(), 200))
    for count in range(1, 201):
        taken = np.bincount([m.source for m in rows[:count]], minlength=3)
        assert (abs(taken - np.array([0.5, 0.3, 0.2]) * count) <= 1).all()
    for source, shards in enumerate(sources):
        mine = [int(m.row.input_ids[0]) for m in rows if m.source == source]
        every = {int(r.input_ids[0]) for r in shards}
        epochs = [mine[k : k + len(every)] for k in range(0, len(mine), len(every))]
        for epoch in epochs[:-1]:
            assert set(epoch) == every
        assert len(epochs) < 3 or epochs[0] != epochs[1]


def test_a_resumed_stream_goes_on_as_an_uninterrupted_one(sources: list[TokenShards]) -> None:
    mixture = Mixture(sources, [5, 3, 2], seed=3)
    expected = ids(mixture, 120)
    assert expected == ids(Mixture(sources, [5, 3, 2], seed=3), 120)
    assert expected != ids(Mixture(sources, [5, 3, 2], seed=4), 120)
    for stop in (1, 7, 50):
        state = list(islice(mixture.rows(), stop))[-1].state
        state = json.loads(json.dumps(state))
        later = ids(Mixture(sources, [5, 3, 2], seed=3), 120 - stop, state=state)
        assert later == expected[stop:]


def test_ranks_share_one_stream_and_may_change_in_number(sources: list[TokenShards]) -> None:
    mixture = Mixture(sources, [1, 2, 1])
    expected = ids(mixture, 60)
    by_rank = [list(islice(mixture.rows(rank=r, ranks=3), 10)) for r in range(3)]
    for rank, rows in enumerate(by_rank):
        assert [int(m.row.input_ids[0]) for m in rows] == expected[rank:30:3]
        assert rows[-1].state == by_rank[0][-1].state
    state = by_rank[1][-1].state
    two = [ids(mixture, 15, state=state, rank=r, ranks=2) for r in range(2)]
    assert [two[k % 2][k // 2] for k in range(30)] == expected[30:]


def test_mixtures_that_cannot_be_are_refused(sources: list[TokenShards], tmp_path: Path) -> None:
    other = TokenShards(write(tmp_path / "o", 3, DESCRIPTION._replace(tokenizer="other")))
    with pytest.raises(DataError, match="tokenizer"):
        Mixture([sources[0], other], [1, 1])
    for weights in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(UsageError, match="weight"):
            Mixture(sources[:2], weights)
    state = Mixture(sources, [1, 1, 1]).start()
    with pytest.raises(DataError, match="position"):
        next(Mixture(sources, [1, 1, 2]).rows(state))


def difficulty(source: TokenShards, index: int) -> float:
    """Mean length of the stretches with weight, token by token."""
    stretches = "".join("x" if w > 0 else " " for w in source[index].token_weights).split()
    edges = source[index].token_weights
    cuts = sum(a > 0 and b > 0 and a != b for a, b in itertools.pairwise(edges))
    return sum(map(len, stretches)) / max(1, len(stretches) + cuts)


@pytest.mark.parametrize(("total", "phases"), [(24, 3), (160, 3), (36, 1), (68, 5)])
def test_a_curriculum_goes_from_easy_to_hard(tmp_path: Path, total: int, phases: int) -> None:
    folders = [
        write_folder(tmp_path, "a", rows=24, seed=0),
        write_folder(tmp_path, "b", rows=13, seed=1),
    ]
    both = [TokenShards(folder) for folder in folders]

    def order(number: int, rows: int, seed: int = 0) -> list[int]:
        mixture = Mixture(both, [2, 1], seed, Curriculum(phases, total))
        return [mixture.index(Pick(number, taken)) for taken in range(rows)]

    for number, (source, share) in enumerate(zip(both, (2 / 3, 1 / 3), strict=True)):
        mine = round(total * share)
        hard = [difficulty(source, i) for i in range(len(source))]
        taken = order(number, mine + 2)
        assert taken == order(number, mine + 2)
        parts = [
            [row for n, row in enumerate(taken[:mine]) if n * phases // mine == phase]
            for phase in range(phases)
        ]
        for easy, harder in itertools.pairwise(parts):
            assert max(hard[i] for i in easy) <= min(hard[i] for i in harder)
            assert not set(easy) & set(harder)
        for phase, part in enumerate(parts):
            size = (phase + 1) * len(source) // phases - phase * len(source) // phases
            assert len(set(part)) == min(len(part), size), "all of a part before any again"
        if phases == 1 and mine >= len(source):
            assert sorted(taken[: len(source)]) == list(range(len(source)))
            assert taken[: len(source)] != sorted(taken[: len(source)])
        assert order(number, mine, seed=1) != taken[:mine]


def test_a_curriculum_needs_rows(sources: list[TokenShards]) -> None:
    with pytest.raises(UsageError, match="c: 3 rows for 4 phases: give fewer"):
        Mixture(sources, [1, 1, 1], curriculum=Curriculum(phases=4, rows=100))


def test_a_state_is_of_one_order(sources: list[TokenShards]) -> None:
    state = Mixture(sources, [1, 1, 1], curriculum=Curriculum(2, 100)).start()
    for other in (None, Curriculum(3, 100), Curriculum(2, 99)):
        with pytest.raises(DataError, match="position"):
            next(Mixture(sources, [1, 1, 1], curriculum=other).rows(state))
