"""Small LoopCoders with nothing at its start value: random gates, norms and large weights.

At the gates' start (w = 0) several wrong models compute the same as the right one, and with the
usual small weights attention is close to a plain mean; a test on such a model sees nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from codeflow.loopcoder.config import ModelConfig
from codeflow.loopcoder.model import LoopCoder, build

SMALL = ModelConfig(
    vocab_size=61,
    hidden_size=40,
    intermediate_size=56,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=4096,
)
"""Heads times head size is not the hidden size, so that no reshape can mix them up unseen."""


def random_model(seed: int = 0, **overrides: Any) -> LoopCoder:
    """A float32 model of `SMALL`'s shape whose every parameter is random."""
    model = build(dataclasses.replace(SMALL, **overrides)).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(generator=generator)
            if name.endswith("norm.weight"):
                parameter.mul_(0.2).add_(1.0)
            elif "gate_projections" in name and name.endswith("weight"):
                parameter.mul_(0.4)
            elif name.endswith("proj.weight") or name == "lm_head.weight":
                parameter.mul_(parameter.shape[1] ** -0.5)
    return model


def random_ids(batch: int, tokens: int, seed: int = 0) -> Tensor:
    """(B, T) tokens of `SMALL`'s vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, SMALL.vocab_size, (batch, tokens), generator=generator)


def relative_error(value: Any, expected: Any) -> float:
    """Largest difference, relative to the largest expected value."""
    value, expected = (torch.as_tensor(x).detach().double() for x in (value, expected))
    return float((value - expected).abs().max() / expected.abs().max())
