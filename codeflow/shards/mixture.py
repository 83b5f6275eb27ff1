"""Several token folders as one endless stream of rows, in given proportions.

Row n comes from the folder that is furthest behind its share, so the proportions hold at every
point, not on average. Within a folder every epoch is a random permutation of all its rows. Rank r
of R takes the rows whose number is r modulo R, so all ranks together read one stream, and the
state of one is the state of all. The state is a plain JSON value; seeking costs nothing but the
permutation of the running epoch (8 bytes a row).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from codeflow.errors import DataError, UsageError
from codeflow.shards.writer import Row, TokenShards


class Mixed(NamedTuple):
    """A row, the number of the folder it is from, and the state to go on behind it."""

    row: Row
    source: int
    state: dict[str, Any]


class Mixture:
    """Rows of several token folders, by weight."""

    def __init__(
        self, sources: Sequence[TokenShards], weights: Sequence[float], seed: int = 0
    ) -> None:
        """
        Args:
            weights: shares of the rows, so of the tokens; they need not sum to 1.

        Raises:
            UsageError: no sources, or weights that are not positive numbers, one for each.
            DataError: folders of different tokenizers or lengths.
        """
        if not sources or len(sources) != len(weights) or not all(w > 0 for w in weights):
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
        for source in sources:
            if not len(source):
                raise DataError(f"{source.path}: no rows in {source.split}")
        self._sources = list(sources)
        self._shares = np.array(weights, np.float64) / sum(weights)
        self._seed = seed
        about = [[len(s), *s.description, float(w)] for s, w in zip(sources, weights, strict=True)]
        self._identity = hashlib.sha256(json.dumps([seed, about]).encode()).hexdigest()[:16]
        self._orders: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}

    def start(self) -> dict[str, Any]:
        """The state before the first row."""
        return {"mixture": self._identity, "row": 0, "taken": [0] * len(self._sources)}

    def rows(
        self, state: Mapping[str, Any] | None = None, rank: int = 0, ranks: int = 1
    ) -> Iterator[Mixed]:
        """The stream from a state on, without end.

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
        number, taken = int(state["row"]), [int(count) for count in state["taken"]]
        while True:
            chosen = None
            for k in range(ranks):
                behind = self._shares * (number + 1) - taken
                source = int(np.argmax(behind))
                if k == rank:
                    chosen = source, taken[source]
                taken[source] += 1
                number += 1
            assert chosen is not None
            after = {"mixture": self._identity, "row": number, "taken": list(taken)}
            yield Mixed(self._row(*chosen), chosen[0], after)

    def _row(self, source: int, count: int) -> Row:
        """The row that a folder gives after `count` others."""
        shards = self._sources[source]
        epoch, place = divmod(count, len(shards))
        if self._orders.get(source, (-1,))[0] != epoch:
            chance = np.random.Generator(np.random.PCG64([self._seed, source, epoch]))
            self._orders[source] = epoch, chance.permutation(len(shards))
        row: Row = shards[int(self._orders[source][1][place])]
        return row
