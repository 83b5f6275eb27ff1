"""Replies with an advantage, packed into rows: documents of prompt and reply, first fit.

Where a reply stands changes nothing of what is computed of it, but for rounding. All rows have the
shape that the recipe says, so that nothing is compiled anew; what is missing is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from codeflow.rl.objective import ADVANTAGE, SAMPLED_LOGP
from codeflow.rl.rollouts import Rollout
from codeflow.shards.format import PADDING, Row
from codeflow.train.data import MicroBatch, collate

Scored = tuple[Rollout, float]
"""A reply and its advantage."""
Of = Callable[[Scored], Sequence[float]]


def micro_batches(scored: Sequence[Scored], length: int, rows: int) -> Iterator[MicroBatch]:
    """Of `rows` rows of `length` tokens each."""
    packed = list(_first_fit(scored, length))
    packed += [[] for _ in range(-len(packed) % rows)]
    for first in range(0, len(packed), rows):
        here = packed[first : first + rows]
        micro = collate([_row(documents, length) for documents in here])
        columns = {
            ADVANTAGE: _column(here, length, lambda one: [one[1]] * len(one[0].ids)),
            SAMPLED_LOGP: _column(here, length, lambda one: one[0].logps),
        }
        yield replace(micro, columns=columns)


def _first_fit(scored: Sequence[Scored], length: int) -> Iterator[list[Scored]]:
    """The longest first, each into the first row with room for it."""
    rows: list[list[Scored]] = []
    rooms: list[int] = []
    for one in sorted(scored, key=lambda one: -_size(one)):  # stable: equal ones as they came
        size = _size(one)
        place = next((n for n, room in enumerate(rooms) if room >= size), len(rows))
        if place == len(rows):
            rows.append([])
            rooms.append(length)
        rows[place].append(one)
        rooms[place] -= size
    yield from rows


def _size(one: Scored) -> int:
    return len(one[0].prompt_ids) + len(one[0].ids)


def _row(documents: Sequence[Scored], length: int) -> Row:
    ids = [k for one, _ in documents for k in (*one.prompt_ids, *one.ids)]
    weights = [w for one, _ in documents for w in (*[0.0] * len(one.prompt_ids), *one.mask)]
    left = length - len(ids)
    lengths = [_size(one) for one in documents] + [left] * (left > 0)
    count = len(lengths)
    return Row(
        np.array(ids + [0] * left, np.uint32),
        np.array(lengths, np.int32),
        np.ones(length, np.int32),
        np.array(weights + [0.0] * left, np.float32),
        ("",) * count,
        (None,) * count,
        ("rollout",) * len(documents) + (PADDING,) * (count - len(documents)),
        ("",) * count,
    )


def _column(rows: Sequence[Sequence[Scored]], length: int, of: Of) -> torch.Tensor:
    """(B, T) float32, beside the targets as weights are: position t has what token t + 1 has."""
    found = np.zeros((len(rows), length), np.float32)
    for row, documents in zip(found, rows, strict=True):
        at = 0
        for one in documents:
            start, at = at + len(one[0].prompt_ids), at + _size(one)
            row[start:at] = of(one)
    return torch.from_numpy(found).roll(-1, dims=1)
