"""Which rows a step reads, and reading them ahead of the step that needs them.

The order is a function of the seed and of one value, `Position`: how many rows were taken from
each source. The next row comes from the source that is furthest behind its share; within a source
an epoch is a permutation computed row by row, without a list of rows, unless a curriculum sorts
them by difficulty first. Every rank plans the whole global step and reads its own rows of it, so
the data do not depend on the number of ranks, of threads, or on an interruption.

Cost: planning is some microseconds a row; reading is a copy of T tokens, done by threads.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from codeflow.errors import DataError, UsageError
from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.context import Part
from codeflow.loopcoder.loss import next_tokens
from codeflow.shards.reader import Row, Source, check_vocabulary, open_sources
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import World

Sources = tuple[Source, ...]
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
    return train, open_sources(data_dir, names, "validation", length, train[0].tokenizer)


@dataclass(frozen=True)
class Position:
    """Rows taken so far from each source, in the recipe's order. All there is to resume data."""

    taken: tuple[int, ...]

    @property
    def rows(self) -> int:
        return sum(self.taken)


@dataclass(frozen=True)
class MicroBatch:
    """One forward pass of one rank: (B, t) tokens, targets, weights, and how rows are packed.

    t is T, or this rank's part of it; `rows` are whole.
    """

    input_ids: Tensor
    documents: Documents
    targets: Tensor
    weights: Tensor
    rows: tuple[Row, ...]

    def of(self, part: Part | None) -> MicroBatch:
        """This rank's part of whole rows. Targets were taken before: a chunk's last token has to
        predict the next chunk's first."""
        if part is None:
            return self
        ids, targets, weights = map(part.take, (self.input_ids, self.targets, self.weights))
        return MicroBatch(ids, replace(self.documents, part=part), targets, weights, self.rows)

    def to(self, device: str) -> tuple[Tensor, Documents, Tensor, Tensor]:
        """What the model takes, on its device."""
        ids, targets, weights = self.input_ids, self.targets, self.weights
        return ids.to(device), self.documents, targets.to(device), weights.to(device)


@dataclass(frozen=True)
class Step:
    """What one rank computes in one optimiser step, and the position after it."""

    micros: tuple[MicroBatch, ...]
    after: Position

    def counts(self, window: int) -> tuple[float, float, float, float]:
        """Of what this rank computes: the targets' weight, their number, and the pairs of a query
        and a key that causal attention and the window leave."""
        weight = targets = causal = near = 0.0
        for micro in self.micros:
            weight += float(micro.weights.double().sum())
            targets += int((micro.weights > 0).sum())
            share = micro.documents.part.size if micro.documents.part else 1
            causal += micro.documents.pairs() / share
            near += micro.documents.pairs(window) / share
        return weight, targets, causal, near


def plan(
    position: Position, shares: Sequence[float], rows: int
) -> tuple[list[tuple[int, int]], Position]:
    """The next rows as (source, how many of it were taken before), and the position after them."""
    total = sum(shares)
    taken = list(position.taken)
    picked = []
    for count in range(position.rows + 1, position.rows + rows + 1):
        behind = [share / total * count - t for share, t in zip(shares, taken, strict=True)]
        source = max(range(len(taken)), key=lambda i: (behind[i], -i))
        picked.append((source, taken[source]))
        taken[source] += 1
    return picked, Position(tuple(taken))


def shuffled(index: int, size: int, key: str) -> int:
    """Where a permutation of `range(size)`, fixed by the key, sends an index.

    A four-round Feistel network over the next even number of bits, walked until it lands inside:
    at most four rounds on average, no memory.
    """
    half = max(1, -(-(size - 1).bit_length() // 2))
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(4):
            digest = hashlib.blake2b(f"{key}/{turn}/{right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest) & mask)
        index = left << half | right
        if index < size:
            return index


def row_of(source: Source, taken: int, seed: int) -> int:
    """The row that is read when `taken` rows of the source were read before; epochs differ."""
    epoch, index = divmod(taken, len(source))
    return shuffled(index, len(source), f"{seed}/{source.name}/{epoch}")


def order_of(source: Source, recipe: recipes.Recipe) -> Callable[[int], int]:
    """By how many rows of a source were taken before: which row is next.

    A curriculum cuts the rows, sorted by difficulty, into as many parts as the run has phases. It
    reads part p during phase p, again from the start (in another order) when that is longer. So
    the order depends on the length of the run, which is part of the recipe.
    """
    settings, seed = recipe.data, recipe.seed
    if settings.order == "random":
        return lambda taken: row_of(source, taken, seed)
    rows, phases = len(source), settings.phases
    if rows < phases:
        raise UsageError(
            f"{source.folder}: {rows} rows for data.phases = {phases}: give fewer phases"
        )
    share = settings.sources[source.name] / sum(settings.sources.values())
    total = max(phases, round(recipe.schedule.steps * recipe.batch.rows_per_step * share))
    easiest = source.easiest_first()

    def next_row(taken: int) -> int:
        phase = min(taken * phases // total, phases - 1)
        before = -(-phase * total // phases)
        part = easiest[phase * rows // phases : (phase + 1) * rows // phases]
        epoch, index = divmod(taken - before, len(part))
        key = f"{seed}/{source.name}/{phase}/{epoch}"
        return int(part[shuffled(index, len(part), key)])

    return next_row


def collate(rows: Sequence[Row]) -> MicroBatch:
    """Stacks rows of one length."""
    ids = torch.from_numpy(np.stack([row.input_ids for row in rows]))
    weights = torch.from_numpy(np.stack([row.weights for row in rows]))
    documents = Documents.of([row.doc_lengths for row in rows])
    targets, weights = next_tokens(ids, weights, documents)
    return MicroBatch(ids, documents, targets, weights, tuple(rows))


def checked(source: Source, index: int, vocab_size: int) -> Row:
    """A row whose tokens the model knows. Raises DataError that names the shard otherwise."""
    row = source.row(index)
    if row.input_ids.max() >= vocab_size:
        raise DataError(
            f"{source.path_of(index)}: token {row.input_ids.max()}, but the model's vocabulary "
            f"ends at {vocab_size}: set model.overrides.vocab_size to the tokenizer's"
        )
    return row


def steps(
    sources: Sequence[Source], recipe: recipes.Recipe, world: World, start: Position
) -> Generator[Step, None, None]:
    """Endless steps of this rank from a position on, read ahead by `run.data_workers` threads."""
    batch, vocab_size = recipe.batch, recipe.model.config.vocab_size
    shares = [float(recipe.data.sources[source.name]) for source in sources]
    orders = [order_of(source, recipe) for source in sources]

    def plans() -> Iterator[tuple[list[tuple[int, int]], Position]]:
        position = start
        while True:
            picked, position = plan(position, shares, batch.rows_per_step)
            yield picked, position

    def read(planned: tuple[list[tuple[int, int]], Position]) -> Step:
        picked, after = planned
        width = batch.micro_batch_rows
        micros = []
        for first in range(world.reader * width, batch.rows_per_step, world.readers * width):
            chosen = picked[first : first + width]
            rows = [checked(sources[s], orders[s](n), vocab_size) for s, n in chosen]
            micros.append(collate(rows).of(world.part))
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


def validation_micros(source: Source, recipe: recipes.Recipe, world: World) -> Iterator[MicroBatch]:
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
