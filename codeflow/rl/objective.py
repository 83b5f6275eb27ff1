"""The clipped policy gradient, as a function of log-probabilities for the chunked loss.

    rho = exp(logp - logp of the sampler)
    J   = min(rho A, clip(rho, 1 - low, 1 + high) A);  for A < 0 at least `dual` A
    loss = -J, summed over trained tokens; the trainer divides by their number in the whole step

`high` above `low` (clip-higher) leaves room for unlikely tokens to become likely; `dual` bounds
what a single token can cost whose probability has grown since it was sampled. The exponent is held
within +-20. No KL term, no entropy term, no division by a group's standard deviation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from codeflow.loopcoder.loss import Columns

ADVANTAGE: Final = "advantage"
SAMPLED_LOGP: Final = "sampled_logp"
_EXPONENT: Final = 20.0


@dataclass(frozen=True)
class ClippedPolicyGradient:
    """An `Objective` over the columns `advantage` and `sampled_logp`."""

    low: float = 0.2
    high: float = 0.28
    dual: float = 3.0

    def __call__(self, logp: Tensor, weights: Tensor, columns: Columns) -> tuple[Tensor, Tensor]:
        advantage = columns[ADVANTAGE]
        exponent = logp - columns[SAMPLED_LOGP]
        rho = exponent.clamp(-_EXPONENT, _EXPONENT).exp()
        free = rho * advantage
        clipped = rho.clamp(1 - self.low, 1 + self.high) * advantage
        floor = torch.where(advantage < 0, self.dual * advantage, -torch.inf)
        gain = torch.maximum(torch.minimum(free, clipped), floor)
        moves = (free <= clipped) & (free >= floor) & (exponent.abs() <= _EXPONENT)
        used = weights != 0  # what is beside a token of no weight may be anything
        value = torch.where(used, -gain * weights, 0.0)
        return value, torch.where(used & moves, -free * weights, 0.0)

    def watch(self, logp: Tensor, weights: Tensor, columns: Columns) -> dict[str, Tensor]:
        """Sums over the trained tokens: how far from the sampler, and what is clipped."""
        used = weights != 0
        advantage = torch.where(used, columns[ADVANTAGE], 0.0)
        exponent = torch.where(used, logp - columns[SAMPLED_LOGP], 0.0)
        rho = exponent.clamp(-_EXPONENT, _EXPONENT).exp()
        return {
            "policy_entropy": torch.where(used, -logp, 0.0).sum(),  # an estimate, by what was drawn
            "policy_mismatch": exponent.abs().sum(),
            "clipped_low": ((rho < 1 - self.low) & (advantage < 0)).sum(),
            "clipped_high": ((rho > 1 + self.high) & (advantage > 0)).sum(),
            "clipped_dual": ((rho > self.dual) & (advantage < 0)).sum(),
        }
