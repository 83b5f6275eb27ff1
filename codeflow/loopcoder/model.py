"""LoopCoder: a pre-norm Llama whose layers run twice, as the released checkpoint computes it.

    h = E[x]
    pass 1   every layer, causal attention of Q1 over K1, V1; K1 and V1 are kept
    pass 2   the same layers on the raw result: Q2 over the kept K1, V1 (global, causal) and over
             its own K2, V2 (local, a sliding window of 64), mixed by a gate per head and token
    logits = lm_head(RMSNorm(h))

Nothing happens between the passes. `loop_num = 1` stops after pass 1: the dense model. Parameter
names and shapes are the released ones. B batch, T tokens, C hidden size, H heads, G key-value
heads, D head size, V vocabulary. Cost per token: that of a dense model of 2L layers, plus 128
scores of local attention per head and layer, with the memory of L layers' parameters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, overload

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codeflow.loopcoder import attention
from codeflow.loopcoder.attention import Attention, Backend, Documents
from codeflow.loopcoder.config import Compute, ModelConfig
from codeflow.loopcoder.loss import NOTHING, Columns, Loss, Objective, chunked_loss, cross_entropy

GATE_BIAS = 2.0  # every gate bias of the released checkpoint, and where training starts


class Rope(NamedTuple):
    """cos and sin of every position's angles, (B or 1, 1, T, D), float32."""

    cos: Tensor
    sin: Tensor


def rope_tables(positions: Tensor, head_dim: int, theta: float) -> Rope:
    """Angles `position * theta^(-2i/D)` for (B, T) positions, each twice: rotate-half layout."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    frequencies = theta ** -(exponents / head_dim)  # (D/2,)
    angles = positions[:, None, :, None].float() * frequencies  # (B, 1, T, D/2)
    angles = torch.cat((angles, angles), dim=-1)  # (B, 1, T, D)
    return Rope(angles.cos(), angles.sin())


def rotate(x: Tensor, rope: Rope) -> Tensor:
    """Rotates (B, H, T, D) by its positions' angles, in float32."""
    wide = x.float()
    left, right = wide.chunk(2, dim=-1)
    return (wide * rope.cos + torch.cat((-right, left), dim=-1) * rope.sin).to(x.dtype)


class KeyValue(NamedTuple):
    """Keys (after RoPE) and values of one layer in one pass, (B, G, T, D) each."""

    k: Tensor
    v: Tensor


class RMSNorm(nn.Module):
    """`weight * x / sqrt(mean(x^2) + eps)`, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Like x; in `dtype` for what the next matrix products compute in."""
        out = F.rms_norm(x.float(), self.weight.shape, self.weight.float(), self.eps)
        return out.to(dtype or x.dtype)


