"""Token shards: Arrow IPC files of packed rows, memory-mapped, and the record of a row.

A folder `tokens/NAME` holds `{train,validation}-NNNNN.arrow`, the `tokenizer.json` they were made
with, and `tokens.json`, which says how. Reading needs only the shards. Opening maps the files;
a row costs a few array views, and the operating system reads its pages when they are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeflow.errors import DataError
from codeflow.storage import files

FORMAT_VERSION: Final = 1
PADDING: Final = "padding"
_METADATA: Final = b"codeflow.tokens"
_BATCH_TOKENS = 1 << 20
_SHARD_TOKENS = 1 << 26  # 256 MiB of ids


class Row(NamedTuple):
    """One packed sequence of T tokens.

    Attributes:
        input_ids: (T,).
        doc_lengths: (D,), tokens of each document; sums to T. Padding is the last of them, and
            there is none in a full row.
        run_lengths: (R,), sums to T: runs of equal loss weight, over all tokens in their order.
        run_weights: (R,), the weight of a run's tokens *as targets*. The first token of a
            document and all padding have 0.
        triple_ids, languages, kinds: (D,), of the triple that a document renders; of padding
            the empty string, None and `padding`.
    """

    input_ids: npt.NDArray[np.uint32]
    doc_lengths: npt.NDArray[np.int32]
    run_lengths: npt.NDArray[np.int32]
    run_weights: npt.NDArray[np.float32]
    triple_ids: tuple[str, ...]
    languages: tuple[str | None, ...]
    kinds: tuple[str, ...]

    @property
    def token_weights(self) -> npt.NDArray[np.float32]:
        """(T,): the weight of every token as a target."""
        return np.repeat(self.run_weights, self.run_lengths)


class Description(NamedTuple):
    """What the shards of a folder have in common; stored in the metadata of each file."""

    length: int  # tokens of a row
    tokenizer: str  # `Encoder.hash`
    vocab_size: int
    rendering: str
    dataset: str  # beginning of the manifest's checksum


def schema(description: Description) -> pa.Schema:
    """The Arrow schema of `Row`."""
    return pa.schema(
        [
            pa.field("input_ids", pa.list_(pa.uint32(), description.length), nullable=False),
            pa.field("doc_lengths", pa.list_(pa.int32()), nullable=False),
            pa.field("run_lengths", pa.list_(pa.int32()), nullable=False),
            pa.field("run_weights", pa.list_(pa.float32()), nullable=False),
            pa.field("triple_ids", pa.list_(pa.string()), nullable=False),
            pa.field("languages", pa.list_(pa.string()), nullable=False),
            pa.field("kinds", pa.list_(pa.string()), nullable=False),
        ],
        {_METADATA: json.dumps({"version": FORMAT_VERSION, **description._asdict()})},
    )


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


class TokenShards(Sequence[Row]):
    """The rows of one split of a token folder, by number.

    May be sent to another process, which then maps the files itself.
    """

    def __init__(self, path: Path | str, split: str = "train") -> None:
        """Maps the files.

        Raises:
            DataError: the folder has no such split, or a file is damaged or unlike the others.
        """
        self.path = Path(path)
        self.split = split
        self._batches: list[pa.RecordBatch] = []
        paths = sorted(self.path.glob(f"{split}-*.arrow"))
        if not paths:
            raise DataError(
                f"{self.path}: no {split}-*.arrow in it; make it with `codeflow tokenize`"
            )
        found: dict[Path, Description] = {}
        for file in paths:
            try:
                reader = pa.ipc.open_file(pa.memory_map(str(file)))
                batches = [reader.get_batch(k) for k in range(reader.num_record_batches)]
                found[file] = _description(reader.schema)
                if not reader.schema.equals(schema(found[file])):
                    raise ValueError("not the columns of token shards")
                for batch in batches:
                    batch.validate()
            except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
                reason = str(error).split("\n")[0]
                raise DataError(
                    f"{file}: damaged or no token shard: {reason}; run `codeflow tokenize` again"
                ) from None
            self._batches += batches
            if found[file] != found[paths[0]]:
                raise DataError(f"{file}: made otherwise than {paths[0].name} beside it")
        self.description = found[paths[0]]
        sizes = [len(batch) for batch in self._batches]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        """The row of this number; its `input_ids` are a view of the mapped file."""
        number = range(len(self))[index]
        if isinstance(number, range):
            return [self[k] for k in number]
        place = int(np.searchsorted(self._starts, number, side="right")) - 1
        batch, at = self._batches[place], number - int(self._starts[place])
        length = self.description.length
        ids = batch.column(0).values.to_numpy(zero_copy_only=True)
        lists = [batch.column(k)[at].values for k in range(1, 7)]
        plain = [values.to_numpy(zero_copy_only=True) for values in lists[:3]]
        names = [tuple(values.to_pylist()) for values in lists[3:]]
        return Row(ids[at * length : (at + 1) * length], *plain, *names)

    def __reduce__(self) -> tuple[type[TokenShards], tuple[Path, str]]:
        return TokenShards, (self.path, self.split)


def _description(found: pa.Schema) -> Description:
    values: Mapping[str, Any] = json.loads((found.metadata or {})[_METADATA])
    if values["version"] != FORMAT_VERSION:
        raise ValueError(f"format {values['version']}, this codeflow reads {FORMAT_VERSION}")
    return Description(*(values[name] for name in Description._fields))
