"""The text a dataset's tokenizer is trained on: contents and patches, chosen by their ids.

Ids are hashes, so taking those below a threshold is a fair sample that does not depend on shards,
order or workers. One pass over `blobs` and the patches.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.contents import Shards
from codeflow.dataset.reader import Dataset

SAMPLE_BYTES = 16 << 20
_TRIPLES_PART = 0.25  # of the sample, for patches: what is to be written counts too


def sample(dataset: Dataset, limit_bytes: int = SAMPLE_BYTES) -> Iterator[str]:
    """Texts of about `limit_bytes` together: contents, then patches of the train split."""
    blobs = [dataset.blob_shards]
    yield from _sample(blobs, "content", int(limit_bytes * (1 - _TRIPLES_PART)))
    triples = [dataset.triple_shards["train"]]
    yield from _sample(triples, "patch", int(limit_bytes * _TRIPLES_PART))


def _sample(tables: list[Shards], column: str, limit_bytes: int) -> Iterator[str]:
    groups = [(shards, group) for shards in tables for group in shards.groups]
    size = "size_bytes" if column == "content" else column
    total = 0
    for shards, group in groups:
        sizes = shards.read(group, [size]).column(size)
        lengths = sizes if size != column else pc.binary_length(sizes)
        total += pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0
    threshold = f"{min(0xFFFF_FFFF, limit_bytes * (1 << 32) // max(1, total)):08x}"
    for shards, group in groups:
        table = shards.read(group, ["id", column])
        chosen = table.filter(pc.less_equal(table.column("id"), threshold + "\uffff"))
        yield from chosen.column(column).to_pylist()
