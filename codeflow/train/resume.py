"""The proof that resuming changes nothing: the same steps in one go, and stopped and resumed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from codeflow.errors import CodeflowError, UsageError
from codeflow.storage.layout import ROLLOUTS
from codeflow.train.feed import Feed
from codeflow.train.recipe import Recipe, read_recipe
from codeflow.train.state.checkpoint import state_hash
from codeflow.train.state.parallel import World
from codeflow.train.trainer import train


@dataclass(frozen=True)
class Proof:
    """Two runs of the same steps: one in one go, one stopped and resumed."""

    steps: int
    stopped_at: int
    straight: str
    resumed: str

    @property
    def ok(self) -> bool:
        return self.straight == self.resumed

    def __str__(self) -> str:
        verdict = "equal: resuming is exact" if self.ok else "DIFFERENT: resuming is not exact"
        return (
            f"{self.steps} steps in one go            {self.straight}\n"
            f"{self.stopped_at} steps, resumed, {self.steps - self.stopped_at} more  "
            f"{self.resumed}\n"
            f"{verdict}"
        )


def verify_resume(
    recipe_path: Path,
    data: Path,
    work: Path,
    steps: int,
    at: int,
    settings: Sequence[str] = (),
    feed: Callable[[Recipe, Path, Path, World], Feed] | None = None,
) -> Proof:
    """Trains `steps` steps twice in `work`, the second time stopped after `at` and resumed with
    another number of data workers; the hashes are over weights, optimiser, generators, position.

    Each of the three trainings is a process of its own that compiles its own kernels, since a run
    that is resumed is one, too. Rollouts are those of the first, as a run that is resumed finds its
    own: a grader may be random.

    Args:
        feed: what to learn from, in place of the recipe's token shards; made in each process.
    """
    recipe = read_recipe(recipe_path, settings)
    if not 0 < at < steps <= recipe.schedule.steps:
        raise UsageError(
            f"verify-resume: need 0 < {at} < {steps} <= schedule.steps = {recipe.schedule.steps}"
        )
    quiet = replace(recipe.run, checkpoint_every_steps=0, sinks=())
    recipe = replace(recipe, run=quiet, validation=replace(recipe.validation, every_steps=0))
    other = replace(recipe, run=replace(quiet, data_workers=quiet.data_workers + 2))
    straight = _trained_apart(recipe, data, work / "straight", steps, feed)
    if (work / "straight" / ROLLOUTS).is_dir():
        shutil.copytree(work / "straight" / ROLLOUTS, work / "resumed" / ROLLOUTS)
    _trained_apart(recipe, data, work / "resumed", at, feed)
    resumed = _trained_apart(other, data, work / "resumed", steps, feed)
    return Proof(steps, at, state_hash(straight), state_hash(resumed))


def _trained_apart(recipe: Recipe, data: Path, out: Path, steps: int, feed: Any) -> Path:
    """The checkpoint after so many steps, from a new process. Raises what it raises."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        try:
            return apart.submit(_train, recipe, data, out, steps, feed).result()
        except BrokenProcessPool:
            raise CodeflowError(
                f"{out}: the process that trained was killed; is there too little memory?"
            ) from None


def _train(recipe: Recipe, data: Path, out: Path, steps: int, feed: Any) -> Path:
    """Runs in the new process. Kernels that another one has compiled are not taken from it."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(out.parent / f"kernels-{os.getpid()}")
    made = None if feed is None else partial(feed, recipe, data, out)
    return train(recipe, data, out, stop_after=steps, feed=made).checkpoint
