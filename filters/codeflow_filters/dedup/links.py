"""From what collides to clusters: exact Jaccard, buckets of a band, union-find.

A bucket is what shares the key of a band. Its pairs are candidates; those of enough similarity are
links, and clusters are what links connect. Two members that are connected already need no link, so
a bucket of m near-duplicates costs m - 1 comparisons, not m^2 / 2, and the clusters are those of
comparing all pairs. The dear case is a bucket of many that differ: what one member is compared with
in one bucket is bounded by `MOST_COMPARED`, and what that cut short is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from codeflow_filters.dedup.lines import Bools, Ints
from codeflow_filters.dedup.shingles import Hashes, Words

MOST_COMPARED = 1000


def jaccard(one: Hashes, other: Hashes) -> float:
    """The share of two sorted sets that is in both; 1 for two empty ones."""
    if len(one) > len(other):
        one, other = other, one
    if not len(one):
        return 1.0 if not len(other) else 0.0
    places = np.searchsorted(other, one)
    places[places == len(other)] = 0
    common = int(np.count_nonzero(other[places] == one))
    return common / (len(one) + len(other) - common)


class UnionFind:
    """Clusters of the numbers 0 to n - 1; a cluster's root is its smallest number."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, one: int) -> int:
        """The root of a number's cluster."""
        parent = self._parent
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    def union(self, one: int, other: int) -> None:
        """Makes two clusters one."""
        one, other = sorted((self.find(one), self.find(other)))
        self._parent[other] = one

    def roots(self) -> Ints:
        """(n,) the root of every number."""
        return np.array([self.find(k) for k in range(len(self._parent))], np.int64)


class Linked(NamedTuple):
    """What comparing a bucket gave."""

    links: list[tuple[int, int]]
    compared: int
    cut_short: int  # members that `MOST_COMPARED` kept from some comparison


def link_bucket(
    bucket: Sequence[int],
    size_of: Callable[[int], int],
    set_of: Callable[[int], Hashes],
    clusters: UnionFind,
    threshold: float,
) -> Linked:
    """Connects the members of a bucket whose similarity is at least the threshold.

    Args:
        bucket: numbers of the sets, in an order that does not depend on chance.
        size_of: the size of a set; pairs that differ too much in it are not compared.
        clusters: what is connected already; links are entered.
    """
    links: list[tuple[int, int]] = []
    compared = cut_short = 0
    groups: list[list[int]] = []  # the members so far, by cluster
    for one in bucket:
        joined, apart, left, cut = [one], [], MOST_COMPARED, False
        for group in groups:
            together = clusters.find(group[0]) == clusters.find(one)
            for other in () if together else group:
                small, large = sorted((size_of(one), size_of(other)))
                if small / large < threshold:  # more than this Jaccard cannot be
                    continue
                if left == 0:
                    cut = True
                    break
                left -= 1
                compared += 1
                if jaccard(set_of(one), set_of(other)) >= threshold:
                    links.append((other, one))
                    clusters.union(other, one)
                    together = True
                    break
            if together:
                joined = group + joined
            else:
                apart.append(group)
        groups = [*apart, joined]
        cut_short += cut
    return Linked(links, compared, cut_short)


def shared(keys: Words) -> tuple[Ints, Ints]:
    """Which of some keys occur more than once.

    Returns:
        order: indices of those keys, equal ones together and in their own order.
        starts: where in `order` each run of equal keys begins.
    """
    order = np.argsort(keys, kind="stable")
    repeats = keys[order[1:]] == keys[order[:-1]]
    before = np.zeros(len(keys), np.bool_)  # the key before is the same
    before[1:] = repeats
    chosen = before.copy()
    chosen[:-1] |= repeats
    return order[chosen], np.flatnonzero(~before[chosen])


def near_in_size(keys: Words, sizes: Ints, threshold: float) -> Bools:
    """Which entries have another of the same key whose size does not rule the threshold out."""
    order = np.lexsort((sizes, keys))
    key, size = keys[order], sizes[order]
    close = (key[1:] == key[:-1]) & (size[:-1] / size[1:] >= threshold)
    chosen = np.zeros(len(keys), np.bool_)
    chosen[order[1:]] = close
    chosen[order[:-1]] |= close
    return chosen
