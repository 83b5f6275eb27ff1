"""Decoding with a cache: all of K1, V1, and the last `window` of K2, V2, for each layer.

Per token the cache of the loop grows as fast as that of a dense model of the same layers; the
second pass adds a constant. Rows of a batch may be at different positions: a prompt shorter than
the others simply stops growing earlier, and nothing is padded on the left. Prompts are read in
chunks, which bounds the scores that exist at a time to chunk x context.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from codeflow.errors import UsageError
from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.model import KeyValue, Layer, LoopCoder, mix

CHUNK_TOKENS = 512
_ROWS = 1 << 20  # seeds of rows lie side by side
_SEEDS = (1 << 63) // _ROWS


class Cache:
    """Keys and values of a batch of B rows, each with its own number of tokens so far.

    `first` holds K1, V1 as (B, capacity + 1, G, D), token p of a row at index p; the last index
    takes what padding writes and is never read. `second` holds the newest W of K2, V2 as
    (B, W, G, D), the newest last. In bytes per row: 2 * L * G * D * (capacity + 1 + W) * itemsize.
    """

    def __init__(self, model: LoopCoder, batch: int, capacity: int) -> None:
        config, like = model.config, model.lm_head.weight
        shape = (config.num_key_value_heads, config.head_dim)

        def empty(tokens: int) -> list[KeyValue]:
            return [
                KeyValue(
                    like.new_zeros(batch, tokens, *shape), like.new_zeros(batch, tokens, *shape)
                )
                for _ in range(config.num_hidden_layers)
            ]

        self.capacity = capacity
        self.lengths = torch.zeros(batch, dtype=torch.long, device=like.device)
        self.first = empty(capacity + 1)
        self.second = empty(config.loop_window_size) if config.loop_num == 2 else []


@dataclass(frozen=True)
class _Step:
    """Where the tokens of one chunk stand, S tokens wide, the same for all layers."""

    positions: Tensor  # (B, S)
    slots: Tensor  # (B, S) where to write in `Cache.first`
    causal: Tensor  # (B, 1, S, context) bool, over the first `context` slots
    window: Tensor  # (B, 1, S, W + S) bool, over the cached window and then this chunk
    newest: Tensor  # (B, W) which of those W + S are the window after this chunk

    @classmethod
    def plan(cls, cache: Cache, counts: Tensor, width: int, window: int) -> _Step:
        device = counts.device
        offsets = torch.arange(width, device=device)
        positions = cache.lengths[:, None] + offsets  # (B, S)
        valid = offsets < counts[:, None]
        context = int((cache.lengths + counts).max())
        causal = torch.arange(context, device=device) <= positions[..., None]
        before = cache.lengths[:, None] + torch.arange(-window, 0, device=device)  # (B, W)
        keys = torch.cat((before, positions), dim=1)  # (B, W + S)
        distance = positions[..., None] - keys[:, None, :]  # (B, S, W + S)
        near = (distance >= 0) & (distance < window) & (keys >= 0)[:, None, :]
        return cls(
            positions=positions,
            slots=torch.where(valid, positions, cache.capacity),
            causal=causal[:, None],
            window=near[:, None],
            newest=counts[:, None] + torch.arange(window, device=device),
        )


@torch.no_grad()
def extend(model: LoopCoder, cache: Cache, input_ids: Tensor, counts: Tensor) -> Tensor:
    """Reads the next tokens of every row, and adds them to the cache.

    Args:
        input_ids: (B, S); row b's first `counts[b]` are read, the rest is padding.
        counts: (B,) int64, 0 to S. A row with 0 stays as it is.

    Returns:
        (B, S, C) after the final norm, what `lm_head` takes; meaningless at padding.
    """
    backbone, config = model.model, model.config
    if int((cache.lengths + counts).max()) > cache.capacity:
        raise ValueError(f"the cache holds {cache.capacity} tokens a row")
    step = _Step.plan(cache, counts, input_ids.shape[1], config.loop_window_size)
    rope = backbone.rope(step.positions)
    rows = torch.arange(len(counts), device=counts.device)[:, None]  # (B, 1)
    context = step.causal.shape[-1]

    def over_first(q: Tensor, index: int) -> Tensor:
        k, v = (x[:, :context].transpose(1, 2) for x in cache.first[index])  # (B, G, context, D)
        return _attend(q, k, v, step.causal)

    h = backbone.embed_tokens(input_ids)  # (B, S, C)
    layers: list[Layer] = list(backbone.layers)  # type: ignore[arg-type]
    for index, layer in enumerate(layers):
        q, k, v = layer.self_attn.project(layer.input_layernorm(h), rope)
        for store, new in zip(cache.first[index], (k, v), strict=True):
            store[rows, step.slots] = new.transpose(1, 2)
        h = layer.finish(h, over_first(q, index))
    for index, layer in enumerate(layers if config.loop_num == 2 else ()):
        q, k, v = layer.self_attn.project(layer.input_layernorm(h), rope)
        recent = [
            torch.cat((old, new.transpose(1, 2)), dim=1)  # (B, W + S, G, D)
            for old, new in zip(cache.second[index], (k, v), strict=True)
        ]
        local = _attend(q, recent[0].transpose(1, 2), recent[1].transpose(1, 2), step.window)
        h = layer.finish(h, mix(backbone.gate_projections[index](q), over_first(q, index), local))
        cache.second[index] = KeyValue(*(x[rows, step.newest] for x in recent))
    cache.lengths = cache.lengths + counts
    out: Tensor = backbone.norm(h)
    return out


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


def prefill(
    model: LoopCoder, cache: Cache, prompts: Sequence[Sequence[int]], chunk_tokens: int
) -> Tensor:
    """Reads prompts of any lengths, `chunk_tokens` at a time; (B, C) at each one's last token."""
    device = cache.lengths.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = int(lengths.max())
    ids = torch.zeros(len(prompts), longest, dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt, device=device)
    last = model.lm_head.weight.new_zeros(len(prompts), model.config.hidden_size)
    for start in range(0, longest, chunk_tokens):
        part = ids[:, start : start + chunk_tokens]
        counts = (lengths - start).clamp(0, part.shape[1])
        hidden = extend(model, cache, part, counts)
        ends = (lengths > start) & (lengths <= start + part.shape[1])
        last[ends] = hidden[ends, counts[ends] - 1]
    return last


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    `temperature = 0` is greedy. `top_p` keeps the fewest tokens whose probabilities sum to at
    least that much. Draws of row b depend on `seed` and b alone, not on the rest of the batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"temperature {self.temperature}: must be 0 or a positive number")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p {self.top_p}: must be above 0 and at most 1")
        if abs(self.seed) >= _SEEDS:
            raise UsageError(f"seed {self.seed}: must be below {_SEEDS:,}")

    def distribution(self, logits: Tensor) -> Tensor:
        """(V,) logits to the (V,) probabilities that are drawn from; temperature above 0."""
        below = (logits - logits.max()).double()  # so that no temperature overflows the largest
        probabilities = (below / self.temperature).softmax(-1).float()
        ordered, order = probabilities.sort(descending=True, stable=True)
        dropped = ordered.cumsum(0) - ordered >= self.top_p
        probabilities[order[dropped]] = 0.0
        return probabilities / probabilities.sum()

    def choose(self, logits: Tensor, generator: torch.Generator) -> int:
        """One token from (V,) logits."""
        if self.temperature == 0:
            return int(logits.argmax())
        chances = self.distribution(logits).cpu()
        return int(torch.multinomial(chances, 1, generator=generator))


