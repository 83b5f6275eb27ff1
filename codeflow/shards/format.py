"""What a token shard is: an Arrow IPC file of packed rows, its columns and its metadata.

A folder `tokens/NAME` holds `{train,validation}-NNNNN.arrow`, the `tokenizer.json` they were made
with, and `tokens.json`, which says how. A row is one packed sequence of exactly T tokens. A file's
schema metadata holds one JSON object, `codeflow.tokens`: `version` and the fields of `Description`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

FORMAT_VERSION: Final = 2
PADDING: Final = "padding"
_METADATA: Final = b"codeflow.tokens"


class Row(NamedTuple):
    """One packed sequence of T tokens.

    Attributes:
        input_ids: (T,).
        doc_lengths: (D,), tokens of each document; sums to T. Padding is the last of them, and
            there is none in a full row.
        run_lengths: (R,), sums to T: runs of equal loss weight, over all tokens in their order.
        run_weights: (R,), the weight of a run's tokens *as targets*. The first token of a
            document and all padding have 0.
        triple_ids, languages, kinds: (D,), of the triple or the input that a document renders; of
            padding the empty string, None and `padding`.
        origins: (D,), where an input says it is from; None for triples and padding.
    """

    input_ids: npt.NDArray[np.uint32]
    doc_lengths: npt.NDArray[np.int32]
    run_lengths: npt.NDArray[np.int32]
    run_weights: npt.NDArray[np.float32]
    triple_ids: tuple[str, ...]
    languages: tuple[str | None, ...]
    kinds: tuple[str, ...]
    origins: tuple[str | None, ...]

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
            pa.field("origins", pa.list_(pa.string()), nullable=False),
        ],
        {_METADATA: json.dumps({"version": FORMAT_VERSION, **description._asdict()})},
    )


def described(found: pa.Schema) -> Description:
    """The description in a file's schema. Raises ValueError that says why it is no shard."""
    try:
        values: Mapping[str, Any] = json.loads((found.metadata or {})[_METADATA])
        version = values["version"]
        description = Description(*(values[name] for name in Description._fields))
    except (KeyError, TypeError, ValueError):
        raise ValueError("no codeflow.tokens metadata; not a shard of packed tokens") from None
    if version != FORMAT_VERSION:
        raise ValueError(f"format {version!r}, this version reads {FORMAT_VERSION}")
    for field in schema(description):
        if field.name not in found.names:
            raise ValueError(f"no column {field.name!r}; not a shard of packed tokens")
        if found.field(field.name).type != field.type:
            raise ValueError(
                f"column {field.name!r} is {found.field(field.name).type}, not {field.type}"
            )
    return description
