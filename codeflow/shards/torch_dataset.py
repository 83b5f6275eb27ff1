"""Token shards as a torch `Dataset`, for trainers that are not ours.

    rows = PackedRows("data/tokens/diff-4096")
    loader = DataLoader(rows, batch_size=4, shuffle=True, num_workers=2, collate_fn=collate)

A row is T tokens of several documents. `position_ids` start again at 0 with each, which is how
transformers keeps packed documents apart; `cu_seqlens` are the same for attention that takes
lengths. `labels` are in transformers' way, each token's own id where it is a target and -100 where
it is not, shifted by the model: the first token of a document is none. Some documents weigh less
than others; a trainer that can weigh multiplies by `loss_weights`, of each token as a target, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from codeflow.shards.documents import boundaries, positions
from codeflow.shards.reader import TokenShards

IGNORED = -100


class PackedRows(Dataset[dict[str, Tensor]]):
    """The rows of one split of a token folder. Files are mapped, in every worker anew.

    A row is `input_ids`, `labels`, `position_ids` (T,) int64, `loss_weights` (T,) float32 and
    `cu_seqlens` (D + 1,) int32. Padding is a document of its own without a target.
    """

    def __init__(self, path: Path | str, split: str = "train") -> None:
        """Raises UsageError or DataError as `TokenShards` does."""
        self.shards = TokenShards(path, split)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = self.shards[index]
        weights = row.token_weights
        ids = row.input_ids.astype(np.int64)
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(np.where(weights > 0, ids, IGNORED)),
            "position_ids": torch.from_numpy(positions(row)),
            "loss_weights": torch.from_numpy(weights.copy()),
            "cu_seqlens": torch.from_numpy(boundaries(row)),
        }


def collate(rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """(B, T) of each; `cu_seqlens` run over all rows, one after the other, up to B T."""
    batch = {
        name: torch.stack([row[name] for row in rows]) for name in rows[0] if name != "cu_seqlens"
    }
    starts = accumulate((int(row["cu_seqlens"][-1]) for row in rows), initial=0)
    moved = [row["cu_seqlens"][1:] + start for row, start in zip(rows, starts, strict=False)]
    batch["cu_seqlens"] = torch.cat([torch.zeros(1, dtype=torch.int32), *moved])
    return batch