@torch.no_grad()
def generate(
    model: LoopCoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling | None = None,
    stop_tokens: Iterable[int] = (),
    chunk_tokens: int = CHUNK_TOKENS,
) -> list[list[int]]:
    """Continues every prompt, all of them together.

    Returns:
        The new tokens of each row, without the prompt and without the stop token that ended it.

    Raises:
        UsageError: an empty prompt, a token outside the vocabulary, or a length beyond the model's
            positions.
    """
    _check(model.config, prompts, max_new_tokens)
    sampling, stops = sampling or Sampling(), frozenset(stop_tokens)
    device = model.lm_head.weight.device
    cache = Cache(model, len(prompts), max(map(len, prompts)) + max_new_tokens)
    generators = [
        torch.Generator().manual_seed(sampling.seed * _ROWS + row) for row in range(len(prompts))
    ]
    new: list[list[int]] = [[] for _ in prompts]
    alive = [True] * len(prompts)
    last = prefill(model, cache, prompts, chunk_tokens)  # (B, C)
    for count in range(1, max_new_tokens + 1):
        logits = model.lm_head(last)  # (B, V)
        for row in range(len(prompts)):
            if alive[row]:
                token = sampling.choose(logits[row], generators[row])
                alive[row] = token not in stops
                if alive[row]:
                    new[row].append(token)
        if count == max_new_tokens or not any(alive):
            break
        ids = torch.tensor([[tokens[-1] if tokens else 0] for tokens in new], device=device)
        last = extend(model, cache, ids, torch.tensor(alive, device=device).long())[:, 0]
    return new


def _check(config: ModelConfig, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    if not prompts:
        raise UsageError("generate: no prompt")
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise UsageError(f"generate: prompt {row} is empty; give at least one token")
        if len(prompt) + max_new_tokens > config.max_position_embeddings:
            raise UsageError(
                f"generate: prompt {row} has {len(prompt)} tokens, with {max_new_tokens} new ones "
                f"more than the model's {config.max_position_embeddings} positions"
            )
        if not all(0 <= token < config.vocab_size for token in prompt):
            raise UsageError(
                f"generate: prompt {row} has a token outside 0..{config.vocab_size - 1}; "
                "it was made by another tokenizer"
            )
