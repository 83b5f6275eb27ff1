"""Context parallelism: every row is cut into chunks, and a rank holds two of them.

N ranks share a row of T tokens. It is cut into 2N chunks, and rank r holds chunks r and 2N-1-r, as
Llama 3 does: causal attention costs more the later a chunk stands, and an early and a late one
together cost every rank the same. All but attention is per token and needs nothing of other ranks.

- `whole`: causal attention needs all keys and values before a query. With few key-value heads they
  are small, so they are gathered (backward: gradients are summed over the ranks and each keeps its
  own, a reduce-scatter). Document masks stay what they are in a whole row.
- `with_halo`: the window needs only the end of the chunk before, so only ends are gathered.

K1, V1 are gathered in pass 1 and again in pass 2, and once more when a layer is recomputed. Kept
whole in between they would take 4 KB a token and layer of the released 40B: 43 GB a rank at 128K.

torch's own `torch.distributed.tensor.experimental.context_parallel` is not used: it replaces
`scaled_dot_product_attention` everywhere by a ring without document masks (its form for
FlexAttention has no CPU backward), knows nothing of a window that needs one halo, and is a
prototype. Gathering is 15 lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import (  # type: ignore[attr-defined]
    _resolve_process_group,
)

# Their names from torch 2.13 on, and before.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


@dataclass(frozen=True)
class Part:
    """What a rank holds of every row: chunks `rank` and `2 size - 1 - rank` of `2 size`.

    `group` is the name of the process group of the ranks that share the rows, in their order. (A
    name, since this is kept as a key, and a group must not outlive its end.)
    """

    rank: int
    size: int
    group: str

    @property
    def chunks(self) -> tuple[int, int]:
        """The numbers of this rank's chunks, in the order of its tokens."""
        return self.rank, 2 * self.size - 1 - self.rank

    def starts(self, tokens: int) -> tuple[int, int]:
        """Where this rank's chunks begin in a row of T tokens."""
        first, second = self.chunks
        return first * self.length(tokens), second * self.length(tokens)

    def length(self, tokens: int) -> int:
        """Tokens of a chunk. Raises ValueError when a row of T does not divide."""
        if tokens % (2 * self.size):
            raise ValueError(f"{tokens} tokens cannot be cut into {2 * self.size} equal chunks")
        return tokens // (2 * self.size)

    def take(self, row: Tensor) -> Tensor:
        """(B, T, ...) -> (B, T/N, ...): this rank's tokens."""
        length = self.length(row.shape[1])
        return torch.cat([row[:, i : i + length] for i in self.starts(row.shape[1])], dim=1)

    def spread(self, mine: Tensor) -> Tensor:
        """(B, T/N) -> (B, T): this rank's values where they stand in the rows, 0 elsewhere."""
        length = mine.shape[1] // 2
        rows = mine.new_zeros(len(mine), 2 * self.size, length)
        rows[:, list(self.chunks)] = mine.reshape(-1, 2, length)
        return rows.flatten(1)

    def whole(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's keys and values (B, G, T/N, D) -> those of the whole rows, (B, G, T, D)."""
        keys, values = torch.cat(self._gathered(_chunks(k, v)), dim=3)
        return keys, values

    def with_halo(self, k: Tensor, v: Tensor, halo: int) -> tuple[Tensor, Tensor]:
        """(B, G, T/N, D) -> (2B, G, halo + T/2N, D): each chunk behind the end of the one before.

        The chunks of a row come one after the other. Before the first chunk of a row are zeros.
        """
        own = _chunks(k, v)
        if own.shape[4] < halo:
            raise ValueError(f"chunks of {own.shape[4]} tokens are shorter than a halo of {halo}")
        ends = self._gathered(own[..., -halo:, :])
        before = [ends[c - 1] if c else torch.zeros_like(ends[0]) for c in self.chunks]
        rows = torch.cat((torch.stack(before, dim=3), own), dim=4).transpose(2, 3).flatten(1, 2)
        return rows[0], rows[1]

    def _gathered(self, own: Tensor) -> list[Tensor]:
        """(.., 2, L, D) of every rank -> the 2N chunks (.., L, D) in the order of the row."""
        ranks = _Gather.apply(own.movedim(-3, 0), self.group, self.size)  # type: ignore[no-untyped-call]
        by_rank = ranks.unbind(0)  # rank 0's two chunks, rank 1's, ...
        return [*by_rank[::2], *by_rank[::-2]]


def _chunks(k: Tensor, v: Tensor) -> Tensor:
    """Keys and values (B, G, T/N, D) -> (2, B, G, 2, T/2N, D): which of them, then which chunk."""
    batch, groups, _, size = k.shape
    return torch.stack((k, v)).view(2, batch, groups, 2, -1, size)


def _group(name: str) -> dist.ProcessGroup:
    group: dist.ProcessGroup = _resolve_process_group(name)  # type: ignore[arg-type]
    return group


class _Gather(torch.autograd.Function):
    """Concatenates along the first dimension over the ranks; backward sums and scatters."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: str, size: int) -> Tensor:
        ctx.group, ctx.size = group, size
        out = own.new_empty(size * own.shape[0], *own.shape[1:])
        _all_gather(out, own.contiguous(), group=_group(group))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        own = grad.new_empty(grad.shape[0] // ctx.size, *grad.shape[1:])
        _reduce_scatter(own, grad.contiguous(), group=_group(ctx.group))
        return own, None, None
