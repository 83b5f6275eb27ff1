"""Texts and conversations to ids of at most T tokens each.

A conversation that is too long is cut between messages, never within one: to the longest beginning
that ends with a trained turn, or into windows. A window starts with what stands before the first
reply, shows earlier turns as context without loss, and trains the turns that none before it did;
so every turn that fits a row is trained exactly once. A text is cut at line ends into parts that
hold each token once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from codeflow.documents.chat.conversation import ASSISTANT, Conversation
from codeflow.documents.chat.render import render
from codeflow.documents.document import END_OF_TEXT, Piece
from codeflow.documents.source import Source
from codeflow.tokens.tokenizer import Encoder, Ids
from codeflow.tokens.trim import Encoded, Weights

DROP, CUT, WINDOWS = "drop", "cut", "windows"
_BATCH_CHARS = 1 << 20
_BATCH_SOURCES = 512
_CONSTANT = ("\n", "assistant\n", "user\n")  # pieces of every conversation


class Said(NamedTuple):
    """A message in ids: (n,) and (n,), and whether it is a reply that is trained."""

    ids: Ids
    weights: Weights
    reply: bool
    trained: bool


class Window(NamedTuple):
    """Which messages a document shows, in order, and from which on they have their loss."""

    shown: tuple[int, ...]
    first: int


class Turns:
    """Encodes sources.

    Attributes:
        counts: documents by what became of them: `whole`, `cut`, `windows`; or why they were
            dropped: `too-long`, `no-target`; `turn-too-long`: replies that no row has room for.
        chars: of the text that was encoded.
        tokens: [all, trained] of what was encoded, by origin.
    """

    def __init__(self, encoder: Encoder, length: int, long: str, calls: str, rest: float) -> None:
        """
        Args:
            long: what becomes of what is too long: `drop`, `cut` or `windows`.
            calls: see `render`.
            rest: weight of what no trained turn says.
        """
        self._encoder = encoder
        self._length = length
        self._long = long
        self._calls = calls
        self._rest = rest
        self._special = {n: np.array([id], np.uint32) for n, id in encoder.special.items()}
        self._constant = dict(zip(_CONSTANT, encoder.encode(_CONSTANT), strict=True))
        self.counts: Counter[str] = Counter()
        self.chars = 0
        self.tokens: dict[str | None, list[int]] = {}

    def encode(self, sources: Iterable[Source]) -> Iterator[Encoded]:
        """The documents in the order of their sources."""
        for batch in _batches(sources):
            rendered = [self._rendered(source) for source in batch]
            texts = [
                piece.text
                for messages in rendered
                for pieces in messages
                for piece in pieces
                if not piece.special and piece.text not in self._constant
            ]
            self.chars += sum(map(len, texts))
            encoded = iter(self._encoder.encode(texts))
            for source, messages in zip(batch, rendered, strict=True):
                for ids, weights in self._documents(source, messages, encoded):
                    yield from self._made(source, ids, weights)

    def _rendered(self, source: Source) -> Sequence[Sequence[Piece]]:
        if isinstance(source.said, str):
            return [[Piece(source.said, 1.0), Piece(END_OF_TEXT, 1.0, special=True)]]
        return render(source.said, self._calls, self._rest)

    def _documents(
        self, source: Source, messages: Sequence[Sequence[Piece]], encoded: Iterator[Ids]
    ) -> Iterator[tuple[Ids, Weights]]:
        said = source.said
        if isinstance(said, str):
            whole = self._said(messages[0], encoded, reply=True, trained=True)
            yield from self._of_text(whole)
            return
        found = [
            self._said(pieces, encoded, reply=m.role == ASSISTANT, trained=m.loss)
            for pieces, m in zip(messages, said.messages, strict=True)
        ]
        if sum(len(message.ids) for message in found) <= self._length:
            self.counts["whole"] += 1
            yield _joined(found)
        elif self._long == CUT:
            yield from self._beginning(found)
        elif self._long == WINDOWS:
            yield from self._in_windows(found)
        else:
            self.counts["too-long"] += 1

    def _said(
        self, pieces: Sequence[Piece], encoded: Iterator[Ids], *, reply: bool, trained: bool
    ) -> Said:
        parts = [
            self._special[piece.text] if piece.special else self._constant.get(piece.text)
            for piece in pieces
        ]
        ids = [next(encoded) if part is None else part for part in parts]
        weights = np.repeat(
            np.array([piece.weight for piece in pieces], np.float32), [len(part) for part in ids]
        )
        return Said(np.concatenate(ids), weights, reply, reply and trained)

    def _made(self, source: Source, ids: Ids, weights: Weights) -> Iterator[Encoded]:
        weights[0] = 0
        tokens = self.tokens.setdefault(source.origin, [0, 0])
        tokens[0] += len(ids)
        trained = int(np.count_nonzero(weights))
        tokens[1] += trained
        if trained:
            yield Encoded(
                ids, weights, source.id, source.language, source.kind, origin=source.origin
            )
        else:
            self.counts["no-target"] += 1

    def _beginning(self, messages: Sequence[Said]) -> Iterator[tuple[Ids, Weights]]:
        total = last = 0
        for number, message in enumerate(messages, 1):
            total += len(message.ids)
            if total > self._length:
                break
            if message.trained:
                last = number
        self.counts["cut" if last else "too-long"] += 1
        if last:
            yield _joined(messages[:last])

    def _in_windows(self, messages: Sequence[Said]) -> Iterator[tuple[Ids, Weights]]:
        sizes = [len(message.ids) for message in messages]
        replies = [number for number, message in enumerate(messages) if message.reply]
        trained = {number for number, message in enumerate(messages) if message.trained}
        found, lost = windows(sizes, replies, self._length)
        self.counts["turn-too-long"] += len(trained.intersection(lost))
        made = [window for window in found if trained.intersection(_with_loss(window))]
        self.counts["windows" if made else "too-long"] += 1
        for number, window in enumerate(made):
            yield _joined(
                [
                    messages[k]
                    if k >= window.first or not number
                    else messages[k]._replace(weights=np.zeros_like(messages[k].weights))
                    for k in window.shown
                ]
            )

    def _of_text(self, whole: Said) -> Iterator[tuple[Ids, Weights]]:
        ids = whole.ids
        if len(ids) <= self._length:
            self.counts["whole"] += 1
            yield ids, whole.weights
            return
        if self._long == DROP:
            self.counts["too-long"] += 1
            return
        self.counts["cut"] += 1
        for start, stop in self._parts(ids):
            yield ids[start:stop], whole.weights[start:stop].copy()

    def _parts(self, ids: Ids) -> Iterator[tuple[int, int]]:
        """Where a text is cut: at the last line end that fits, or at a character's start where a
        line is so long that half of the row would stay empty."""
        start, size = 0, len(ids)
        while size - start > self._length:
            stop = start + self._length
            low = start + self._length // 2
            ends = np.flatnonzero(self._encoder.ends_line[ids[low:stop]])
            if not len(ends):
                ends = np.flatnonzero(self._encoder.starts_text[ids[low + 1 : stop + 1]])
            stop = low + 1 + int(ends[-1]) if len(ends) else stop
            yield start, stop
            start = stop
        yield start, size


def windows(
    sizes: Sequence[int], replies: Sequence[int], length: int
) -> tuple[list[Window], list[int]]:
    """How a conversation is cut into windows.

    Args:
        sizes: tokens of each message.
        replies: the numbers of those that are replies.

    Returns:
        The windows, each of which ends with a reply, and the replies that no window has room for.
        Every other reply is behind the `first` of exactly one.
    """
    bounds = [*replies, len(sizes)]
    head = tuple(range(replies[0])) if replies else ()
    room = length - sum(sizes[k] for k in head)
    found: list[Window] = []
    lost: list[int] = []
    turn = 0
    while turn < len(replies):
        first = replies[turn]
        used = sizes[first]
        if used > room:
            lost.append(first)
            turn += 1
            continue
        start = turn
        spare = (room - used) // 2  # as much again stays for turns that are new
        while start and (size := sum(sizes[bounds[start - 1] : bounds[start]])) <= spare:
            spare -= size
            used += size
            start -= 1
        last = turn
        while last + 1 < len(replies):
            more = sum(sizes[replies[last] + 1 : replies[last + 1] + 1])
            if used + more > room:
                break
            used += more
            last += 1
        shown = (*head, *range(replies[start], replies[last] + 1))
        found.append(Window(shown, first))
        turn = last + 1
    return found, lost


def _with_loss(window: Window) -> list[int]:
    return [k for k in window.shown if k >= window.first]


def _joined(messages: Sequence[Said]) -> tuple[Ids, Weights]:
    return (
        np.concatenate([message.ids for message in messages]),
        np.concatenate([message.weights for message in messages]),
    )


def _batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    batch: list[Source] = []
    chars = 0
    for source in sources:
        batch.append(source)
        chars += _size(source.said)
        if chars > _BATCH_CHARS or len(batch) == _BATCH_SOURCES:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _size(said: Conversation | str) -> int:
    if isinstance(said, str):
        return len(said)
    return sum(len(message.content) + len(message.reasoning) for message in said.messages)
