"""What a dataset holds, in numbers: one pass over the small columns of its triples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.contents import Shards


class Quantiles(NamedTuple):
    """Lowest, median, ninetieth percentile, highest."""

    low: float
    median: float
    p90: float
    high: float


class Statistics(NamedTuple):
    """What a dataset holds, in numbers. Counters are of triples."""

    triples: Counter[tuple[str, str]]  # by (split, kind)
    repos: Counter[tuple[str, str]]  # by (repo, kind)
    languages: Counter[str]
    licenses: Counter[str]
    authors: Counter[str]
    commits: dict[str, Quantiles]  # by kind: commits a triple spans
    files: dict[str, Quantiles]  # by kind: changed files
    lines: dict[str, Quantiles]  # by kind: added and deleted lines
    window: tuple[float, float] | None  # lowest and highest position
    window_by: str
    blobs: int
    content_bytes: int
    stored_bytes: int


_SUMMARY_COLUMNS = (
    "repo kind language license author_kind position window_by additions deletions commits files"
)


def count(triples: Mapping[str, Shards], blobs: Shards, stored_bytes: int) -> Statistics:
    """Reads the small columns of all triples, and the sizes of the blobs.

    Args:
        triples: by split.
        stored_bytes: the size of all published files.
    """
    counters: dict[str, Counter[Any]] = {
        name: Counter() for name in ("triples", "repos", "language", "license", "author_kind")
    }
    sizes: dict[str, dict[str, list[int]]] = {"commits": {}, "files": {}, "lines": {}}
    low, high, window_by = 1.0, 0.0, set()
    for split, shards in triples.items():
        for group in shards.groups:
            table = shards.read(group, _SUMMARY_COLUMNS.split())
            kinds = table.column("kind").to_pylist()
            counters["triples"].update((split, kind) for kind in kinds)
            counters["repos"].update(zip(table.column("repo").to_pylist(), kinds, strict=True))
            for name in ("language", "license", "author_kind"):
                counters[name].update(value or "unknown" for value in table[name].to_pylist())
            lines = pc.add(table.column("additions"), table.column("deletions"))
            for name, column in (
                ("commits", pc.list_value_length(table.column("commits"))),
                ("files", pc.list_value_length(table.column("files"))),
                ("lines", lines),
            ):
                for kind, value in zip(kinds, column.to_pylist(), strict=True):
                    sizes[name].setdefault(kind, []).append(value)
            if table.num_rows:
                low = min(low, pc.min(table.column("position")).as_py())
                high = max(high, pc.max(table.column("position")).as_py())
                window_by.update(table.column("window_by").to_pylist())
    content_bytes = 0
    for group in blobs.groups:
        column = blobs.read(group, ["size_bytes"]).column("size_bytes")
        content_bytes += pc.sum(column.cast(pa.int64())).as_py() or 0
    by_kind = {
        name: {kind: _quantiles(values) for kind, values in kinds.items()}
        for name, kinds in sizes.items()
    }
    return Statistics(
        counters["triples"],
        counters["repos"],
        counters["language"],
        counters["license"],
        counters["author_kind"],
        by_kind["commits"],
        by_kind["files"],
        by_kind["lines"],
        (low, high) if counters["triples"] else None,
        ", ".join(sorted(window_by)),
        sum(group.rows for group in blobs.groups),
        content_bytes,
        stored_bytes,
    )


def _quantiles(values: list[int]) -> Quantiles:
    return Quantiles(*(float(q) for q in np.quantile(values, [0, 0.5, 0.9, 1])))
