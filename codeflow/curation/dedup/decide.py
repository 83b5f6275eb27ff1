"""The units of the dedup stage that decide: clusters, what is kept of each, a row for every triple.

One unit makes the clusters, because links connect anything with anything; its memory grows with the
triples that have a duplicate. The rest is cut by triples and by parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeflow.contracts import Sink
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.dedup.tables import (
    HALF,
    LINKS,
    MEMBERS,
    NEAR,
    SIMILARITIES,
    ShingleReader,
    batch,
    columns_of,
    joined,
    mapped,
    places_of,
    read_columns,
    split,
)
from codeflow_filters.dedup.lines import Bools, Ints
from codeflow_filters.dedup.links import UnionFind, jaccard
from codeflow_filters.dedup.shingles import Words

_READ_TRIPLES = 4096
_REASONS = {
    "exact": "makes the same change as a triple that is kept",
    "form": "makes nearly the same change as a triple of a richer kind that is kept",
    "near": "makes nearly the same change as a triple that is kept",
}


class ClusterArguments(NamedTuple):
    """All tables of links, and the `rows` table of every part."""

    links: tuple[str, ...]
    rows: tuple[str, ...]


class CompareArguments(NamedTuple):
    """Some rows of the members, and the `rows` table of every part."""

    members: str
    start: int
    stop: int
    rows: tuple[str, ...]


class DecideArguments(NamedTuple):
    """One part, the stages before, the members, and their similarities in order."""

    folder: str
    stage: str
    part: Part
    number: int
    earlier: tuple[str, ...]
    members: str
    similarities: tuple[str, ...]


def make_clusters(arguments: ClusterArguments, sink: Sink) -> dict[str, Any]:
    """Connects what is linked and chooses the best of each cluster: the kind that is preferred,
    then the highest score, then the lowest id.

    A cluster is called by the lowest id in it, so its name does not change with scores.
    """
    links = read_columns(arguments.links, LINKS)
    members = np.unique(np.concatenate((links["one"], links["other"])))
    ends = np.searchsorted(members, links["one"]), np.searchsorted(members, links["other"])
    exact = links["by"] != NEAR
    same = _roots(len(members), ends, exact)
    cluster = _roots(len(members), ends, np.ones(len(exact), np.bool_))

    high, low, rank, score = _describe(members, arguments.rows)
    order = np.lexsort((low, high, -score, rank, cluster))
    best = _first_of_each(cluster, order)
    least = _first_of_each(cluster, np.lexsort((low, high, cluster)))
    with sink.table("members", MEMBERS) as writer:
        writer.write(
            batch(
                MEMBERS,
                members,
                members[best],
                high[best],
                low[best],
                high[least],
                low[least],
                same == same[best],
                rank != rank[best],
            )
        )
    sizes = np.unique(np.unique(cluster, return_counts=True)[1], return_counts=True)
    counts = {str(size): count for size, count in zip(*(s.tolist() for s in sizes), strict=True)}
    near = np.unique(np.column_stack(ends)[~exact], axis=0)  # found in several partitions
    return {"members": len(members), "sizes": counts, "near": len(near)}


def compare(arguments: CompareArguments, sink: Sink) -> dict[str, Any]:
    """The similarity of near-duplicates to the one that is kept."""
    with mapped(arguments.members) as table:
        found = columns_of(table, slice(arguments.start, arguments.stop))
    near = ~found["exact"]
    places, best = found["place"][near], found["best"][near]
    reader = ShingleReader(arguments.rows)
    similarities: list[float] = []
    for start in range(0, len(places), _READ_TRIPLES):
        some = slice(start, start + _READ_TRIPLES)
        reader.read(np.unique(np.concatenate((places[some], best[some]))))
        for one, other in zip(places[some].tolist(), best[some].tolist(), strict=True):
            similarities.append(jaccard(reader.of(one), reader.of(other)))
    with sink.table("similarities", SIMILARITIES) as writer:
        writer.write(batch(SIMILARITIES, places, similarities))
    return {}


def decide(arguments: DecideArguments, sink: Sink) -> dict[str, Any]:
    """Writes the decisions of a part; the value counts them by rule."""
    folder, part = Path(arguments.folder), arguments.part
    ids = [id for _, t in parts.read(folder, part, ["id"]) for id in t.column("id").to_pylist()]
    before = decisions.kept(folder, arguments.earlier, part.name)
    kept = np.ones(len(ids), np.bool_) if before is None else before.copy()
    reached = int(np.count_nonzero(kept))
    rules: list[str | None] = [None] * len(ids)
    details: list[str | None] = [None] * len(ids)
    clusters: list[str | None] = [None] * len(ids)

    members = _of_part((arguments.members,), arguments.number, MEMBERS)
    similar = _of_part(arguments.similarities, arguments.number, SIMILARITIES)
    similarity = dict(zip(*(similar[name].tolist() for name in SIMILARITIES.names), strict=True))
    for place, best, best_high, best_low, high, low, exact, form in zip(
        *(members[name].tolist() for name in MEMBERS.names), strict=True
    ):
        _, row = split(place)
        clusters[row] = _id(high, low)
        if place != best:
            kept[row] = False
            rules[row] = "form" if form else "exact" if exact else "near"
            details[row] = _id(best_high, best_low)
            if not exact:
                details[row] = f"{details[row]} similarity {similarity[place]:.3f}"
    decisions.write(
        folder,
        arguments.stage,
        part.name,
        {
            "id": ids,
            "kept": kept,
            "rule": rules,
            "reason": [None if rule is None else _REASONS[rule] for rule in rules],
            "detail": details,
            "cluster": clusters,
        },
    )
    dropped = {rule: rules.count(rule) for rule in _REASONS}
    return {"triples": reached, "kept": int(np.count_nonzero(kept)), **dropped}


def _roots(size: int, ends: tuple[Ints, Ints], chosen: Bools) -> Ints:
    """The smallest member that each is connected with by the chosen links."""
    clusters = UnionFind(size)
    for one, other in zip(*(end[chosen].tolist() for end in ends), strict=True):
        clusters.union(one, other)
    return clusters.roots()


def _describe(
    places: Words, rows: Sequence[str]
) -> tuple[Words, Words, npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Both halves of the ids, ranks of the kinds, and scores, of ascending places."""
    high, low = np.empty(len(places), np.uint64), np.empty(len(places), np.uint64)
    rank = np.empty(len(places), np.uint8)
    score = np.empty(len(places), np.float32)
    part_of, starts = np.unique(places >> HALF, return_index=True)
    bounds = pairwise([*starts.tolist(), len(places)])
    for part, (start, end) in zip(part_of.tolist(), bounds, strict=True):
        at = (places[start:end] - places_of(part, np.zeros(1))).astype(np.int64)
        with mapped(rows[part]) as table:
            for name, target in (("id_high", high), ("id_low", low), ("rank", rank)):
                target[start:end] = table.column(name).to_numpy()[at]
            score[start:end] = table.column("score").to_numpy()[at]
    return high, low, rank, score


def _first_of_each(cluster: Ints, order: Ints) -> Ints:
    """For each member, the one of its cluster that comes first in an order by cluster."""
    names, first = np.unique(cluster[order], return_index=True)
    return order[first][np.searchsorted(names, cluster)]


def _of_part(paths: Sequence[str], number: int, schema: pa.Schema) -> dict[str, npt.NDArray[Any]]:
    """The rows of a part in tables that are sorted by place, one after the other."""
    found = []
    for path in paths:
        with mapped(path) as table:
            places = table.column("place").to_numpy()
            bounds = places_of(number, np.zeros(1)), places_of(number + 1, np.zeros(1))
            low, high = (int(np.searchsorted(places, bound)[0]) for bound in bounds)
            found.append(columns_of(table, slice(low, high)))
    return joined(found, schema)


def _id(high: int, low: int) -> str:
    return f"{high:016x}{low:016x}"
