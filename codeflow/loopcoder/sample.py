"""Replies to learn from: drawn from the model as it is, with what each token's chance was.

Temperature 1 and all of the vocabulary: the log-probability of a truncated or a sharpened
distribution is not the one that training computes. Every row draws by a seed of its own, so what it
draws depends on its logits alone, whatever else is in the batch. (The logits may round otherwise
in another batch.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from codeflow.loopcoder.decode import CHUNK_TOKENS, Cache, extend, prefill
from codeflow.loopcoder.model import LoopCoder


class Sampled(NamedTuple):
    """New tokens, the one that ended them included, and the log-probability of each.

    `finished` is false where the limit came first.
    """

    ids: tuple[int, ...]
    logps: tuple[float, ...]
    finished: bool


@torch.no_grad()
def sample(
    model: LoopCoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    seeds: Sequence[int],
    stop_tokens: Iterable[int],
    chunk_tokens: int = CHUNK_TOKENS,
) -> list[Sampled]:
    """One reply to every prompt, all of them together.

    Args:
        prompts: tokens of the vocabulary, at least one each.
        seeds: one a prompt, below 2**64.
    """
    device, batch = model.lm_head.weight.device, len(prompts)
    cache = Cache(model, batch, max(map(len, prompts)) + max_new_tokens)
    chances = torch.from_numpy(
        np.stack([np.random.Generator(np.random.Philox(s)).random(max_new_tokens) for s in seeds])
    ).to(device)  # (B, S) float64 in [0, 1)
    stops = torch.tensor(sorted(stop_tokens), dtype=torch.long, device=device)
    ids = torch.zeros(batch, max_new_tokens, dtype=torch.long, device=device)
    logps = torch.zeros(batch, max_new_tokens, device=device)
    lengths = torch.zeros(batch, dtype=torch.long, device=device)
    alive = torch.ones(batch, dtype=torch.bool, device=device)
    last = prefill(model, cache, prompts, chunk_tokens)  # (B, C)
    for step in range(max_new_tokens):
        wide = model.lm_head(last).double().log_softmax(-1)  # (B, V)
        reached = wide.exp().cumsum(-1)
        drawn = torch.searchsorted(reached, chances[:, step, None] * reached[:, -1:], right=True)
        drawn = drawn.clamp_max(wide.shape[1] - 1)  # (B, 1)
        ids[:, step] = drawn[:, 0]
        logps[:, step] = wide.gather(1, drawn)[:, 0].float()
        lengths += alive
        alive = alive & ~torch.isin(drawn[:, 0], stops)
        if step + 1 == max_new_tokens or not bool(alive.any()):
            break
        last = extend(model, cache, drawn, alive.long())[:, 0]
    return [
        Sampled(tuple(row[:n]), tuple(chance[:n]), not still)
        for row, chance, n, still in zip(
            ids.tolist(), logps.tolist(), lengths.tolist(), alive.tolist(), strict=True
        )
    ]
