"""Turns decisions into what is published: the triples of each split, and a ledger row a drop.

A unit a part: the triples and the decisions of every stage stand in the same order, so they are
joined side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Sink
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.records import LEDGER, SCORES, TRIPLES, LedgerRow, table_of
from codeflow.storage import files
from codeflow.storage.layout import SPLITS

_ROWS_PER_GROUP = 1024
_LEDGER_COLUMNS = ("rule", "reason", "detail")


@dataclass(frozen=True)
class SelectArguments:
    """One part, the stages that decided in order, and where to write."""

    folder: str
    part: Part
    stages: tuple[str, ...]
    target: str


def select(arguments: SelectArguments, sink: Sink) -> dict[str, Any]:
    """Writes the kept triples of a part, by split, and the ledger of what was dropped.

    Returns:
        `files`: paths by split, where there are any; `ledger`: its path, or None; `kept`: triples
        by repository and kind; `dropped`: repositories that lost one.
    """
    folder, target = Path(arguments.folder), arguments.target
    tables = [table for _, table in parts.read(folder, arguments.part)]
    rows = pa.concat_tables(tables).combine_chunks()
    decided = {name: decisions.read(folder, name, arguments.part.name) for name in arguments.stages}
    for name, table in decided.items():
        if not table.column("id").equals(rows.column("id")):
            raise AssertionError(f"{name}: decisions of {arguments.part.name} are not its triples'")
    kept = _mask(decided[arguments.stages[-1]])
    written = {}
    rows = _with_decisions(rows, decided)
    splits = _splits(decided, len(rows))
    for split in SPLITS:
        chosen = rows.filter(pa.array(kept & (splits == split)))
        if not len(chosen):
            continue
        chosen = chosen.take(pc.sort_indices(chosen.column("id")))
        written[split] = f"{target}/{split}-{arguments.part.name}.parquet"
        with files.parquet(folder / written[split], TRIPLES) as writer:
            for first in range(0, len(chosen), _ROWS_PER_GROUP):
                writer.write(chosen.slice(first, _ROWS_PER_GROUP))
    ledger = _ledger(rows, decided)
    path = f"{target}/ledger-{arguments.part.name}.parquet"
    if len(ledger):
        with files.parquet(folder / path, LEDGER) as writer:
            writer.write(ledger)
    counts = (
        rows.filter(pa.array(kept)).group_by(["repo", "kind"]).aggregate([("id", "count")])
    ).sort_by([("repo", "ascending"), ("kind", "ascending")])
    return {
        "files": written,
        "ledger": path if len(ledger) else None,
        "kept": [[row["repo"], row["kind"], row["id_count"]] for row in counts.to_pylist()],
        "dropped": sorted(set(rows.filter(pa.array(~kept)).column("repo").to_pylist())),
    }


def _mask(table: pa.Table) -> npt.NDArray[np.bool_]:
    column = table.column("kept").to_numpy(zero_copy_only=False)
    return np.asarray(column, dtype=np.bool_)


def _splits(decided: Mapping[str, pa.Table], rows: int) -> npt.NDArray[np.object_]:
    if "split" not in decided:
        return np.full(rows, SPLITS[0], dtype=object)
    return np.asarray(decided["split"].column("split").to_pylist(), dtype=object)


def _with_decisions(rows: pa.Table, decided: Mapping[str, pa.Table]) -> pa.Table:
    """The triples with their scores, cluster and weight filled in."""
    if "dedup" in decided:
        values = decided["dedup"].column("cluster").combine_chunks()
        rows = rows.set_column(TRIPLES.get_field_index("cluster"), TRIPLES.field("cluster"), values)
    weights = np.ones(len(rows), np.float64)
    for table in decided.values():
        weights *= table.column("weight").to_numpy()
    rows = rows.set_column(
        TRIPLES.get_field_index("weight"),
        TRIPLES.field("weight"),
        pa.array(weights.astype(np.float32)),
    )
    columns = [table.column("scores") for table in decided.values()]
    if any(pc.sum(pc.list_value_length(column)).as_py() for column in columns):
        scores: list[dict[str, float]] = [{} for _ in range(len(rows))]
        for column in (rows.column("scores"), *columns):
            for own, more in zip(scores, column.to_pylist(), strict=True):
                own.update((pair["key"], pair["value"]) for pair in more)
        merged = pa.array([sorted(own.items()) for own in scores], SCORES)
        rows = rows.set_column(TRIPLES.get_field_index("scores"), TRIPLES.field("scores"), merged)
    return rows.cast(TRIPLES)


def _ledger(rows: pa.Table, decided: Mapping[str, pa.Table]) -> pa.Table:
    found: list[LedgerRow] = []
    names: Sequence[str] = ("repo", "old_commit", "new_commit")
    for stage, table in decided.items():
        dropped = pc.is_valid(table.column("rule"))
        places = rows.select(names).filter(dropped).to_pylist()
        reasons = table.select(_LEDGER_COLUMNS).filter(dropped).to_pylist()
        for place, why in zip(places, reasons, strict=True):
            found.append(
                LedgerRow(stage, why["rule"], why["reason"] or "", detail=why["detail"], **place)
            )
    return table_of(found, LEDGER)
