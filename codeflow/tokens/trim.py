"""Encoded documents, and which of their tokens can be given up for room, whole lines at a time.

Two kinds of tokens can: the context before a body, whose least important files go first, and what
lies around the hole of a fill-in-the-middle document, which goes from the far ends. In both the
stretch of lines that stays is chosen among neighbouring ones, so that it fills the room to a token
or so: cutting at the first line end that fits would leave half a line, 1% of a row of 512 tokens.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from codeflow.tokens.tokenizer import Ids

Weights = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]
_TRIED = 16  # starts before and behind the wanted one


class Spare(Protocol):
    """What a document of `total` tokens can do without."""

    @property
    def least(self) -> int:
        """Tokens that stay when all of it is given up."""

    def kept(self, size: int) -> list[slice]:
        """What stays of the ids, at most `size` tokens; `least` <= `size` < the document's."""


class Encoded(NamedTuple):
    """A document of n tokens.

    Attributes:
        ids: (n,).
        weights: (n,), of each token as a target; 0 for the first, which never is one.
        spare: what can be given up; None for nothing.
        triple_id, language, kind, origin: its labels in a row, see `codeflow.shards.format`.
    """

    ids: Ids
    weights: Weights
    triple_id: str
    language: str | None
    kind: str
    spare: Spare | None = None
    origin: str | None = None

    @property
    def least(self) -> int:
        """Tokens that cannot be given up."""
        return len(self.ids) if self.spare is None else self.spare.least

    def trimmed(self, size: int) -> Encoded:
        """The document in at most `size` tokens, which has to be `least` or more.

        What was trimmed is not trimmed again.
        """
        if self.spare is None or size >= len(self.ids):
            return self
        kept = self.spare.kept(size)
        weights = np.concatenate([self.weights[part] for part in kept])
        weights[0] = 0
        return self._replace(
            ids=np.concatenate([self.ids[part] for part in kept]), weights=weights, spare=None
        )


class Context(NamedTuple):
    """The context files of a document; the least important, the first, go first.

    The file at which the room ends keeps its name and some of its lines.

    Attributes:
        total: tokens of the document.
        files: (F, 2), where each file starts and where its content does.
        body: where the body starts.
        breaks: positions in the context behind a line end.
    """

    total: int
    files: Positions
    body: int
    breaks: Positions

    @property
    def least(self) -> int:
        return self.total - (self.body - int(self.files[0, 0]))

    def kept(self, size: int) -> list[slice]:
        starts, first = self.files[:, 0], int(self.files[0, 0])
        wanted = self.body - (size - self.least)  # context before this has to go
        at = int(np.searchsorted(starts, wanted, side="right")) - 1
        start, content = (int(place) for place in self.files[at])
        following = int(starts[at + 1]) if at + 1 < len(starts) else self.body
        if wanted == start:
            return [slice(0, first), slice(start, None)]
        room = following - wanted - (content - start)
        low, high = np.searchsorted(self.breaks, [content + 1, following])
        lines = self.breaks[low:high]
        begin, end = fullest(
            np.append(np.int32(content), lines),
            np.append(lines, np.int32(following)),
            following - room,
            room,
        )
        if begin == end:
            return [slice(0, first), slice(following, None)]
        return [
            slice(0, first),
            slice(start, content),
            slice(begin, end),
            slice(following, None),
        ]


class Around(NamedTuple):
    """What lies around a hole: a document keeps `first` tokens, a stretch that holds the hole, and
    what stands from `last` on.

    Attributes:
        total: tokens of the document.
        first: where the text before the hole starts.
        last: where the text behind it ends.
        starts: where the stretch may start, in order; `first` is one.
        stops: where it may stop, in order; `last` is one.
    """

    total: int
    first: int
    last: int
    starts: Positions
    stops: Positions

    @property
    def least(self) -> int:
        return self.total - (self.last - self.first) + int(self.stops[0] - self.starts[-1])

    def kept(self, size: int) -> list[slice]:
        """The text before and the text behind give up equal shares of what they can."""
        room = size - (self.total - (self.last - self.first))
        before, after = int(self.starts[-1]) - self.first, self.last - int(self.stops[0])
        spare = room - int(self.stops[0] - self.starts[-1])
        wanted = int(self.starts[-1]) - spare * before // max(1, before + after)
        begin, end = fullest(self.starts, self.stops, wanted, room)
        return [slice(0, self.first), slice(begin, end), slice(self.last, None)]


def fullest(starts: Positions, stops: Positions, wanted: int, room: int) -> tuple[int, int]:
    """The longest stretch of at most `room` tokens that starts near `wanted`.

    Args:
        starts: (S,) where it may start, in order, at least one.
        stops: (E,) where it may stop, in order; there may be none, as in a file of one long line.

    Returns:
        Start and stop; equal where nothing fits.
    """
    near = int(np.searchsorted(starts, wanted))
    if not len(stops):
        return int(starts[0]), int(starts[0])
    some = starts[max(0, near - _TRIED) : near + _TRIED]
    places = np.searchsorted(stops, some + room, side="right") - 1
    ends = np.where(places < 0, some, stops[places])
    best = int(np.argmax(ends - some))
    return int(some[best]), max(int(some[best]), int(ends[best]))


def around(ids: Ids, marks: tuple[int, int, int], breaks: Positions, keep: float) -> Around:
    """The layout of a fill-in-the-middle document, `...PREFIX text SUFFIX text MIDDLE ...`.

    Args:
        ids: (n,) of the document.
        marks: the ids of the three special tokens; each is in the document once.
        breaks: where it may be cut, in order.
        keep: share of either text that stays at least; so does what lies between the hole and the
            nearest break.
    """
    prefix, hole, last = (int(np.argmax(ids == mark)) for mark in marks)
    first, behind = prefix + 1, hole + 1
    least_before, least_after = int(keep * (hole - first)), int(keep * (last - behind))
    bounds = [first + 1, max(first + 1, hole - least_before), behind + least_after + 1, last]
    a, b, c, d = np.searchsorted(breaks, bounds)
    starts, stops = breaks[a:b], breaks[c:d]
    return Around(
        len(ids),
        first,
        last,
        np.append(np.int32(first), starts),
        np.append(stops, np.int32(last)),
    )
