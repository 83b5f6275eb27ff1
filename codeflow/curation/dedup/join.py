"""The units of the dedup stage that find links: each joins a range of keys of all parts.

Exact duplicates are what shares a hash of 128 bits. Near ones share a band and are compared; both
sets are read where they lie, so memory is the range of keys and some megabytes of sets, and what is
written grows with duplicates alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from codeflow.contracts import Sink
from codeflow.curation.dedup.tables import (
    BAND_KEYS,
    CONTENTS,
    EXACT_KEYS,
    LINKS,
    NEAR,
    PATCH,
    KeyRange,
    ShingleReader,
    batch,
    read_columns,
    read_range,
)
from codeflow_filters.dedup.lines import Ints
from codeflow_filters.dedup.links import UnionFind, link_bucket, near_in_size, shared
from codeflow_filters.dedup.shingles import Words

_READ_BYTES = 32 << 20  # sets that are read ahead; half of what the reader holds


class ExactArguments(NamedTuple):
    """A range of keys and the `exact` table of every part."""

    keys: KeyRange
    tables: tuple[str, ...]


class NearArguments(NamedTuple):
    """A range of keys, the `bands` and `rows` tables of every part, and the exact links."""

    keys: KeyRange
    tables: tuple[str, ...]
    rows: tuple[str, ...]
    links: tuple[str, ...]
    threshold: float


def link_exact(arguments: ExactArguments, sink: Sink) -> dict[str, Any]:
    """Links the first triple with a hash to every other that has it."""
    found, places = read_range(arguments.tables, arguments.keys, EXACT_KEYS)
    order, _ = shared(found["key"])
    # of those that share the first half of the hash, the ones that share all of it
    order = order[np.lexsort((places[order], found["check"][order], found["key"][order]))]
    key, check = found["key"][order], found["check"][order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (key[1:] != key[:-1]) | (check[1:] != check[:-1])
    first = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]] if len(order) else order
    others = order[~starts]
    by = found["by"][others]
    with sink.table("links", LINKS) as writer:
        writer.write(batch(LINKS, places[first[~starts]], places[others], by))
    return {
        "patch": int(np.count_nonzero(by == PATCH)),
        "contents": int(np.count_nonzero(by == CONTENTS)),
    }


def link_near(arguments: NearArguments, sink: Sink) -> dict[str, Any]:
    """Links what shares a band and is similar enough."""
    found, places = read_range(arguments.tables, arguments.keys, BAND_KEYS)
    order, _ = shared(found["key"])
    order = order[near_in_size(found["key"][order], found["size"][order], arguments.threshold)]
    keys, sizes, at = found["key"][order], found["size"][order], places[order]
    del found, places
    members, first, number = np.unique(at, return_index=True, return_inverse=True)
    size_of = sizes[first].tolist()
    clusters = UnionFind(len(members))
    _enter(arguments.links, members, clusters)

    reader = ShingleReader(arguments.rows)
    links: list[tuple[int, int]] = []
    compared = cut_short = 0
    for buckets in _read_together(_buckets(keys, number), size_of, clusters):
        reader.read(members[sorted({one for bucket in buckets for one in bucket})])
        for bucket in buckets:
            linked = link_bucket(
                bucket,
                size_of.__getitem__,
                lambda one: reader.of(int(members[one])),
                clusters,
                arguments.threshold,
            )
            links += linked.links
            compared += linked.compared
            cut_short += linked.cut_short
    ends = np.array(links, np.int64).reshape(-1, 2)
    with sink.table("links", LINKS) as writer:
        by = np.full(len(ends), NEAR)
        writer.write(batch(LINKS, members[ends[:, 0]], members[ends[:, 1]], by))
    return {"compared": compared, "cut_short": cut_short}


def _enter(links: tuple[str, ...], members: Words, clusters: UnionFind) -> None:
    """Connects the members that exact links connect: they need not be compared."""
    columns = read_columns(links, LINKS)
    one = np.searchsorted(members, columns["one"])
    other = np.searchsorted(members, columns["other"])
    inside = np.isin(columns["one"], members) & np.isin(columns["other"], members)
    for a, b in zip(one[inside].tolist(), other[inside].tolist(), strict=True):
        clusters.union(a, b)


def _buckets(keys: Words, number: Ints) -> Iterator[list[int]]:
    """The members of each run of equal keys, two or more."""
    bounds = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    starts, ends = [0, *bounds.tolist()], [*bounds.tolist(), len(keys)]
    for start, end in zip(starts, ends, strict=True):
        if end - start > 1:
            yield number[start:end].tolist()


def _read_together(
    buckets: Iterator[list[int]], size_of: list[int], clusters: UnionFind
) -> Iterator[list[list[int]]]:
    """Buckets that have something to compare, as many at a time as can be read ahead."""
    together: list[list[int]] = []
    size = 0
    for bucket in buckets:
        root = clusters.find(bucket[0])
        if all(clusters.find(one) == root for one in bucket):
            continue
        together.append(bucket)
        size += 4 * sum(size_of[one] for one in bucket)
        if size >= _READ_BYTES:
            yield together
            together, size = [], 0
    if together:
        yield together
