"""Losses over a large vocabulary without ever holding all logits.

The rows are taken a chunk at a time: logits, loss, and, since the loss is linear in what follows
it, the gradients too, so that the backward pass only scales them. Three matrix products a row, as
in the plain computation, and memory for one chunk of logits plus one float32 gradient of the head.
The scale is one over the step's weight, the same for all gradients: it is applied in float32, as
bfloat16 would make all of them up to 0.4% too large or too small.

What is made of a target's log-probability is an `Objective`: `cross_entropy`, or any other function
of it and of columns of numbers beside the tokens. d(loss)/d(logits) is its slope times
(onehot - softmax), so each takes the same sweep.

The result is a *sum*, with the weight it sums over: a mean of means over micro-batches or ranks
weighs tokens unequally, so whoever accumulates divides once, by the total weight.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from codeflow.loopcoder.attention import Documents

Columns = Mapping[str, Tensor]
"""Numbers beside every target, by name."""
Objective = Callable[[Tensor, Tensor, Columns], tuple[Tensor, Tensor]]
"""`(logp, weights, columns) -> (value, slope)`, all (n,) float32: of each target's log-probability
the weighted loss, and its derivative by the log-probability. Weight 0 gives 0 and 0."""
NOTHING: Final[Columns] = {}


def cross_entropy(logp: Tensor, weights: Tensor, columns: Columns) -> tuple[Tensor, Tensor]:
    """The usual objective: -logp, in nats."""
    return -logp * weights, -weights


class Loss(NamedTuple):
    """Weighted loss of a batch.

    `sum` is the objective's, differentiable; `weight` the sum of the weights; `tokens` the
    cross-entropy of every position before weighting, (B, T) float32, detached: minus its target's
    log-probability, whatever the objective. `sum` of nothing is 0, never NaN.
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


def chunked_loss(
    hidden: Tensor,
    head: Tensor,
    targets: Tensor,
    weights: Tensor,
    chunk_tokens: int,
    compiled: bool = False,
    objective: Objective = cross_entropy,
    columns: Columns = NOTHING,
) -> Loss:
    """Weighted loss of `hidden @ head.T` against the targets.

    Args:
        hidden: (B, T, C).
        head: (V, C), multiplied in `hidden`'s dtype; logits and their softmax are float32, and
            so is its gradient until it gets `head`'s own dtype.
        targets, weights: (B, T).
        chunk_tokens: rows of logits that exist at a time.
        compiled: fuses the passes over a chunk of logits.
        columns: (B, T) each, for the objective.
    """
    if not torch.is_grad_enabled():
        hidden, head = hidden.detach(), head.detach()  # spares the gradients' products
    total, losses = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, 1),
        head,
        targets.flatten(),
        weights.flatten().float(),
        {name: column.flatten() for name, column in columns.items()},
        chunk_tokens,
        functools.partial(_compiled_pieces() if compiled else _slope, objective),
    )
    return Loss(total, weights.float().sum(), losses.view(targets.shape))


class _ChunkedLoss(torch.autograd.Function):
    """Loss and gradients in one sweep over the chunks."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        targets: Tensor,
        weights: Tensor,
        columns: dict[str, Tensor],
        chunk_tokens: int,
        pieces: Callable[..., tuple[Tensor, Tensor, Tensor | None]],
    ) -> tuple[Tensor, Tensor]:
        with_hidden, with_head = ctx.needs_input_grad[:2]
        ctx.head_dtype = head.dtype
        head = head.to(hidden.dtype)
        hidden_grad = torch.empty_like(hidden) if with_hidden else None
        head_grad = torch.zeros_like(head, dtype=torch.float32) if with_head else None
        losses, values = torch.empty_like(weights), torch.empty_like(weights)
        for start in range(0, len(targets), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            logits = hidden[part] @ head.T  # (chunk, V)
            losses[part], values[part], slope = pieces(
                logits,
                targets[part, None],
                weights[part],
                {name: column[part] for name, column in columns.items()},
                with_hidden or with_head,
            )
            if slope is None:
                continue
            if hidden_grad is not None:
                torch.mm(slope, head, out=hidden_grad[part])
            if head_grad is not None:
                head_grad += slope.T @ hidden[part]
        ctx.save_for_backward(hidden_grad, head_grad)
        ctx.mark_non_differentiable(losses)
        return values.sum(), losses

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, head_grad = ctx.saved_tensors
        by = grads[0]
        to_hidden = (
            None if hidden_grad is None else (hidden_grad.float() * by).to(hidden_grad.dtype)
        )
        to_head = None if head_grad is None else (head_grad * by).to(ctx.head_dtype)
        return to_hidden, to_head, None, None, None, None, None


def _slope(
    objective: Objective,
    logits: Tensor,
    picked: Tensor,
    weights: Tensor,
    columns: Columns,
    wanted: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cross-entropy and weighted loss (n,) of logits (n, V) and, when wanted, the loss's slope by
    the logits, in their dtype. `picked` is (n, 1), the rest (n,). In place."""
    wide = logits.float()
    log_sum = wide.logsumexp(dim=1, keepdim=True)
    losses = (log_sum - wide.gather(1, picked)).squeeze(1)
    values, slopes = objective(-losses, weights, columns)
    if not wanted:
        return losses, values, None
    slope = wide.sub_(log_sum).exp_()
    slope.scatter_add_(1, picked, -torch.ones_like(log_sum))
    return losses, values, slope.mul_(-slopes[:, None]).to(logits.dtype)


def _pieces(
    objective: Objective,
    logits: Tensor,
    picked: Tensor,
    weights: Tensor,
    columns: Columns,
    wanted: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`_slope` as one compiles it, into two reads of the logits and one write of the slope: nothing
    in place, and no scatter, which would be one kernel more and, where it has to be deterministic,
    a slow one."""
    wide = logits.float()
    log_sum = wide.logsumexp(dim=1, keepdim=True)
    losses = (log_sum - wide.gather(1, picked)).squeeze(1)
    values, slopes = objective(-losses, weights, columns)
    if not wanted:
        return losses, values, None
    hit = picked == torch.arange(logits.shape[1], device=logits.device)
    slope = ((wide - log_sum).exp() - hit.float()) * -slopes[:, None]
    return losses, values, slope.to(logits.dtype)


@functools.cache
def _compiled_pieces() -> Callable[..., tuple[Tensor, Tensor, Tensor | None]]:
    return torch.compile(_pieces, dynamic=False, fullgraph=True)
