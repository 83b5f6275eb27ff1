"""Attention over packed documents: causal, and causal within a sliding window.

One interface, `Attention`, bound to the layout of one batch; the model asks for nothing else. Two
implementations, chosen by device:

- `BlockAttention` (CPU): one causal `scaled_dot_product_attention` call per document, several
  times faster than one masked call over the row, since nothing outside a document is computed.
  The window is exact blockwise attention: blocks of `window` queries against their own block and
  the one before it, so time and memory are linear in T.
- `FlexAttention` (GPU): compiled FlexAttention with block masks that are built once per layout and
  shared by all layers and both passes. It has no backward on CPU and **was never run on a GPU**;
  the tests compare its masks and its forward pass, uncompiled, with `BlockAttention` on CPU.

Positions of two documents never meet: a score between them is not computed or is -inf, so weights
and gradients across are exact zeros, and one document's content cannot change another's bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


@dataclass(frozen=True)
class Documents:
    """Layout of a batch: for each of B rows the lengths of its documents, which sum to T.

    Padding at the end of a row is a document like any other; its tokens carry no loss.
    """

    lengths: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        totals = {sum(row) for row in self.lengths}
        shortest = min((min(row, default=0) for row in self.lengths), default=0)
        if len(totals) != 1 or shortest < 1:
            raise ValueError(f"documents must be non-empty and fill rows of one length: {self}")

    @classmethod
    def whole(cls, batch: int, tokens: int) -> Documents:
        """Every row is one document."""
        return cls(((tokens,),) * batch)

    @classmethod
    def of(cls, lengths: Sequence[Sequence[int]]) -> Documents:
        """From the `doc_lengths` of a token shard, one list per row."""
        return cls(tuple(tuple(int(length) for length in row) for row in lengths))

    @property
    def tokens(self) -> int:
        """T, the tokens of one row."""
        return sum(self.lengths[0])

    @property
    def unpacked(self) -> bool:
        """Whether every row is one document."""
        return all(len(row) == 1 for row in self.lengths)

    def positions(self, device: torch.device) -> Tensor:
        """(B, T) int64: positions within the document, from 0 in each."""
        rows = [torch.cat([torch.arange(length) for length in row]) for row in self.lengths]
        return torch.stack(rows).to(device)

    def ids(self, device: torch.device) -> Tensor:
        """(B, T) int64: which document of its row a token belongs to."""
        rows = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in self.lengths]
        return torch.stack(rows).to(device)


class Attention(Protocol):
    """Grouped-query attention with scale head_dim^-1/2, within the documents of one batch.

    Both methods take q (B, H, T, D) and k, v (B, G, T, D) with H a multiple of G, and give
    (B, H, T, D). A query sees itself and what comes before it in its document.
    """

    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attends to the whole past of the document."""
        ...

    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attends to the last `window` positions of the document, the query's own included."""
        ...


