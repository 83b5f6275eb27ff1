"""Attention over lengths of documents: torch's `varlen_attn`, which is FlashAttention, no masks.

**Never run**: it needs a GPU, bfloat16, and a torch (2.12) that has windows and groups of heads in
it. The tests stand a plain function of its description in for it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from codeflow.errors import UsageError


class VarlenAttention:
    """An `Attention`: rows one after the other, and in them documents, told by where they begin.

    Args:
        lengths: of all documents of all rows, in order.
        tokens: T.
    """

    def __init__(
        self, lengths: Sequence[int], tokens: int, window: int, device: torch.device
    ) -> None:
        starts = F.pad(torch.tensor(lengths).cumsum(0), (1, 0))  # and the end
        self._starts = starts.int().to(device)
        self._longest = tokens  # a bound is enough, and the same for every layout
        self._window = window

    def causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._attend(q, k, v, -1)
        return out

    def sliding(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out: Tensor = self._attend(q, k, v, self._window - 1)
        return out

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _attend(self, q: Tensor, k: Tensor, v: Tensor, back: int) -> Tensor:
        """`back` keys before a query's own, -1 for all; not compiled, since layouts differ."""
        flat = [x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)]  # (B T, H or G, D)
        ends = self._starts, self._starts, self._longest, self._longest
        out: Tensor = varlen()(*flat, *ends, window_size=(back, 0), enable_gqa=True)
        return out.view(len(q), -1, *out.shape[1:]).transpose(1, 2)


@functools.cache
def varlen() -> Callable[..., Any]:
    """torch's function. Raises UsageError when this torch has none with windows and groups."""
    try:
        from torch.nn.attention.varlen import varlen_attn

        needed = {"window_size", "enable_gqa"}
        if needed <= inspect.signature(varlen_attn).parameters.keys():
            return varlen_attn
    except ImportError:
        pass
    raise UsageError(
        f'compute.attention = "varlen" needs torch 2.12 or later, this is {torch.__version__}; '
        'leave it at "flex"'
    )
