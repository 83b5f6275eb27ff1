"""The dedup stage: of changes that are the same, or nearly, one is kept.

    scan         a unit a part           triple → hashes, band keys, set of shingles
    exact, near  a unit a range of keys  what collides, near ones compared → links
    clusters     one unit                links → clusters, and the best triple of each
    compare      a unit some members     similarity of what goes to what stays
    decide       a unit a part           decisions/dedup/part-NNNNN.parquet

Kinds that are preferred in some order are compared with each other: a merge, its branch, and a span
that is mostly one of its commits are one cluster, of which the richest form stays. Others are
compared within a kind; a group of kinds is part of every hash. The driver sees counts and file
names. What is read again and again is sets of duplicates, so time grows with triples once, in the
scan, and otherwise with duplicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from codeflow.contracts import Figures, Flow, UnitResult
from codeflow.curation.context import StageContext
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.dedup.decide import (
    ClusterArguments,
    CompareArguments,
    DecideArguments,
    compare,
    decide,
    make_clusters,
)
from codeflow.curation.dedup.join import ExactArguments, NearArguments, link_exact, link_near
from codeflow.curation.dedup.scan import ScanArguments, scan
from codeflow.curation.dedup.tables import partition
from codeflow_filters.dedup.curve import curve

_COMPARED_MEMBERS = 1 << 15


def flow(context: StageContext, config: DedupConfig) -> Flow[Figures]:
    """Drops duplicates. The figures say what was dropped by which rule, and what it took.

    `triples`, `kept`, `exact`, `form` and `near` (dropped) count triples; `short` those of too few
    tokens to compare; `clusters` counts by size; `links` by what made them; `compared` pairs of
    sets;
    `cut_short` what `MOST_COMPARED` left out; `curve` is that of the bands.
    """
    folder = str(context.folder)
    scanned = yield [
        context.unit(
            f"scan-{number:05d}", scan, ScanArguments(folder, part, context.earlier, config)
        )
        for number, part in enumerate(context.parts)
    ]
    counts = _sum(scanned)
    rows = _tables(scanned, "rows")
    keys = _tables(scanned, "exact")
    joined_exactly = yield [
        context.unit(f"exact-{number:05d}", link_exact, ExactArguments(some, keys))
        for number, some in enumerate(partition(counts["exact_keys"]))
    ]
    links = _tables(joined_exactly, "links")
    keys = _tables(scanned, "bands")
    joined_nearly = yield [
        context.unit(
            f"near-{number:05d}",
            link_near,
            NearArguments(some, keys, rows, links, config.threshold),
        )
        for number, some in enumerate(partition(counts["band_keys"]))
    ]
    links += _tables(joined_nearly, "links")
    [clusters] = yield [context.unit("clusters", make_clusters, ClusterArguments(links, rows))]
    members = clusters.tables["members"]
    compared = yield [
        context.unit(
            f"compare-{start:09d}",
            compare,
            CompareArguments(members, start, start + _COMPARED_MEMBERS, rows),
        )
        for start in range(0, clusters.value["members"], _COMPARED_MEMBERS)
    ]
    similarities = _tables(compared, "similarities")
    decided = yield [
        context.unit(
            f"decide-{number:05d}",
            decide,
            DecideArguments(
                folder, context.stage, part, number, context.earlier, members, similarities
            ),
        )
        for number, part in enumerate(context.parts)
    ]
    exactly, nearly, after = _sum(joined_exactly), _sum(joined_nearly), _sum(decided)
    return {
        **{name: after[name] for name in ("triples", "kept", "exact", "form", "near")},
        "short": counts["short"],
        "clusters": clusters.value["sizes"],
        "links": {
            "patch": exactly["patch"],
            "contents": exactly["contents"],
            "near": clusters.value["near"],
        },
        "compared": nearly["compared"],
        "cut_short": nearly["cut_short"],
        "curve": curve(config.bands, config.rows) if config.near else [],
    }


def _tables(results: Sequence[UnitResult], name: str) -> tuple[str, ...]:
    return tuple(result.tables[name] for result in results)


def _sum(results: Sequence[UnitResult]) -> Counter[str]:
    """The values of units, added up by name."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.value)
    return total
