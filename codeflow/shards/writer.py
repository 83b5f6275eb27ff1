"""Token shards, written: rows in batches of some 4 MiB, in files of some 256 MiB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from codeflow.shards.format import Description, Row, schema
from codeflow.storage import files

_BATCH_TOKENS = 1 << 20
_SHARD_TOKENS = 1 << 26  # 256 MiB of ids


def write_shards(
    folder: Path, split: str, rows: Iterable[Row], description: Description
) -> Iterator[Row]:
    """Writes the rows of a split in shards, and passes each on once it is in its batch."""
    rows = iter(rows)
    of = schema(description)
    batch_rows = max(1, _BATCH_TOKENS // description.length)
    batches = max(1, _SHARD_TOKENS // (batch_rows * description.length))
    ahead = list(islice(rows, batch_rows))
    number = 0
    while ahead:
        with files.ipc(folder / f"{split}-{number:05d}.arrow", of) as writer:
            for _ in range(batches):
                if not ahead:
                    break
                writer.write_batch(_batch(ahead, of))
                yield from ahead
                ahead = list(islice(rows, batch_rows))
        number += 1


def _batch(rows: Sequence[Row], of: pa.Schema) -> pa.RecordBatch:
    length = of.field("input_ids").type.list_size
    ids = pa.array(np.concatenate([row.input_ids for row in rows]))
    arrays = [pa.FixedSizeListArray.from_arrays(ids, length)]
    for field in list(of)[1:]:
        arrays.append(pa.array([getattr(row, field.name) for row in rows], field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=of)
