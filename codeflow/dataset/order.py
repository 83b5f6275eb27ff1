"""Triples of a dataset, repository by repository and by position, a split at a time.

Triples are stored by id, which is no order at all, while contents are stored by repository and
path. Read in stored order, every triple would decode other row groups; read repository by
repository, neighbours share nearly all of them. So the triples are sorted once, outside of
memory: small columns decide the order, then the rows go to files of 256 MB of patches, each of
which is sorted by itself. Costs one more copy of `triples` on disk while it lasts.

Where a dataset has no validation split, the latest part of every repository is held out: the
last `share` of its positions. What begins before that part and ends within it belongs to neither
split, because its patch is a preview of the held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow.dataset.reader import Dataset
from codeflow.errors import UsageError
from codeflow.records import TRIPLES
from codeflow.shards.writer import SPLITS
from codeflow.triple import Triple

_BUCKET_BYTES = 256 << 20
_ROWS_AT_ONCE = 64
_LEFT_OUT = -1
_KEYS = ["repo", "position", "id", "old_committed_at", "committed_at"]


class OrderedTriples:
    """The triples of each split in order, on disk in `folder`.

    Attributes:
        sizes: triples by split, and `straddling` for those that are in neither.
    """

    def __init__(self, dataset: Dataset, share: float, folder: Path) -> None:
        """Sorts them.

        Args:
            share: of every repository's triples to hold out, where no validation is published.

        Raises:
            UsageError: a share outside [0, 1), or one that holds nothing out.
        """
        if not 0 <= share < 1:
            raise UsageError(f"validation {share}: give a share from 0 up to but without 1")
        self._dataset = dataset
        self._folder = folder
        keys = _read_keys(dataset)
        published = len(dataset.triple_shards["validation"].groups) > 0
        split = keys.column("split").to_numpy()
        order = pc.sort_indices(
            keys, [("repo", "ascending"), ("position", "ascending"), ("id", "ascending")]
        ).to_numpy()
        if not published:
            split = _hold_out(keys.take(pa.array(order)), share)[np.argsort(order)]
            if share and not (split == 1).any():
                raise UsageError(
                    f"validation {share}: holds nothing out of {len(split)} triples; give a larger "
                    "share, or 0 to train without validation"
                )
        self.sizes = {name: int((split == k).sum()) for k, name in enumerate(SPLITS)}
        self.sizes["straddling"] = int((split == _LEFT_OUT).sum())
        bytes_before = np.empty(len(order), np.int64)
        bytes_before[order] = np.cumsum(keys.column("bytes").to_numpy()[order])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        self._buckets = self._spill(split, bytes_before // _BUCKET_BYTES, rank)

    def _spill(self, split: Any, bucket: Any, rank: Any) -> dict[str, list[Path]]:
        self._folder.mkdir(parents=True, exist_ok=True)
        schema = TRIPLES.append(pa.field("rank", pa.int64()))
        writers: dict[Path, pq.ParquetWriter] = {}
        names: dict[str, list[Path]] = {name: [] for name in SPLITS}
        with ExitStack() as stack:
            start = 0
            for shards in self._dataset.triple_shards.values():
                for group in shards.groups:
                    stop = start + group.rows
                    table = shards.read(group).cast(TRIPLES)
                    table = table.append_column("rank", pa.array(rank[start:stop]))
                    places = np.stack([split[start:stop], bucket[start:stop]], axis=1)
                    for which, number in np.unique(places, axis=0).tolist():
                        if which == _LEFT_OUT:
                            continue
                        path = self._folder / f"{SPLITS[which]}-{number:08d}.parquet"
                        if path not in writers:
                            writer = pq.ParquetWriter(path, schema, compression="lz4")
                            writers[path] = stack.enter_context(writer)
                            names[SPLITS[which]].append(path)
                        mine = np.flatnonzero((places == (which, number)).all(axis=1))
                        writers[path].write_table(table.take(pa.array(mine)))
                    start = stop
        return {name: sorted(paths) for name, paths in names.items()}

    def triples(self, split: str) -> Iterator[Triple]:
        """The triples of a split, by (repo, position, id)."""
        for path in self._buckets[split]:
            table = pq.read_table(path)
            table = table.take(pc.sort_indices(table.column("rank"))).drop_columns(["rank"])
            for start in range(0, len(table), _ROWS_AT_ONCE):
                for row in table.slice(start, _ROWS_AT_ONCE).to_pylist():
                    yield Triple.from_row(row, self._dataset)


def _read_keys(dataset: Dataset) -> pa.Table:
    """What decides order and split, of all triples in stored order."""
    tables = []
    for number, name in enumerate(SPLITS):
        shards = dataset.triple_shards[name]
        for group in shards.groups:
            table = shards.read(group, [*_KEYS, "patch"])
            size = pc.cast(pc.binary_length(table.column("patch")), pa.int64())
            table = table.select(_KEYS).append_column("bytes", size)
            tables.append(
                table.append_column("split", pa.array(np.full(len(table), number, np.int8)))
            )
    if not tables:
        raise UsageError(f"{dataset.folder}: no triples to tokenize")
    return pa.concat_tables(tables).combine_chunks()


def _hold_out(keys: pa.Table, share: float) -> Any:
    """The split of every triple, for keys sorted by (repo, position): 0, 1 or `_LEFT_OUT`."""
    split = np.zeros(len(keys), np.int8)
    repos = keys.column("repo").combine_chunks().dictionary_encode().indices.to_numpy()
    positions = keys.column("position").to_numpy()
    begins, ends = (
        keys.column(name).cast(pa.int64()).to_numpy()
        for name in ("old_committed_at", "committed_at")
    )
    bounds = [0, *(np.flatnonzero(np.diff(repos)) + 1).tolist(), len(keys)]
    for low, high in pairwise(bounds):
        first = low + math.ceil((high - low) * (1 - share))
        if first >= high:
            continue
        held = positions[low:high] >= positions[first]
        late = ends[low:high] > begins[low:high][held].min()
        split[low:high] = np.where(held, 1, np.where(late, _LEFT_OUT, 0))
    return split
