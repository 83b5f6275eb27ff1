"""Cuts the file changes of a history into content units: all versions of a path in one place.

Rows are grouped by path, paths that renames connect together, and ordered newest first, which is
how Git's deltas are fastest to read and how equal stretches of versions lie side by side on disk.
Done on Arrow columns, because a large history has millions of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Sink
from codeflow_miners import tables
from codeflow_miners.changes.renames import lineages
from codeflow_miners.contents.languages import Languages
from codeflow_miners.tables import CHANGES, FOREIGN

ROWS_PER_UNIT = 2560


@dataclass(frozen=True)
class PlanArguments:
    """Attributes: `changes`: files of CHANGES, in the order of their steps; then branches'."""

    changes: tuple[str, ...]


def plan_contents(arguments: PlanArguments, sink: Sink) -> dict[str, Any]:
    """Writes `changes-N` and `foreign-N` for each content unit.

    Returns:
        `units`: their number; `headers`: what `.h` files are written in here.
    """
    changes = tables.read_all(arguments.changes, CHANGES)
    units = list(plan_units(changes))
    for number, (unit, foreign) in enumerate(zip(units, foreign_blobs(units), strict=True)):
        with sink.table(f"changes-{number}", CHANGES) as writer:
            writer.write(unit)
        with sink.table(f"foreign-{number}", FOREIGN) as writer:
            writer.write(pa.table([foreign], schema=FOREIGN))
    base = changes.filter(pc.equal(changes.column("change"), -1)).column("new_path").to_pylist()
    headers = Languages.for_paths(path.decode(errors="replace") for path in base).headers
    return {"units": len(units), "headers": headers}


def plan_units(changes: pa.Table, rows_per_unit: int = ROWS_PER_UNIT) -> Iterator[pa.Table]:
    """Tables of CHANGES, a content unit each, of much the same length; a group of connected paths
    is never cut."""
    if not len(changes):
        return
    wanted = len(changes) / -(-len(changes) // rows_per_unit)
    key = _group_keys(changes)
    order = pc.sort_indices(
        pa.table({"key": key, "change": changes.column("change")}),
        sort_keys=[("key", "ascending"), ("change", "descending")],
    )
    ordered = changes.take(order)
    codes = key.take(order).combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    stops = np.append(starts[1:], len(ordered))
    begin = 0
    for stop in stops:
        if stop - begin >= wanted or stop == len(ordered):
            yield ordered.slice(begin, stop - begin)
            begin = stop


def _group_keys(changes: pa.Table) -> pa.ChunkedArray:
    path = pc.coalesce(changes.column("new_path"), changes.column("old_path"))
    renamed = changes.filter(pc.not_equal(changes.column("old_path"), changes.column("new_path")))
    parents = lineages(change.row for change in tables.changes(renamed))
    if not parents:
        return path
    paths = pa.array(sorted(parents), pa.binary())
    roots = pa.array([parents[p] for p in sorted(parents)], pa.binary())
    found = pc.index_in(path, paths)
    return pc.coalesce(pc.take(roots, found), path)


def foreign_blobs(units: Sequence[pa.Table]) -> list[pa.Array]:
    """For each unit, the blobs that an earlier unit holds too and writes."""
    owned: pa.Array = pa.array([], pa.binary())
    foreign = []
    for unit in units:
        both = unit.column("old_blob").chunks + unit.column("new_blob").chunks
        distinct = pc.unique(pa.concat_arrays(both)).drop_null() if both else owned.slice(0, 0)
        known = pc.is_in(distinct, owned)
        foreign.append(distinct.filter(known))
        owned = pa.concat_arrays([owned, distinct.filter(pc.invert(known))])
    return foreign


def empty() -> pa.Table:
    """A plan of nothing."""
    return CHANGES.empty_table()
