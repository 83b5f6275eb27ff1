"""Decisions of a stage on disk: `decisions/STAGE/part-NNNNN.parquet`, a row for every mined triple.

Rows stand in the order of the part's triples, so that stages are joined side by side and never
through an index. A triple that an earlier stage dropped has a row all the same: not kept, no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeflow.records import DECISIONS
from codeflow.storage import files, tables
from codeflow.storage.layout import DECISIONS as DECISIONS_FOLDER


def path_of(stage: str, part: str) -> str:
    """Where the decisions of a part are, relative to the dataset folder."""
    return f"{DECISIONS_FOLDER}/{stage}/{part}.parquet"


def write(folder: Path, stage: str, part: str, columns: dict[str, Any]) -> None:
    """Writes the decisions of one part.

    Args:
        columns: by name of `DECISIONS`, lists or arrays; what is missing is null, no scores, or
            the weight 1. `id` and `kept` are always needed.
    """
    rows = len(columns["id"])
    default: dict[str, Any] = {"scores": [[]] * rows, "weight": [1.0] * rows}
    arrays = []
    for field in DECISIONS:
        values = columns.get(field.name, default.get(field.name, [None] * rows))
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, field.type))
    table = pa.table(arrays, schema=DECISIONS)
    with files.parquet(folder / path_of(stage, part), DECISIONS) as writer:
        writer.write(table)


def read(folder: Path, stage: str, part: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The decisions of one part."""
    names = DECISIONS.names if columns is None else list(columns)
    return tables.read(folder / path_of(stage, part), DECISIONS, names)


def kept(folder: Path, stages: Sequence[str], part: str) -> npt.NDArray[np.bool_] | None:
    """Which triples of a part the last of these stages kept; None, all of them, without stages."""
    if not stages:
        return None
    column = read(folder, stages[-1], part, ["kept"]).column("kept")
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)


def weights(folder: Path, stages: Sequence[str], part: str) -> npt.NDArray[np.float64] | None:
    """What the triples of a part weigh after these stages; None, all the same, without stages."""
    if not stages:
        return None
    columns = [read(folder, stage, part, ["weight"]).column("weight") for stage in stages]
    product: npt.NDArray[np.float64] = np.prod(
        [column.to_numpy().astype(np.float64) for column in columns], axis=0
    )
    return product
