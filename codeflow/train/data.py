"""Which rows a step reads, and reading them ahead of the step that needs them.

The order is that of `codeflow.shards.mixture`. Every rank plans the whole global step and reads its
own rows of it, so the data do not depend on the number of ranks, of threads, or on an interruption.

Cost: planning is some microseconds a row; reading is a copy of T tokens, done by threads.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from codeflow.errors import DataError, UsageError
from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.context import Part
from codeflow.loopcoder.loss import Columns, next_tokens
from codeflow.shards.format import Row
from codeflow.shards.mixture import Curriculum, Mixture, Pick, Position
from codeflow.shards.reader import TokenShards
from codeflow.storage.layout import TOKENS
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import World

Sources = tuple[TokenShards, ...]
_AHEAD = 2  # steps read ahead of the one that is computed, beyond one a worker


def sources_of(recipe: recipes.Recipe, data_dir: Path) -> tuple[Sources, Sources]:
    """What a recipe trains on, and what is held out of it (nothing when it validates never).

    Raises UsageError when shards, tokenizer, model and recipe do not belong together.
    """
    names, length = tuple(recipe.data.sources), recipe.batch.sequence_tokens
    train = open_sources(data_dir, names, "train", length, recipe.data.tokenizer)
    check_vocabulary(train, recipe.model.config.vocab_size)
    if not recipe.validation.every_steps:
        return train, ()
    return train, open_sources(
        data_dir, names, "validation", length, train[0].description.tokenizer
    )


def open_sources(
    data: Path, names: tuple[str, ...], split: str, sequence_tokens: int, tokenizer: str
) -> Sources:
    """The named folders below `data/tokens`, all of one tokenizer and length.

    Args:
        tokenizer: the hash they must have, or empty for whichever they share.

    Raises:
        UsageError: one is not there, or is not what the recipe needs.
        DataError: damaged shards.
    """
    absent = missing(data, names)
    if absent:
        raise UsageError(f"{data}: no token folders {', '.join(absent)} in {data / 'tokens'}")
    sources = tuple(TokenShards(data / TOKENS / name, split) for name in names)
    wanted = tokenizer or sources[0].description.tokenizer
    for source in sources:
        has = source.description
        if has.length != sequence_tokens:
            raise UsageError(
                f"{source.path}: rows of {has.length} tokens, the recipe's "
                f"batch.sequence_tokens is {sequence_tokens}"
            )
        if has.tokenizer != wanted:
            raise UsageError(
                f"{source.path}: made with tokenizer {has.tokenizer}, this run needs {wanted}"
            )
    return sources


def missing(data: Path, names: tuple[str, ...]) -> list[str]:
    """Those of the named token folders that are not there."""
    return [name for name in names if not (data / TOKENS / name).is_dir()]


def check_vocabulary(sources: Sources, vocab_size: int) -> None:
    """Raises UsageError when a tokenizer has more tokens than the model has."""
    for source in sources:
        has = source.description.vocab_size
        if has > vocab_size:
            raise UsageError(
                f"{source.path}: its tokenizer has {has:,} tokens, the recipe's model "
                f"{vocab_size:,}: set model.overrides.vocab_size = {has}, or run codeflow tokenize "
                "with a smaller tokenizer"
            )


def data_hash(described: Mapping[str, Any]) -> str:
    """Identity of what a run reads (of rows, by order and number)."""
    text = json.dumps(described, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def mixture_of(sources: Sources, recipe: recipes.Recipe) -> Mixture:
    """The stream that a recipe trains on."""
    weights = [float(recipe.data.sources[source.name]) for source in sources]
    rows = recipe.schedule.steps * recipe.batch.rows_per_step
    by_difficulty = recipe.data.order == "curriculum"
    curriculum = Curriculum(recipe.data.phases, rows) if by_difficulty else None
    return Mixture(sources, weights, recipe.seed, curriculum)


@dataclass(frozen=True)
class MicroBatch:
    """One forward pass of one rank: (B, t) tokens, targets, weights, and how rows are packed.

    t is T, or this rank's part of it; `rows` are whole. `columns` are further numbers of each
    target, by name, for an objective that needs them.
    """

    input_ids: Tensor
    documents: Documents
    targets: Tensor
    weights: Tensor
    rows: tuple[Row, ...]
    columns: Columns = field(default_factory=dict)

    def of(self, part: Part | None) -> MicroBatch:
        """This rank's part of whole rows. Targets were taken before: a chunk's last token has to
        predict the next chunk's first."""
        if part is None:
            return self
        here = replace(self.documents, part=part)
        return replace(self._each(part.take), documents=here)

    def ready_for(self, device: str) -> MicroBatch:
        """In memory that a GPU reaches by itself, so that nobody waits for its copies."""
        return self if device == "cpu" else self._each(Tensor.pin_memory)

    def to(self, device: str) -> tuple[Tensor, Documents, Tensor, Tensor, Columns]:
        """What the model takes, on its device."""
        there = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        return there.input_ids, there.documents, there.targets, there.weights, there.columns

    def _each(self, change: Callable[[Tensor], Tensor]) -> MicroBatch:
        return replace(
            self,
            input_ids=change(self.input_ids),
            targets=change(self.targets),
            weights=change(self.weights),
            columns={name: change(column) for name, column in self.columns.items()},
        )


