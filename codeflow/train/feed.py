"""What a run learns from, one step after another, and by which objective: a `Feed`.

The trainer knows no more of its data than this: token shards are one feed, rollouts of the model
that is being trained another (`codeflow.rl`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from codeflow.loopcoder.loss import Columns, Objective, cross_entropy
from codeflow.loopcoder.model import LoopCoder
from codeflow.shards.mixture import Position
from codeflow.train import data
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import World
from codeflow.train.state.trained import keep_tokenizer

Watch = Callable[[Tensor, Tensor, Columns], Mapping[str, Tensor]]
"""`(logp, weights, columns)` of a micro-batch to sums over its tokens, by what they count."""


class Feed(Protocol):
    """Steps, what they are by, and what decides them."""

    @property
    def tokenizer(self) -> str:
        """The hash of the tokenizer that the ids are of."""
        ...

    @property
    def held_out(self) -> data.Sources: ...

    @property
    def objective(self) -> Objective: ...

    @property
    def watch(self) -> Watch | None:
        """Of what it counts, the log gets the mean over a step's tokens."""
        ...

    @property
    def start(self) -> Position: ...

    @property
    def described(self) -> Mapping[str, Any]:
        """What is read, by name. A checkpoint that read something else is refused."""
        ...

    def steps(
        self, position: Position, done: int, model: LoopCoder
    ) -> Generator[data.Step, None, None]:
        """This rank's steps behind a position and so many steps. Each is asked for when the model
        has taken the one before."""
        ...

    def keep(self, run: Path) -> None:
        """Puts into a run's folder what its checkpoints need besides."""
        ...


class Shards:
    """Rows of token shards, by cross-entropy. They know nothing of the model, so they are read
    ahead of it."""

    watch: Watch | None = None

    def __init__(self, recipe: recipes.Recipe, data_dir: Path, world: World) -> None:
        self._recipe, self._world = recipe, world
        self.sources, self.held_out = data.sources_of(recipe, data_dir)
        self.tokenizer = self.sources[0].description.tokenizer
        self.start = Position((0,) * len(self.sources))
        self.objective: Objective = cross_entropy
        self._mixture = data.mixture_of(self.sources, recipe)

    @property
    def described(self) -> Mapping[str, Any]:
        return {source.name: source.describe() for source in self.sources}

    def steps(
        self, position: Position, done: int, model: LoopCoder
    ) -> Generator[data.Step, None, None]:
        return data.steps(self._mixture, self._recipe, self._world, position)

    def keep(self, run: Path) -> None:
        keep_tokenizer(self.sources[0].path, run)
