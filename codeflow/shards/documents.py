"""The documents of token shards, one by one, for those who pack otherwise or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codeflow.shards.format import PADDING, Row
from codeflow.shards.reader import TokenShards


class Packed(NamedTuple):
    """One document of a row.

    Attributes:
        ids: (N,).
        weights: (N,), the weight of each token as a target; the first has 0.
    """

    ids: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float32]
    triple_id: str
    language: str | None
    kind: str
    origin: str | None


def documents(shards: TokenShards) -> Iterator[Packed]:
    """Those of all rows in their order, padding left out."""
    for index in range(len(shards)):
        yield from documents_of(shards[index])


def documents_of(row: Row) -> Iterator[Packed]:
    """Those of a row, padding left out."""
    weights = row.token_weights
    bounds = pairwise(accumulate(row.doc_lengths.tolist(), initial=0))
    labels = zip(row.triple_ids, row.languages, row.kinds, row.origins, strict=True)
    for (start, stop), label in zip(bounds, labels, strict=True):
        if label[2] != PADDING:
            yield Packed(row.input_ids[start:stop], weights[start:stop], *label)


def positions(row: Row) -> npt.NDArray[np.int64]:
    """(T,): every token's position in its document, from 0."""
    return np.concatenate([np.arange(length, dtype=np.int64) for length in row.doc_lengths])


def boundaries(row: Row) -> npt.NDArray[np.int32]:
    """(D + 1,): where the documents begin, and T; `cu_seqlens` of attention over lengths."""
    return np.concatenate([[0], np.cumsum(row.doc_lengths)]).astype(np.int32)