@dataclass(frozen=True)
class Step:
    """What one rank computes in one optimiser step, and the position after it.

    `about` is what there is to say of where it comes from, for the log.
    """

    micros: tuple[MicroBatch, ...]
    after: Position
    about: Mapping[str, Any] = field(default_factory=dict)

    def counts(self, window: int) -> tuple[float, float, float, float, float]:
        """Of what this rank computes: the targets' weight, its tokens, the targets' number, and the
        pairs of a query and a key that causal attention and the window leave."""
        weight = tokens = targets = causal = near = 0.0
        for micro in self.micros:
            weight += float(micro.weights.double().sum())
            tokens += micro.input_ids.numel()
            targets += int((micro.weights > 0).sum())
            share = micro.documents.part.size if micro.documents.part else 1
            causal += micro.documents.pairs() / share
            near += micro.documents.pairs(window) / share
        return weight, tokens, targets, causal, near


def collate(rows: Sequence[Row]) -> MicroBatch:
    """Stacks rows of one length."""
    ids = torch.from_numpy(np.stack([row.input_ids for row in rows]).astype(np.int64))
    weights = torch.from_numpy(np.stack([row.token_weights for row in rows]))
    documents = Documents.of([row.doc_lengths.tolist() for row in rows])
    targets, weights = next_tokens(ids, weights, documents)
    return MicroBatch(ids, documents, targets, weights, tuple(rows))


def checked(source: TokenShards, index: int, vocab_size: int) -> Row:
    """A row whose tokens the model knows. Raises DataError that names the shard otherwise."""
    row = source[index]
    if row.input_ids.max() >= vocab_size:
        raise DataError(
            f"{source.path_of(index)}: token {row.input_ids.max()}, but the model's vocabulary "
            f"ends at {vocab_size}: set model.overrides.vocab_size to the tokenizer's"
        )
    return row


def steps(
    mixture: Mixture, recipe: recipes.Recipe, world: World, start: Position
) -> Generator[Step, None, None]:
    """Endless steps of this rank from a position on, read ahead by `run.data_workers` threads."""
    batch, vocab_size = recipe.batch, recipe.model.config.vocab_size
    factors = [recipe.data.loss_weights.get(source.name, 1) for source in mixture.sources]

    def row_of(pick: Pick) -> Row:
        row = checked(mixture.sources[pick.source], mixture.index(pick), vocab_size)
        factor = np.float32(factors[pick.source])
        return row if factor == 1 else row._replace(run_weights=row.run_weights * factor)

    def plans() -> Iterator[tuple[list[Pick], Position]]:
        position = start
        while True:
            picked, position = mixture.plan(position, batch.rows_per_step)
            yield picked, position

    def read(planned: tuple[list[Pick], Position]) -> Step:
        picked, after = planned
        width = batch.micro_batch_rows
        micros = []
        for first in range(world.reader * width, batch.rows_per_step, world.readers * width):
            rows = [row_of(pick) for pick in picked[first : first + width]]
            micros.append(collate(rows).of(world.part).ready_for(world.device))
        return Step(tuple(micros), after)

    return ahead(read, plans(), recipe.run.data_workers)


In = TypeVar("In")
Out = TypeVar("Out")


def ahead(
    function: Callable[[In], Out], items: Iterable[In], workers: int
) -> Generator[Out, None, None]:
    """`map`, in order, computed ahead by threads; 0 workers is plain `map`."""
    if not workers:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="data")
    waiting: deque[Future[Out]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers + _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def validation_micros(
    source: TokenShards, recipe: recipes.Recipe, world: World
) -> Iterator[MicroBatch]:
    """This rank's part of the first validation rows of a source, in stored order.

    All have the shape that training has, so that nothing is compiled for another one, and every
    rank gives equally many, since FSDP2 needs all of them in every forward pass: what is missing
    is the source's first row with no weight.
    """
    width, vocab_size = recipe.batch.micro_batch_rows, recipe.model.config.vocab_size
    last = min(len(source), recipe.validation.rows)
    for first in range(0, last, world.readers * width):
        mine = range(first + world.reader * width, min(last, first + (world.reader + 1) * width))
        filled = [*mine, *[0] * (width - len(mine))]
        micro = collate([checked(source, i, vocab_size) for i in filled])
        micro.weights[len(mine) :] = 0
        yield micro.of(world.part)
