"""Attention over packed documents: causal, and causal within a sliding window.

One interface, `Attention`, bound to the layout of one batch; the model asks for nothing else. Three
implementations, chosen by device and by `Compute.attention`:

- `BlockAttention` (CPU): one causal `scaled_dot_product_attention` call per document, several
  times faster than one masked call over the row, since nothing outside a document is computed.
  The window is exact blockwise attention: blocks of `window` queries against their own block and
  the one before it, so time and memory are linear in T.
- `FlexAttention` (GPU): compiled FlexAttention with block masks that are built once per layout and
  shared by all layers and both passes. Its kernels have no backward on CPU and **were never run on
  a GPU**; the tests compare its masks, forward pass and gradients, uncompiled, with
  `BlockAttention` on CPU. Batches of one shape cost two kernels, causal and window, with gradients
  and two without; a new layout costs none. Beyond Dynamo's limit of kernels it is an error: the
  eager form that torch would go on with holds T x T scores.

- `VarlenAttention` (`varlen.py`; GPU, bfloat16): FlashAttention over lengths, for whole rows alone.

Positions of two documents never meet: a score between them is not computed or is -inf, so weights
and gradients across are exact zeros, and one document's content cannot change another's bits.

Under context parallelism a rank holds chunks of the rows. `SplitAttention` brings it the keys and
values it needs, and either implementation computes with the chunks' queries.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from codeflow.loopcoder.context import Part
from codeflow.loopcoder.varlen import VarlenAttention


@dataclass(frozen=True)
class Documents:
    """Layout of a batch: for each of B rows the lengths of its documents, which sum to T.

    Padding at the end of a row is a document like any other; its tokens carry no loss.
    With `part`, tensors hold this rank's chunks of the rows, t = T/N tokens of each; the lengths
    are those of whole rows. Without it t = T.
    """

    lengths: tuple[tuple[int, ...], ...]
    part: Part | None = None

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

    def pairs(self, window: int | None = None) -> int:
        """Pairs of a query and a key that it sees, in all rows: within its document, and with a
        window no farther back than that."""
        count = 0
        for length in itertools.chain.from_iterable(self.lengths):
            reach = min(length, window or length)
            count += reach * (reach + 1) // 2 + (length - reach) * reach
        return count

    def positions(self, device: torch.device) -> Tensor:
        """(B, t) int64: positions within the document, from 0 in each."""
        rows = [torch.cat([torch.arange(length) for length in row]) for row in self.lengths]
        return self._here(torch.stack(rows)).to(device)

    def ids(self, device: torch.device) -> Tensor:
        """(B, T) int64: which document of its row a token belongs to."""
        rows = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in self.lengths]
        return torch.stack(rows).to(device)

    def places(self, device: torch.device) -> Tensor:
        """(t,) int64: where in the row the tokens here stand."""
        return self._here(torch.arange(self.tokens)[None])[0].to(device)

    def window_ids(self, lead: int, device: torch.device) -> Tensor:
        """(R, lead + L) int64: `ids` of what a window runs over, `lead` tokens before included.

        Whole rows (R = B, L = T), or every chunk as a row of its own (R = 2B, L = T/2N). Before a
        row's start stands -1, which is no document's.
        """
        ids = F.pad(self.ids(device), (lead, 0), value=-1)
        if self.part is None:
            return ids
        length = lead + self.part.length(self.tokens)
        chunks = [ids[:, start : start + length] for start in self.part.starts(self.tokens)]
        return torch.stack(chunks, dim=1).flatten(0, 1)

    def _here(self, rows: Tensor) -> Tensor:
        return rows if self.part is None else self.part.take(rows)


Backend = str | Callable[..., Any]
"""What `torch.compile` hands a graph to, by name or itself."""


class Piece(NamedTuple):
    """Queries of a chunk that lie in one document: how many, and the keys `start:stop` of the row
    from the document's first token to the last query's own."""

    queries: int
    start: int
    stop: int


class Attention(Protocol):
    """Grouped-query attention with scale head_dim^-1/2, within the documents of one batch.

    Both methods take q (B, H, t, D) and k, v (B, G, t, D) with H a multiple of G, and give
    (B, H, t, D). A query sees itself and what comes before it in its document.
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
    When the documents are in parts, `causal` takes the part's q and whole rows of k, v, with a mask
    where a chunk cuts a document; `sliding` takes what `Part.with_halo` gives, a halo of `window`.
    """

    def __init__(self, documents: Documents, window: int, device: torch.device) -> None:
        self.documents = documents
        self.window = window
        self.device = device

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        documents = self.documents
        if documents.unpacked and documents.part is None:
            return _sdpa(q, k, v, is_causal=True)
        rows = zip(torch.split(q, 1), torch.split(k, 1), torch.split(v, 1), strict=True)
        if documents.part is None:
            return torch.cat(
                [_causal_row(*row, each) for row, each in zip(rows, documents.lengths, strict=True)]
            )
        return torch.cat(
            [_causal_part(*row, each) for row, each in zip(rows, self._pieces, strict=True)]
        )

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, heads, tokens, size = q.shape
        queries = self._blocks(q, self.window)[:, :, 1:]  # (B, H, N, W, D)
        missing = self.window - (k.shape[2] - tokens)  # of the block before the first
        k_blocks, v_blocks = self._blocks(k, missing), self._blocks(v, missing)
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

    def _blocks(self, x: Tensor, lead: int) -> Tensor:
        """(B, H, T, D) -> (B, H, N + 1, W, D): `lead` zeros, then T, zero-padded, cut into W."""
        end = -(x.shape[2] + lead) % self.window
        padded = F.pad(x, (0, 0, lead, end))
        return padded.view(*x.shape[:2], -1, self.window, x.shape[3])

    @functools.cached_property
    def _mask(self) -> Tensor:
        """(BN, 1, W, 2W) bool: keys a query of each block may see. No row of it is empty."""
        w = self.window
        ids = self.documents.window_ids(w, self.device)
        ids = F.pad(ids, (0, -ids.shape[1] % w), value=-2)  # padding sees padding
        blocks = ids.view(len(ids), -1, w)  # (B, N + 1, W)
        key_ids = torch.cat((blocks[:, :-1], blocks[:, 1:]), dim=2)  # (B, N, 2W)
        same = blocks[:, 1:, :, None] == key_ids[:, :, None, :]  # (B, N, W, 2W)
        query, key = torch.arange(w, 2 * w)[:, None], torch.arange(2 * w)[None, :]
        near = (key <= query) & (query - key < w)  # (W, 2W)
        return (same & near.to(self.device)).flatten(0, 1)[:, None]

    @functools.cached_property
    def _pieces(self) -> list[list[Piece]]:
        """Of each row, in the order of the queries here: the documents that the chunks meet."""
        documents, part = self.documents, self.documents.part
        assert part is not None
        length = part.length(documents.tokens)
        rows = []
        for lengths in documents.lengths:
            ends = list(itertools.accumulate(lengths))
            rows.append(
                [
                    Piece(
                        min(end, start + length) - max(begin, start),
                        begin,
                        min(end, start + length),
                    )
                    for start in part.starts(documents.tokens)
                    for begin, end in zip([0, *ends], ends, strict=False)
                    if begin < start + length and end > start
                ]
            )
        return rows


class FlexAttention:
    """GPU: FlexAttention with one block mask for each kind. Never run on a GPU.

    Args:
        backend: what compiles it. None runs the same masks through FlexAttention's eager form,
            which holds all T x T scores and masks, for tests.
    """

    def __init__(
        self,
        documents: Documents,
        window: int,
        device: torch.device,
        backend: Backend | None = "inductor",
    ) -> None:
        split = documents.part is not None
        lead = window if split else 0
        ids, places = documents.ids(device), documents.places(device)  # (B, T), (t,)
        near = documents.window_ids(lead, device)  # (R, lead + L)

        def causal(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            place = places[query] if split else query
            return (key <= place) & (ids[b, place] == ids[b, key])

        def sliding(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            place = query + lead
            inside = (key <= place) & (place - key < window)
            return inside & (near[b, place] == near[b, key])

        build, attend = _flex_functions(backend)
        far = (len(ids), None, len(places), documents.tokens)  # B, any head, t, T
        rows, keys = near.shape
        with torch.no_grad():  # compiled once, not once more for validation
            self._causal: BlockMask = build(causal, *far, device=device)
            self._sliding: BlockMask = build(sliding, rows, None, keys - lead, keys, device=device)
        self._attend = attend

    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._attend(q, k, v, block_mask=self._causal, enable_gqa=True)
        return out

    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._attend(q, k, v, block_mask=self._sliding, enable_gqa=True)
        return out


class SplitAttention:
    """Context parallelism: what other ranks hold is fetched, the rest is `here`'s to compute.

    Every method is a collective: all ranks of the group call it in the same order.
    """

    def __init__(self, here: Attention, part: Part, window: int) -> None:
        self.here, self.part, self.window = here, part, window

    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.here.causal(q, *self.part.whole(k, v))

    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, heads, _, size = q.shape
        chunks = q.reshape(batch, heads, 2, -1, size).transpose(1, 2)  # (B, 2, H, T/2N, D)
        out = self.here.sliding(chunks.flatten(0, 1), *self.part.with_halo(k, v, self.window))
        return out.view(batch, 2, heads, -1, size).transpose(1, 2).reshape(q.shape)


def for_batch(
    documents: Documents, window: int, device: torch.device, varlen: bool = False
) -> Attention:
    """The attention for one batch, by device. The masks of recent layouts are kept."""
    recent = _recent_flex if device.type == "cuda" else _recent_blocks
    if varlen and device.type == "cuda" and documents.part is None:
        return _recent_varlen(documents, window, device)
    here: Attention = recent(documents, window, device)
    return here if documents.part is None else SplitAttention(here, documents.part, window)


@functools.lru_cache(maxsize=8)
def _recent_flex(documents: Documents, window: int, device: torch.device) -> FlexAttention:
    return FlexAttention(documents, window, device)


@functools.lru_cache(maxsize=8)
def _recent_blocks(documents: Documents, window: int, device: torch.device) -> BlockAttention:
    return BlockAttention(documents, window, device)


@functools.lru_cache(maxsize=8)
def _recent_varlen(documents: Documents, window: int, device: torch.device) -> VarlenAttention:
    lengths = tuple(itertools.chain.from_iterable(documents.lengths))
    return VarlenAttention(lengths, documents.tokens, window, device)


@functools.cache
def _flex_functions(backend: Backend | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`create_block_mask` and `flex_attention`, compiled once, for fixed shapes.

    With `fullgraph` a shape too many raises; without, torch goes on with the eager form in silence.
    Sizes that vary within a kernel would make its sums, and so its bits, depend on what ran before.
    """
    functions: tuple[Any, Any] = (create_block_mask, flex_attention)
    if backend is None:
        return functions
    build, attend = (
        torch.compile(f, dynamic=False, fullgraph=True, backend=backend) for f in functions
    )
    return build, attend


def _causal_row(q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """One row, (1, H, T, D). Split and cat rather than slices: their backward is one copy."""
    queries, keys, values = (torch.split(x, list(lengths), dim=2) for x in (q, k, v))
    parts = zip(queries, keys, values, strict=True)
    return torch.cat([_sdpa(*part, is_causal=True) for part in parts], dim=2)


def _causal_part(q: Tensor, k: Tensor, v: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """One row's chunks: q (1, H, T/N, D), k and v (1, G, T, D)."""
    out = []
    for piece, queries in zip(pieces, torch.split(q, [p.queries for p in pieces], 2), strict=True):
        keys, values = (x[:, :, piece.start : piece.stop] for x in (k, v))
        before = piece.stop - piece.start - piece.queries  # keys in chunks before
        mask = torch.ones(piece.queries, keys.shape[2], dtype=torch.bool, device=q.device)
        out.append(_sdpa(queries, keys, values, attn_mask=mask.tril(before)))
    return torch.cat(out, dim=2)


def _sdpa(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=attn_mask, is_causal=is_causal, enable_gqa=True
    )
