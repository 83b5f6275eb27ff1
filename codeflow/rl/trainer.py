"""GRPO by the trainer: the same loop, checkpoints, checks and log, with rollouts as its feed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codeflow.rl.feed import Rollouts
from codeflow.train import recipe as recipes
from codeflow.train import trainer
from codeflow.train.outcome import Result


def train(recipe: recipes.Recipe, data_dir: Path, out: Path, **how: Any) -> Result:
    """Runs a recipe that has `[rl]`, or goes on with it (`codeflow.train.trainer.train`).

    Args:
        data_dir: what `rl.prompts` is relative to.
    """
    return trainer.train(
        recipe, data_dir, out, feed=lambda world: Rollouts(recipe, data_dir, out, world), **how
    )
