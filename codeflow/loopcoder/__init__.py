"""LoopCoder: model, decoding and export. Reads token shards and checkpoints, never Git."""

from __future__ import annotations

from typing import Any

from codeflow.loopcoder.config import PRESETS, Compute, ModelConfig, preset
from codeflow.loopcoder.decode import Sampling, generate
from codeflow.loopcoder.hf import export
from codeflow.loopcoder.hf_reader import load
from codeflow.loopcoder.model import LoopCoder, create, fold

__all__ = [
    "PRESETS",
    "Compute",
    "LoopCoder",
    "ModelConfig",
    "Sampling",
    "create",
    "export",
    "fold",
    "from_preset",
    "generate",
    "load",
    "preset",
]


def from_preset(name: str, *, device: str = "cpu", seed: int = 0, **overrides: Any) -> LoopCoder:
    """An untrained model of a named size.

    Args:
        device: `meta` gives names and shapes without memory, the only way for the largest.
        overrides: fields of `ModelConfig` to replace, as in `vocab_size=4096`.

    Raises:
        UsageError: an unknown preset or field, or sizes that do not fit each other.
    """
    return create(preset(name, overrides), seed=seed, device=device)
