"""What a step and a run come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """Where a run stands: steps done, the loss of the last one, its last checkpoint."""

    step: int
    loss: float
    checkpoint: Path


@dataclass(frozen=True)
class Outcome:
    """What one step gave. `state` is `good`, `bad` (not finite) or `empty` (no target tokens)."""

    loss: float
    grad_norm: float
    lr: float
    weight: float
    state: str
