"""Several token folders as one endless stream of rows, in given proportions.

The order is a function of the seed and of one value, `Position`: how many rows were taken from
each folder. Row n comes from the folder that is furthest behind its share, so the proportions hold
at every point, not on average. Within a folder an epoch is a permutation of its rows, computed row
by row without a list of them, unless a curriculum sorts them by difficulty first. All ranks read
one stream, and the position of one is the position of all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final, NamedTuple

from codeflow.errors import DataError, UsageError
from codeflow.shards.format import Row
from codeflow.shards.reader import TokenShards

_ORDER: Final = 2
"""Of the way in which an order follows from a seed; a saved state of another one is refused."""


class Mixed(NamedTuple):
    """A row, the number of the folder it is from, and the state to go on behind it."""

    row: Row
    source: int
    state: dict[str, Any]


class Pick(NamedTuple):
    """The next row of a folder: which folder, and how many of its rows were taken before."""

    source: int
    taken: int


@dataclass(frozen=True)
class Position:
    """Rows taken so far from each folder. All there is to resume data."""

    taken: tuple[int, ...]

    @property
    def rows(self) -> int:
        return sum(self.taken)


@dataclass(frozen=True)
class Curriculum:
    """Each folder's rows, sorted by difficulty, in as many parts as the run has phases.

    Part p is read during phase p, again from the start (in another order) when that is longer; so
    the order depends on how many `rows` the run reads in all.
    """

    phases: int
    rows: int


class Mixture:
    """Rows of several token folders, by weight."""

    def __init__(
        self,
        sources: Sequence[TokenShards],
        weights: Sequence[float],
        seed: int = 0,
        curriculum: Curriculum | None = None,
    ) -> None:
        """
        Args:
            weights: shares of the rows, so of the tokens; they need not sum to 1.
            curriculum: from easy to hard; by default at random.

        Raises:
            UsageError: no sources, weights that are not positive numbers, one for each, or more
                phases than rows.
            DataError: folders of different tokenizers or lengths.
        """
        if (
            not sources
            or len(sources) != len(weights)
            or not all(0 < weight < math.inf for weight in weights)
        ):
            raise UsageError("mixture: give one positive weight for each of one or more folders")
        first = sources[0]
        for other in sources[1:]:
            for name in ("tokenizer", "length"):
                ours, theirs = (getattr(s.description, name) for s in (first, other))
                if ours != theirs:
                    raise DataError(
                        f"{other.path}: {name} {theirs}, but {first.path} has {ours}; "
                        "tokenize them alike"
                    )
        self.sources = tuple(sources)
        self._weights = [float(weight) for weight in weights]
        total = sum(self._weights)
        self._orders = [
            _at_random(source, seed)
            if curriculum is None
            else _easy_to_hard(source, seed, curriculum, weight / total)
            for source, weight in zip(sources, self._weights, strict=True)
        ]
        about = [[len(s), *s.description, w] for s, w in zip(sources, self._weights, strict=True)]
        order = [_ORDER, seed, None if curriculum is None else astuple(curriculum)]
        self._identity = hashlib.sha256(json.dumps([order, about]).encode()).hexdigest()[:16]

    def plan(self, position: Position, rows: int) -> tuple[list[Pick], Position]:
        """The next rows, and the position after them."""
        return plan(position, self._weights, rows)

    def index(self, pick: Pick) -> int:
        """The number that a picked row has in its folder."""
        return self._orders[pick.source](pick.taken)

    def start(self) -> dict[str, Any]:
        """The state before the first row, a plain JSON value."""
        return self._state(Position((0,) * len(self.sources)))

    def rows(
        self, state: Mapping[str, Any] | None = None, rank: int = 0, ranks: int = 1
    ) -> Iterator[Mixed]:
        """The stream from a state on, without end; rank r of R takes every R-th row from the r-th.

        Args:
            state: of any rank; the beginning by default. Ranks that go on together have to be
                given states of the same step. A state whose `row` is a multiple of `ranks` may
                be used with another number of ranks.

        Raises:
            DataError: the state is of another mixture.
        """
        state = self.start() if state is None else state
        if state["mixture"] != self._identity:
            raise DataError("mixture: the saved position is of other folders, weights or seed")
        position = Position(tuple(int(count) for count in state["taken"]))
        while True:
            picked, position = self.plan(position, ranks)
            mine = picked[rank]
            row = self.sources[mine.source][self.index(mine)]
            yield Mixed(row, mine.source, self._state(position))

    def _state(self, position: Position) -> dict[str, Any]:
        return {"mixture": self._identity, "row": position.rows, "taken": list(position.taken)}


def plan(position: Position, weights: Sequence[float], rows: int) -> tuple[list[Pick], Position]:
    """The next rows of a stream with these weights, and the position after them."""
    total = sum(weights)
    taken = list(position.taken)
    picked = []
    for count in range(position.rows + 1, position.rows + rows + 1):
        behind = [weight / total * count - t for weight, t in zip(weights, taken, strict=True)]
        source = max(range(len(taken)), key=lambda i: (behind[i], -i))
        picked.append(Pick(source, taken[source]))
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


def _at_random(source: TokenShards, seed: int) -> Callable[[int], int]:
    """By how many rows of a folder were taken before, which is next; epochs differ."""

    def next_row(taken: int) -> int:
        epoch, index = divmod(taken, len(source))
        return shuffled(index, len(source), f"{seed}/{source.name}/{epoch}")

    return next_row


def _easy_to_hard(
    source: TokenShards, seed: int, curriculum: Curriculum, share: float
) -> Callable[[int], int]:
    """The same for a curriculum, of which the folder has a share."""
    rows, phases = len(source), curriculum.phases
    if rows < phases:
        raise UsageError(f"{source.path}: {rows} rows for {phases} phases: give fewer phases")
    total = max(phases, round(curriculum.rows * share))
    easiest = source.easiest_first()

    def next_row(taken: int) -> int:
        phase = min(taken * phases // total, phases - 1)
        before = -(-phase * total // phases)
        part = easiest[phase * rows // phases : (phase + 1) * rows // phases]
        epoch, index = divmod(taken - before, len(part))
        key = f"{seed}/{source.name}/{phase}/{epoch}"
        return int(part[shuffled(index, len(part), key)])

    return next_row
