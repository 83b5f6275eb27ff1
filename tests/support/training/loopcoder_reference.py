"""LoopCoder in float64 numpy, written from the description of the checkpoint alone: the oracle.

Slow and plain on purpose: loops over documents and heads, each document computed on its own, so
that packing cannot matter; it shares nothing with `codeflow.loopcoder`, not even its names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Shape(NamedTuple):
    """What the tensors alone do not say."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    window: int = 64
    theta: float = 500000.0
    eps: float = 1e-5
    passes: int = 2


def _norm(x: Array, weight: Array, eps: float) -> Array:
    return weight * x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def _turn(x: Array, theta: float) -> Array:
    """Rotate-half RoPE of (T, heads, D): plane i is (i, i + D/2), turned by t * theta^(-2i/D)."""
    tokens, _, size = x.shape
    half = size // 2
    out = np.empty_like(x)
    for plane in range(half):
        angle = np.arange(tokens) * theta ** (-2 * plane / size)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        a, b = x[:, :, plane], x[:, :, plane + half]
        out[:, :, plane] = a * cos - b * sin
        out[:, :, plane + half] = b * cos + a * sin
    return out


def _attend(q: Array, k: Array, v: Array, window: int | None) -> Array:
    """(T, heads, D) over (T, kv_heads, D); query i sees keys max(0, i - window + 1) to i."""
    tokens, heads, size = q.shape
    group = heads // k.shape[1]
    query, key = np.indices((tokens, tokens))
    seen = (key <= query) if window is None else (key <= query) & (key > query - window)
    out = np.empty_like(q)
    for head in range(heads):
        scores = np.einsum("qd,kd->qk", q[:, head], k[:, head // group]) / np.sqrt(size)
        chances = np.where(seen, np.exp(scores - scores.max(axis=1, keepdims=True)), 0.0)
        chances /= chances.sum(axis=1, keepdims=True)
        out[:, head] = np.einsum("qk,kd->qd", chances, v[:, head // group])
    return out


def _document(weights: Mapping[str, Array], shape: Shape, ids: Sequence[int]) -> Array:
    """Logits (T, V) of one document on its own."""
    h = weights["model.embed_tokens.weight"][np.asarray(ids)]
    tokens = len(ids)
    first: dict[int, tuple[Array, Array]] = {}
    for turn in range(shape.passes):
        for layer in range(shape.layers):
            at = f"model.layers.{layer}."
            x = _norm(h, weights[at + "input_layernorm.weight"], shape.eps)
            q = (x @ weights[at + "self_attn.q_proj.weight"].T).reshape(tokens, shape.heads, -1)
            k = (x @ weights[at + "self_attn.k_proj.weight"].T).reshape(tokens, shape.kv_heads, -1)
            v = (x @ weights[at + "self_attn.v_proj.weight"].T).reshape(tokens, shape.kv_heads, -1)
            q, k = _turn(q, shape.theta), _turn(k, shape.theta)
            if turn == 0:
                first[layer] = (k, v)
                mixed = _attend(q, k, v, None)
            else:
                gate_weight = weights[f"model.gate_projections.{layer}.weight"]
                gate_bias = weights[f"model.gate_projections.{layer}.bias"]
                gate = 1 / (1 + np.exp(-((q * gate_weight).sum(axis=-1) + gate_bias)))[..., None]
                over_first = _attend(q, *first[layer], None)
                mixed = gate * over_first + (1 - gate) * _attend(q, k, v, shape.window)
            h = h + mixed.reshape(tokens, -1) @ weights[at + "self_attn.o_proj.weight"].T
            x = _norm(h, weights[at + "post_attention_layernorm.weight"], shape.eps)
            hidden = _silu(x @ weights[at + "mlp.gate_proj.weight"].T)
            hidden = hidden * (x @ weights[at + "mlp.up_proj.weight"].T)
            h = h + hidden @ weights[at + "mlp.down_proj.weight"].T
    return _norm(h, weights["model.norm.weight"], shape.eps) @ weights["lm_head.weight"].T


def logits(
    weights: Mapping[str, Array],
    shape: Shape,
    rows: Sequence[Sequence[int]],
    documents: Sequence[Sequence[int]],
) -> Array:
    """(B, T, V) for packed rows: each document computed as if alone."""
    out = []
    for row, lengths in zip(rows, documents, strict=True):
        ends = np.cumsum(lengths)
        assert ends[-1] == len(row)
        parts = [
            _document(weights, shape, row[end - n : end])
            for end, n in zip(ends, lengths, strict=True)
        ]
        out.append(np.concatenate(parts))
    return np.stack(out)


def loss(all_logits: Array, targets: Array, token_weights: Array) -> float:
    """Weighted sum of the cross-entropy, in nats."""
    top = all_logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(all_logits - top).sum(axis=-1)) + top[..., 0]
    picked = np.take_along_axis(all_logits, targets[..., None], axis=-1)[..., 0]
    return float(((log_sum - picked) * token_weights).sum())