class BlockAttention:
    """CPU: a causal call per document, and blocks of `window` queries for the window.

    Stays out of `torch.compile`, which would compile the loop over documents for every layout.
    """

    def __init__(self, documents: Documents, window: int, device: torch.device) -> None:
        self.documents = documents
        self.window = window
        self.device = device

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.documents.unpacked:
            return _sdpa(q, k, v, is_causal=True)
        rows = [
            _causal_row(q_row, k_row, v_row, lengths)
            for q_row, k_row, v_row, lengths in zip(
                torch.split(q, 1),
                torch.split(k, 1),
                torch.split(v, 1),
                self.documents.lengths,
                strict=True,
            )
        ]
        return torch.cat(rows)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, heads, tokens, size = q.shape
        queries = self._blocks(q)[:, :, 1:]  # (B, H, N, W, D)
        k_blocks, v_blocks = self._blocks(k), self._blocks(v)  # (B, G, N + 1, W, D)
        keys = torch.cat((k_blocks[:, :, :-1], k_blocks[:, :, 1:]), dim=3)  # (B, G, N, 2W, D)
        values = torch.cat((v_blocks[:, :, :-1], v_blocks[:, :, 1:]), dim=3)
        out = _sdpa(
            queries.transpose(1, 2).flatten(0, 1),  # (BN, H, W, D)
            keys.transpose(1, 2).flatten(0, 1),  # (BN, G, 2W, D)
            values.transpose(1, 2).flatten(0, 1),
            attn_mask=self._mask,
        )
        out = out.view(batch, -1, heads, self.window, size).transpose(1, 2)  # (B, H, N, W, D)
        return out.flatten(2, 3)[:, :, :tokens]

    def _blocks(self, x: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, H, N + 1, W, D): an empty block, then T cut into N, zero-padded."""
        end = -x.shape[2] % self.window
        padded = F.pad(x, (0, 0, self.window, end))
        return padded.view(*x.shape[:2], -1, self.window, x.shape[3])

    @functools.cached_property
    def _mask(self) -> Tensor:
        """(BN, 1, W, 2W) bool: keys a query of each block may see. No row of it is empty."""
        w = self.window
        ids = F.pad(self.documents.ids(self.device), (w, 0), value=-1)  # before the first: none
        ids = F.pad(ids, (0, -self.documents.tokens % w), value=-2)  # padding sees padding
        blocks = ids.view(len(ids), -1, w)  # (B, N + 1, W)
        key_ids = torch.cat((blocks[:, :-1], blocks[:, 1:]), dim=2)  # (B, N, 2W)
        same = blocks[:, 1:, :, None] == key_ids[:, :, None, :]  # (B, N, W, 2W)
        query, key = torch.arange(w, 2 * w)[:, None], torch.arange(2 * w)[None, :]
        near = (key <= query) & (query - key < w)  # (W, 2W)
        return (same & near.to(self.device)).flatten(0, 1)[:, None]


class FlexAttention:
    """GPU: FlexAttention with one block mask for each kind. Never run on a GPU.

    Args:
        compiled: false runs the same masks through FlexAttention's eager form, which holds all
            T x T scores and masks, for tests.
    """

    def __init__(
        self, documents: Documents, window: int, device: torch.device, compiled: bool = True
    ) -> None:
        ids = documents.ids(device)  # (B, T)

        def causal(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & (ids[b, query] == ids[b, key])

        def sliding(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return causal(b, h, query, key) & (query - key < window)

        build, attend = _flex_functions(compiled)
        shape = (len(ids), None, documents.tokens, documents.tokens)  # B, any head, T, T
        self._causal: BlockMask = build(causal, *shape, device=device)
        self._sliding: BlockMask = build(sliding, *shape, device=device)
        self._attend = attend

    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._attend(q, k, v, block_mask=self._causal, enable_gqa=True)
        return out

    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._attend(q, k, v, block_mask=self._sliding, enable_gqa=True)
        return out


def for_batch(documents: Documents, window: int, device: torch.device) -> Attention:
    """The attention for one batch, by device. The masks of recent layouts are kept."""
    if device.type == "cuda":
        return _recent_flex(documents, window, device)
    return _recent_blocks(documents, window, device)


@functools.lru_cache(maxsize=8)
def _recent_flex(documents: Documents, window: int, device: torch.device) -> FlexAttention:
    return FlexAttention(documents, window, device)


@functools.lru_cache(maxsize=8)
def _recent_blocks(documents: Documents, window: int, device: torch.device) -> BlockAttention:
    return BlockAttention(documents, window, device)


@functools.cache
def _flex_functions(compiled: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`create_block_mask` and `flex_attention`, compiled once."""
    functions: tuple[Any, Any] = (create_block_mask, flex_attention)
    if not compiled:
        return functions
    return torch.compile(functions[0]), torch.compile(functions[1])


def _causal_row(q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """One row, (1, H, T, D). Split and cat rather than slices: their backward is one copy."""
    queries, keys, values = (torch.split(x, list(lengths), dim=2) for x in (q, k, v))
    parts = zip(queries, keys, values, strict=True)
    return torch.cat([_sdpa(*part, is_causal=True) for part in parts], dim=2)


def _sdpa(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=attn_mask, is_causal=is_causal, enable_gqa=True
    )
