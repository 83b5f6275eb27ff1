"""Cross-entropy over a large vocabulary without ever holding all logits.

The rows are taken a chunk at a time: logits, loss, and, since the loss is linear in what follows
it, the gradients too, so that the backward pass only scales them. Three matrix products a row, as
in the plain computation, and memory for one chunk of logits plus one float32 gradient of the head.
The scale is one over the step's weight, the same for all gradients: it is applied in float32, as
bfloat16 would make all of them up to 0.4% too large or too small.

The result is a *sum*, with the weight it sums over: a mean of means over micro-batches or ranks
weighs tokens unequally, so whoever accumulates divides once, by the total weight.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from codeflow.loopcoder.attention import Documents


class Loss(NamedTuple):
    """Weighted loss of a batch.

    `sum` is differentiable, in nats; `weight` the sum of the weights; `tokens` the loss of every
    position before weighting, (B, T) float32, detached. `sum` of nothing is 0, never NaN.
    """

    sum: Tensor
    weight: Tensor
    tokens: Tensor

    @property
    def mean(self) -> Tensor:
        """Token-mean loss of this batch alone, 0 when no token counts."""
        return self.sum / self.weight.clamp_min(torch.finfo(self.weight.dtype).tiny)


def next_tokens(
    input_ids: Tensor, token_weights: Tensor, documents: Documents
) -> tuple[Tensor, Tensor]:
    """Targets and their weights, (B, T) each: position t predicts token t + 1 of its document.

    Args:
        token_weights: (B, T) float, what each token counts *as a target*. The first token of a
            document is never one: the position before it gets weight 0, as does the row's last.
    """
    ids = documents.ids(input_ids.device)
    inside = F.pad(ids[:, 1:] == ids[:, :-1], (0, 1), value=False)
    targets = input_ids.roll(-1, dims=1).long()
    return targets, token_weights.roll(-1, dims=1) * inside


def chunked_cross_entropy(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    chunk_tokens: int,
    compiled: bool = False,
) -> Loss:
    """Weighted cross-entropy of `hidden @ head.T` against the targets.

    Args:
        hidden: (B, T, C).
        head: (V, C), multiplied in `hidden`'s dtype; logits and their softmax are float32, and
            so is its gradient until it gets `head`'s own dtype.
        targets, weights: (B, T).
        chunk_tokens: rows of logits that exist at a time.
        compiled: fuses the passes over a chunk of logits.
    """
    if not torch.is_grad_enabled():
        hidden, head = hidden.detach(), head.detach()  # spares the gradients' products
    total, losses = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, 1),
        head,
        targets.flatten(),
        weights.flatten().float(),
        chunk_tokens,
        _fused_slope if compiled else _slope,
    )
    return Loss(total, weights.float().sum(), losses.view(targets.shape))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Loss and gradients in one sweep over the chunks."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        weights: Tensor,
        chunk_tokens: int,
        slope_of: Callable[..., tuple[Tensor, Tensor | None]],
    ) -> tuple[Tensor, Tensor]:
        with_hidden, with_head = ctx.needs_input_grad[:2]
        ctx.head_dtype = head.dtype
        head = head.to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden) if with_hidden else None
        head_grad = torch.zeros_like(head, dtype=torch.float32) if with_head else None
        losses = torch.empty_like(weights)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = hidden[part] @ head.T  # (chunk, V)
            losses[part], slope = slope_of(
                logits, targets[part, None], weights[part, None], with_hidden or with_head
            )
            if slope is None:
                continue
            if hidden_grad is not None:
                torch.mm(slope, head, out=hidden_grad[part])
            if head_grad is not None:
                head_grad += slope.T @ hidden[part]
        ctx.save_for_backward(hidden_grad, head_grad)
        ctx.mark_non_differentiable(losses)
        return (losses * weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, head_grad = ctx.saved_tensors
        by = grads[0]
        to_hidden = (
            None if hidden_grad is None else (hidden_grad.float() * by).to(hidden_grad.dtype)
        )
        to_head = None if head_grad is None else (head_grad * by).to(ctx.head_dtype)
        return to_hidden, to_head, None, None, None, None


def _slope(
    logits: Tensor, picked: Tensor, weights: Tensor, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Losses (n,) of logits (n, V) and, when wanted, the weighted loss's slope by the logits, in
    their dtype: (softmax - onehot) * weight. `picked` and `weights` are (n, 1). In place."""
    wide = logits.float()
    log_sum = wide.logsumexp(dim=1, keepdim=True)
    losses = (log_sum - wide.gather(1, picked)).squeeze(1)
    if not wanted:
        return losses, None
    slope = wide.sub_(log_sum).exp_()
    slope.scatter_add_(1, picked, -torch.ones_like(log_sum))
    return losses, slope.mul_(weights).to(logits.dtype)


def _fused_slope(
    logits: Tensor, picked: Tensor, weights: Tensor, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """The same in two reads of the logits and one write of the slope."""
    return _compiled_pieces()(logits, picked, weights, wanted)


def _pieces(
    logits: Tensor, picked: Tensor, weights: Tensor, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """`_slope` as one compiles it: nothing in place, and no scatter, which would be one kernel more
    and, where it has to be deterministic, a slow one."""
    wide = logits.float()
    log_sum = wide.logsumexp(dim=1, keepdim=True)
    losses = (log_sum - wide.gather(1, picked)).squeeze(1)
    if not wanted:
        return losses, None
    hit = picked == torch.arange(logits.shape[1], device=logits.device)
    return losses, (((wide - log_sum).exp() - hit.float()) * weights).to(logits.dtype)


@functools.cache
def _compiled_pieces() -> Callable[..., tuple[Tensor, Tensor | None]]:
    return torch.compile(_pieces, dynamic=False, fullgraph=True)
