"""Clusters of buckets against comparing all pairs, and the small pieces against plain Python."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_filters.dedup import links
from codeflow_filters.dedup.links import (
    Linked,
    UnionFind,
    jaccard,
    link_bucket,
    near_in_size,
    shared,
)

SETS = st.lists(st.frozensets(st.integers(0, 12), min_size=1), min_size=1, max_size=14)


def components(size: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The smallest number that each is connected with, by following links until none is new."""
    smallest = list(range(size))
    for _ in range(size):
        for one, other in pairs:
            smallest[one] = smallest[other] = min(smallest[one], smallest[other])
    return smallest


def link(sets: list[frozenset[int]], buckets: list[list[int]], threshold: float) -> UnionFind:
    arrays = [np.array(sorted(values), np.uint32) for values in sets]
    clusters = UnionFind(len(sets))
    for bucket in buckets:
        link_bucket(bucket, lambda k: len(arrays[k]), lambda k: arrays[k], clusters, threshold)
    return clusters


@pytest.mark.slow
@given(SETS, st.sampled_from([0.3, 0.5, 0.7, 1.0]), st.data())
@settings(max_examples=200, deadline=None)
def test_clusters_are_those_of_all_pairs_of_each_bucket(
    sets: list[frozenset[int]], threshold: float, data: st.DataObject
) -> None:
    everyone = st.lists(st.integers(0, len(sets) - 1), min_size=2, unique=True).map(sorted)
    buckets = data.draw(st.lists(everyone, max_size=4)) if len(sets) > 1 else []
    pairs = [
        (one, other)
        for bucket in buckets
        for one, other in combinations(bucket, 2)
        if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= threshold
    ]
    assert link(sets, buckets, threshold).roots().tolist() == components(len(sets), pairs)


def test_many_alike_cost_a_comparison_each_and_many_unlike_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(arrays: list[np.ndarray]) -> Linked:
        return link_bucket(
            range(len(arrays)), lambda k: 20, arrays.__getitem__, UnionFind(len(arrays)), 0.7
        )

    alike = [np.append(np.arange(19), 50 + k).astype(np.uint32) for k in range(60)]
    done = run(alike)
    assert (len(done.links), done.compared, done.cut_short) == (59, 59, 0)
    unlike = [np.arange(20 * k, 20 * k + 20).astype(np.uint32) for k in range(60)]
    done = run(unlike)
    assert (done.links, done.compared, done.cut_short) == ([], 60 * 59 // 2, 0)
    monkeypatch.setattr(links, "MOST_COMPARED", 10)
    done = run(unlike)
    assert (done.compared, done.cut_short) == (10 * 11 // 2 + 49 * 10, 49)


@given(st.frozensets(st.integers(0, 40)), st.frozensets(st.integers(0, 40)))
def test_jaccard(one: frozenset[int], other: frozenset[int]) -> None:
    arrays = [np.array(sorted(values), np.uint32) for values in (one, other)]
    expected = len(one & other) / len(one | other) if one | other else 1
    assert jaccard(*arrays) == expected


@given(st.lists(st.integers(0, 9), max_size=30))
def test_shared_keys_stand_together_in_order(values: list[int]) -> None:
    order, starts = shared(np.array(values, np.uint64))
    counts = Counter(values)
    assert order.tolist() == sorted(
        (k for k, value in enumerate(values) if counts[value] > 1), key=lambda k: (values[k], k)
    )
    runs = np.split(order, starts)[1:]
    assert sorted(len(run) for run in runs) == sorted(c for c in counts.values() if c > 1)
    assert all(len({values[k] for k in run}) == 1 for run in runs)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=20))
def test_a_size_rules_out_what_it_must_and_nothing_else(entries: list[tuple[int, int]]) -> None:
    keys = np.array([key for key, _ in entries], np.uint64)
    sizes = np.array([size for _, size in entries], np.int64)
    chosen = near_in_size(keys, sizes, 0.7).tolist()
    for k, (key, size) in enumerate(entries):
        others = [s for j, (other, s) in enumerate(entries) if other == key and j != k]
        assert chosen[k] == any(min(s, size) / max(s, size) >= 0.7 for s in others)
