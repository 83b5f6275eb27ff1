"""Tiny worlds to learn by rewards in: a prompt or a few, and a grader of some lines."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

from codeflow.rl.feed import Rollouts
from codeflow.train import recipe as recipes
from codeflow.train.outcome import Result
from codeflow.train.trainer import train

STOP = 15
SHAPE = {
    "vocab_size": 16,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
ONE = [{"ids": [1]}]
ARM_7 = "def reward(line, reply):\n    return float(reply.ids[:1] == (7,))\n"


def made(
    folder: Path, prompts: list[dict[str, Any]], grader: str, steps: int = 40, **rl: Any
) -> recipes.Recipe:
    """A recipe for a world that is written to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in prompts))
    (folder / "grader.py").write_text(grader)
    usual = {"stop": (STOP,), "max_new_tokens": 1, "groups": 4, "truncated": "graded"}
    return recipes.Recipe(
        model=recipes.Model("tiny", SHAPE),
        batch=recipes.Batch(16, 8, 8),
        optimizer=recipes.Optimizer(lr=1e-2, weight_decay=0.0),
        schedule=recipes.Schedule(steps=steps, warmup_steps=1, decay_steps=1),
        run=recipes.Run(checkpoint_every_steps=0, diagnose_every_steps=0, log_every_steps=1000),
        rl=recipes.Rl("prompts.jsonl", f"{folder}/grader.py:reward", **{**usual, **rl}),
    )


def learnt(folder: Path, recipe: recipes.Recipe, **how: Any) -> Result:
    out = folder / "out"
    return train(recipe, folder, out, feed=partial(Rollouts, recipe, folder, out), **how)


def events(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = (folder / "out/metrics.jsonl").read_text().splitlines()
    return [found for found in map(json.loads, lines) if found["event"] == event]


def with_run(recipe: recipes.Recipe, **changes: Any) -> recipes.Recipe:
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, **changes))
