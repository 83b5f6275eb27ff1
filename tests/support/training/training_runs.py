"""Small training runs, in this process, in several that know each other, and in ones to kill.

Processes come from a fork server that has torch loaded (`ranks`), so that one costs little; each
runs one thread, since sums in another order are other bits.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from codeflow.errors import CodeflowError
from codeflow.train import recipe as recipes
from codeflow.train.guard import Guard
from codeflow.train.outcome import Result
from codeflow.train.state import checkpoint
from codeflow.train.trainer import train
from ranks import HANGS_S, become, context, meeting_port
from token_shards import write_folder

TOKENS, VOCAB = 48, 32
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def make_data(folder: Path) -> Path:
    """A dataset folder with token folders `a` and `b` of unequal sizes."""
    write_folder(folder, "a", TOKENS, VOCAB, rows=24, seed=0)
    write_folder(folder, "b", TOKENS, VOCAB, rows=13, seed=1)
    return folder


def small(steps: int = 6, **tables: Any) -> recipes.Recipe:
    """A recipe for `make_data`; keyword arguments replace whole tables, or fields by mapping."""
    base = recipes.Recipe(
        model=recipes.Model("tiny", SHAPE),
        data=recipes.Data({"a": 2, "b": 1}),
        batch=recipes.Batch(TOKENS, rows_per_step=4, micro_batch_rows=2),
        optimizer=recipes.Optimizer(lr=3e-3),
        schedule=recipes.Schedule(
            steps=steps, warmup_steps=min(2, steps // 2), decay_steps=min(2, steps // 2)
        ),
        run=recipes.Run(checkpoint_every_steps=2, diagnose_every_steps=0, log_every_steps=1000),
        validation=recipes.Validation(every_steps=0, rows=6),
    )
    changed = {
        name: dataclasses.replace(getattr(base, name), **value)
        if isinstance(value, dict)
        else value
        for name, value in tables.items()
    }
    return dataclasses.replace(base, **changed)


def losses(out: Path) -> list[float]:
    """The loss of every step, from the metrics."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [float(line["loss"]) for line in lines if line["event"] == "step"]


def hash_of(out: Path) -> str:
    """Of all that the last checkpoint holds."""
    last = checkpoint.latest(out / "checkpoints")
    assert last is not None
    return checkpoint.state_hash(last)


def launch(recipe: recipes.Recipe, data: Path, out: Path, world: int = 1, **how: Any) -> Any:
    """Starts a run in `world` processes, as torchrun would.

    Args:
        how: `absent` ranks are not started; `patch` is called first in every process, with rank.
    """
    port = meeting_port()
    ranks = [rank for rank in range(world) if rank not in how.get("absent", ())]
    processes = [
        context.Process(
            target=_one, args=(recipe, data, out, rank, world, port, how.get("patch")), daemon=True
        )
        for rank in ranks
    ]
    for process in processes:
        process.start()
    return processes


def finish(processes: Any, out: Path, timeout_s: float = HANGS_S) -> list[str]:
    """Waits for the processes; the error lines of those that failed, by rank."""
    for process in processes:
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            raise AssertionError("a training process hangs")
    return [path.read_text() for path in sorted(out.parent.glob(f"{out.name}.error-*"))]


def together(recipe: recipes.Recipe, data: Path, out: Path, world: int, **how: Any) -> list[str]:
    """A run in `world` processes, to its end."""
    return finish(launch(recipe, data, out, world, **how), out)


def kill_at(processes: Any, out: Path, step: int, delay_s: float = 0.0) -> bool:
    """`kill -9` to all, a moment after the metrics show a step; False if they ended first."""
    path = out / "metrics.jsonl"
    while any(process.is_alive() for process in processes):
        if path.exists() and f'"step": {step},' in path.read_text():
            time.sleep(delay_s)
            for process in processes:
                if process.is_alive():
                    os.kill(process.pid, signal.SIGKILL)
            for process in processes:
                process.join()
            return True
        time.sleep(0.003)
    return False


def flip_in_replica(name: str, rank: int) -> None:
    """A `patch`: one bit, in rank 1, between step 2 of the optimiser and the comparison."""
    real = Guard.after

    def after(self: Guard, done: int, saving: bool) -> None:
        if rank == 1 and done == 2:
            self._live()[name].view(-1).view(torch.int32)[0].bitwise_xor_(1)
        real(self, done, saving)

    Guard.after = after  # type: ignore[method-assign]


def _one(
    recipe: recipes.Recipe,
    data: Path,
    out: Path,
    rank: int,
    world: int,
    port: int,
    patch: Callable[[int], None] | None,
) -> None:
    become(rank, world, port)
    if patch is not None:
        patch(rank)
    try:
        train(recipe, data, out)
    except CodeflowError as error:
        out.parent.joinpath(f"{out.name}.error-{rank}").write_text(str(error))


def run(recipe: recipes.Recipe, data: Path, out: Path, **how: Any) -> Result:
    """A run in this process."""
    return train(recipe, data, out, **how)
