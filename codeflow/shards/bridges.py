"""Token shards in the files of other trainers: Megatron's pair, and Parquet for `datasets`.

Megatron's `.bin` holds the tokens of all documents, one after the other, `.idx` says where each
begins (`megatron/core/datasets/indexed_dataset.py`):

    "MMIDIDX" 0 0, version uint64 = 1, type of token uint8, number of sequences uint64,
    number of document bounds uint64, lengths int32[], byte offsets int64[], bounds int64[]

Tokens are uint16 where the vocabulary has fewer than 65,500, else int32, as Megatron chooses; a
document is one sequence. It has no place for loss weights. Parquet keeps the packed rows: ids,
labels and positions, which `load_dataset(FOLDER)` finds by the names of the files.
"""

from __future__ import annotations

import shutil
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from codeflow.errors import UsageError
from codeflow.shards.documents import documents, positions
from codeflow.shards.format import PADDING, Row
from codeflow.shards.reader import TokenShards
from codeflow.storage import files

_HEADER: Final = b"MMIDIDX\x00\x00"
_UINT16, _INT32 = (8, np.uint16), (4, np.int32)  # Megatron's numbers of these types
_FEW: Final = 65500
IGNORED: Final = -100
ROWS: Final = pa.schema(
    [
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("labels", pa.list_(pa.int32()), nullable=False),
        pa.field("position_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("attention_mask", pa.list_(pa.int8()), nullable=False),
    ]
)
_TOKENS_PER_GROUP: Final = 1 << 21


class Bridged(NamedTuple):
    """What was written. `unweighted` tokens have no loss here, and have one there; `halved` have
    another weight than 0 and 1, which is 1 there."""

    rows: int
    tokens: int
    unweighted: int
    halved: int


def to_megatron(shards: TokenShards, prefix: Path) -> Bridged:
    """Writes `PREFIX.bin` and `PREFIX.idx`, a document a sequence, without padding.

    Raises:
        UsageError: one of the two is there.
    """
    data, index = (prefix.with_name(prefix.name + end) for end in (".bin", ".idx"))
    for path in (data, index):
        if path.exists():
            raise UsageError(f"{path}: is there already; give a new name, or remove it")
    code, dtype = _UINT16 if shards.description.vocab_size < _FEW else _INT32
    lengths, unweighted, halved = array("i"), 0, 0
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(data) as part, part.open("wb") as file:
        for document in documents(shards):
            file.write(document.ids.astype(dtype).tobytes())
            lengths.append(len(document.ids))
            unweighted += int((document.weights[1:] == 0).sum())
            halved += int(((document.weights > 0) & (document.weights != 1)).sum())
    sizes = np.array(lengths, np.int64)
    offsets = (np.cumsum(sizes) - sizes) * np.dtype(dtype).itemsize
    with files.replacing(index) as part, part.open("wb") as file:
        file.write(_HEADER + pack("<QBQQ", 1, code, len(sizes), len(sizes) + 1))
        file.write(sizes.astype("<i4").tobytes() + offsets.astype("<i8").tobytes())
        file.write(np.arange(len(sizes) + 1, dtype="<i8").tobytes())
    return Bridged(len(sizes), int(sizes.sum()), unweighted, halved)


def to_parquet(folder: Path, to: Path, splits: tuple[str, ...]) -> dict[str, Bridged]:
    """Writes the packed rows of a token folder as Parquet files, one a split.

    Raises:
        UsageError: the target is there and is not an empty folder.
    """
    done = {}
    with _new_folder(to) as part:
        for split in splits:
            shards = TokenShards(folder, split)
            group = max(1, _TOKENS_PER_GROUP // shards.description.length)
            tokens = halved = 0
            with files.parquet(part / f"{split}-00000-of-00001.parquet", ROWS) as writer:
                for start in range(0, len(shards), group):
                    rows = shards[start : start + group]
                    writer.write(pa.Table.from_pylist([_columns(row) for row in rows], ROWS))
                    for weights in (row.token_weights for row in rows):
                        tokens += len(weights)
                        halved += int(((weights > 0) & (weights != 1)).sum())
            done[split] = Bridged(len(shards), tokens, 0, halved)
    return done


def _columns(row: Row) -> dict[str, object]:
    ids = row.input_ids.astype(np.int32)
    padding = int(row.doc_lengths[-1]) if row.kinds[-1] == PADDING else 0
    return {
        "input_ids": ids,
        "labels": np.where(row.token_weights > 0, ids, np.int32(IGNORED)),
        "position_ids": positions(row).astype(np.int32),
        "attention_mask": np.repeat([1, 0], [len(ids) - padding, padding]).astype(np.int8),
    }


@contextmanager
def _new_folder(to: Path) -> Iterator[Path]:
    """A folder beside the target that takes its name when the block is done."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to}: exists and is not an empty folder; choose another")
    to.parent.mkdir(parents=True, exist_ok=True)
    outer = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        part = outer / "files"  # made by mkdir, so that the umask decides its mode
        part.mkdir()
        yield part
        part.replace(to)
    finally:
        shutil.rmtree(outer, ignore_errors=True)