class Linear(nn.Linear):
    """A projection without bias, computed in its input's dtype whatever its weight is kept in.

    So the norm before it decides the precision, and float32 weights get float32 gradients, those of
    both passes added up in float32. (Autocast would add them in bfloat16, keep a copy of every
    weight through the forward pass, and cast the stream for every projection anew.)
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class GateProjection(nn.Module):
    """`g = sigmoid(w_h . q2_h + b_h)`: one number per head and token, from the rotated query."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(heads, head_dim))
        self.bias = nn.Parameter(torch.empty(heads))

    def forward(self, q: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, H, T, 1)."""
        logits = q @ self.weight[:, :, None].to(q.dtype) + self.bias[:, None, None].to(q.dtype)
        return torch.sigmoid(logits)


class SelfAttention(nn.Module):
    """The four projections; no biases, no norm of queries or keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, d = config.hidden_size, config.head_dim
        self.head_dim = d
        self.q_proj = Linear(c, config.num_attention_heads * d)
        self.k_proj = Linear(c, config.num_key_value_heads * d)
        self.v_proj = Linear(c, config.num_key_value_heads * d)
        self.o_proj = Linear(config.num_attention_heads * d, c)

    def project(self, x: Tensor, rope: Rope) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> q (B, H, T, D), k and v (B, G, T, D); q and k rotated."""
        heads = (-1, self.head_dim)
        q = self.q_proj(x).unflatten(-1, heads).transpose(1, 2)
        k = self.k_proj(x).unflatten(-1, heads).transpose(1, 2)
        v = self.v_proj(x).unflatten(-1, heads).transpose(1, 2)
        return rotate(q, rope), rotate(k, rope), v

    def merge(self, heads: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, T, C)."""
        out: Tensor = self.o_proj(heads.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


def mix(gate: Tensor, over_first: Tensor, over_window: Tensor) -> Tensor:
    """Pass 2's two attention outputs (B, H, T, D) by the gate (B, H, T, 1)."""
    return gate * over_first + (1 - gate) * over_window


Recompute = Callable[..., Any]
"""Calls a function with tensors and other arguments, and computes it again in its backward pass."""


class Layer(nn.Module):
    """One block, used once in each pass.

    `seen_gate`, when set, is given the gate of pass 2, detached.
    """

    seen_gate: Callable[[Tensor], None] | None = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self,
        h: Tensor,
        rope: Rope,
        attend: Attention,
        first: KeyValue | None = None,
        gate: GateProjection | None = None,
        recompute: Recompute | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, KeyValue]:
        """(B, T, C) -> (B, T, C), and this pass's keys and values.

        Args:
            first, gate: in pass 2, K1 and V1 of this layer, through which gradients flow back
                into pass 1, and this layer's gate.
            recompute: computes the layer without keeping more than its inputs.
            dtype: what matrix products and attention compute in; None for the stream's.
        """
        inputs = (h, rope, attend, *(first or (None, None)), gate, dtype)
        h, k, v, mixed = recompute(self._block, *inputs) if recompute else self._block(*inputs)
        if self.seen_gate is not None and mixed is not None:
            self.seen_gate(mixed)
        return h, KeyValue(k, v)

    def _block(
        self,
        h: Tensor,
        rope: Rope,
        attend: Attention,
        k1: Tensor | None,
        v1: Tensor | None,
        gate: GateProjection | None,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """All of the layer, with flat arguments and results, as checkpointing sees tensors."""
        q, k, v = self.self_attn.project(self.input_layernorm(h, dtype), rope)
        if k1 is None or v1 is None or gate is None:
            return self.finish(h, attend.causal(q, k, v), dtype), k, v, None
        g = gate(q)
        heads = mix(g, attend.causal(q, k1, v1), attend.sliding(q, k, v))
        return self.finish(h, heads, dtype), k, v, g.detach()

    def finish(self, h: Tensor, heads: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """What follows the attention: output projection and MLP, each on the residual stream."""
        h = h + self.self_attn.merge(heads)
        out: Tensor = h + self.mlp(self.post_attention_layernorm(h, dtype))
        return out

    def compile_block(self, backend: Backend) -> None:
        """What is recomputed is inside, and hooks (FSDP2's, diagnostics) stay outside."""
        self._block = torch.compile(self._block, dynamic=False, backend=backend)  # type: ignore[method-assign]


class Backbone(nn.Module):
    """Embedding, the layers in their passes, and the one final norm.

    `gradients_by_pass` is set under FSDP2: with activation checkpointing, a layer's gradients are
    complete, and can be reduced, after each pass's backward.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.gradients_by_pass = False
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if config.loop_num == 2:
            self.gate_projections = nn.ModuleList(
                GateProjection(config.num_attention_heads, config.head_dim)
                for _ in range(config.num_hidden_layers)
            )

    def rope(self, positions: Tensor) -> Rope:
        """Tables for (B, T) positions."""
        return rope_tables(positions, self.config.head_dim, self.config.rope_theta)

    def forward(self, input_ids: Tensor, documents: Documents, compute: Compute) -> Tensor:
        """(B, T) -> (B, T, C), after the final norm."""
        device = input_ids.device
        varlen = compute.attention == "varlen"
        attend = attention.for_batch(documents, self.config.loop_window_size, device, varlen)
        rope = self.rope(documents.positions(device))
        how: dict[str, Any] = {}
        if compute.dtype == "bfloat16":
            how["dtype"] = torch.bfloat16
        if compute.activation_checkpointing and torch.is_grad_enabled():
            how["recompute"] = _recomputed_by_pass if self.gradients_by_pass else _recomputed
        h = self.embed_tokens(input_ids)  # (B, T, C)
        kept = []
        for layer in self.layers:
            h, key_value = layer(h, rope, attend, **how)
            kept.append(key_value)
        if self.config.loop_num == 2:
            for layer, first, gate in zip(self.layers, kept, self.gate_projections, strict=True):
                h, _ = layer(h, rope, attend, first, gate, **how)
        out: Tensor = self.norm(h, how.get("dtype"))
        return out


def _recomputed(block: Callable[..., Any], *arguments: Any) -> Any:
    return checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)


def _recomputed_by_pass(block: Callable[..., Any], *arguments: Any) -> Any:
    """A layer's backward pass is one of its own, so its weights' gradients are there at its end.

    Otherwise autograd adds up both passes' gradients first: under FSDP2 that would keep those of
    all layers in pass 2 whole on every rank until pass 1 gets there (156 GB for 40B).
    """
    return checkpoint(block, *arguments, use_reentrant=True, preserve_rng_state=False)


class LoopCoder(nn.Module):
    """The language model, loop or dense: `model(ids)` maps (B, T) to logits (B, T, V).

    Built without values; `reset_parameters` draws them, `codeflow.loopcoder.load` reads them. Both
    ways of use go through `forward`, so that DDP and FSDP2 see every call.
    """

    def __init__(self, config: ModelConfig, compute: Compute | None = None) -> None:
        super().__init__()
        self.config = config
        self.compute = compute or Compute()
        self.model = Backbone(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)

    @overload
    def forward(self, input_ids: Tensor, documents: Documents | None = None) -> Tensor: ...

    @overload
    def forward(
        self, input_ids: Tensor, documents: Documents | None, *of_loss: Any, **more: Any
    ) -> Loss: ...

    def forward(
        self,
        input_ids: Tensor,
        documents: Documents | None = None,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        columns: Columns = NOTHING,
        objective: Objective = cross_entropy,
    ) -> Tensor | Loss:
        """Logits (B, T, V), or with targets the summed loss, without ever holding all logits.

        Args:
            input_ids: (B, T) integers below V.
            documents: how the rows are packed; None takes every row as one document.
            targets: (B, T), the token that each position has to predict.
            weights: (B, T) float, what each target counts; 0 leaves it out.
            columns: (B, T) each, what `objective` needs beside a target's log-probability.
        """
        documents = documents or Documents.whole(*input_ids.shape)
        h = self.model(input_ids, documents, self.compute)  # (B, T, C)
        if targets is None or weights is None:
            logits: Tensor = self.lm_head(h)
            return logits
        how = self.compute.loss_chunk_tokens, self.compute.compile, objective, columns
        return chunked_loss(h, self.lm_head.weight, targets, weights, *how)

    def compile_blocks(self, backend: Backend = "inductor") -> None:
        """Compiles what a layer does, once for all layers, at the first call of each shape."""
        layers: list[Layer] = list(self.model.layers)  # type: ignore[arg-type]
        for layer in layers:
            layer.compile_block(backend)

    @torch.no_grad()
    def reset_parameters(self, seed: int) -> None:
        """Draws initial values, all parameters in order from one generator."""
        generator = torch.Generator(self.lm_head.weight.device).manual_seed(seed)
        for name, parameter in self.named_parameters():
            draw(name, parameter, self.config, generator)


@torch.no_grad()
def draw(name: str, parameter: Tensor, config: ModelConfig, generator: torch.Generator) -> None:
    """One parameter's initial value: normal with `initializer_range`, gates at w = 0, b = +2.

    The projections that write to the residual stream are scaled by the square root of the number
    of writes, so that its variance does not grow with depth and passes. (This scaling is this
    project's; the papers do not say.)
    """
    if "gate_projections" in name:
        parameter.fill_(0.0 if name.endswith("weight") else GATE_BIAS)
    elif parameter.ndim == 1:
        parameter.fill_(1.0)
    else:
        writes = 2 * config.num_hidden_layers * config.loop_num
        residual = name.endswith(("o_proj.weight", "down_proj.weight"))
        scale = config.initializer_range / (math.sqrt(writes) if residual else 1.0)
        parameter.normal_(0.0, scale, generator=generator)


def build(config: ModelConfig, compute: Compute | None = None) -> LoopCoder:
    """The model on the meta device: names and shapes, no memory."""
    with torch.device("meta"):
        return LoopCoder(config, compute)


def create(
    config: ModelConfig, seed: int = 0, device: str = "cpu", compute: Compute | None = None
) -> LoopCoder:
    """An untrained float32 model; on `meta` without values."""
    model = build(config, compute)
    if device != "meta":
        model.to_empty(device=device)
        model.reset_parameters(seed)
    return model


def fold(dense: LoopCoder) -> LoopCoder:
    """Dense to loop: the same weights run twice, with gates at their start (w = 0, b = +2).

    The result shares no memory with `dense` and is no approximation of it: its loss is higher
    until training has taught the second pass. This is how the papers start a loop, since training
    one from scratch is unstable.
    """
    if dense.config.loop_num != 1:
        raise ValueError("fold takes a dense model (loop_num = 1)")
    config = dataclasses.replace(dense.config, loop_num=2)
    device = str(dense.lm_head.weight.device)
    loop = build(config, dense.compute).to_empty(device=device).to(dense.lm_head.weight.dtype)
    loop.load_state_dict(dense.state_dict(), strict=False)
    for name, parameter in loop.named_parameters():
        if "gate_projections" in name:
            draw(name, parameter, config, torch.Generator(device))
    return loop
