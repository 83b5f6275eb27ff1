"""Documents to ids: encode, fill the room before the body with context, cut what is too long.

Bodies are encoded in batches. Context is read and encoded file by file until the budget is full.
The ids of recent contents are kept (64 MB), because neighbouring triples of a repository show the
same files: on two repositories that spared 57% of the encoding at T = 4,096, 85% at 32K, 96% at
128K. The last file is cut to whole lines, so a document with enough context falls a token or
so short of the budget, and rows fill up. A fill-in-the-middle document that is too long loses what
lies farthest from its hole.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from codeflow.documents.document import (
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    ContextFile,
    Document,
    Piece,
)
from codeflow.documents.pieces import file_name
from codeflow.tokens.tokenizer import Encoder, Ids
from codeflow.tokens.trim import Context, Encoded, Positions, around, fullest

_BATCH_CHARS = 1 << 20
_BATCH_DOCUMENTS = 128
_CACHED_TOKENS = 1 << 24
_LEAST_ROOM = 16  # tokens; less context than this is not worth a name
_KEPT = 1 / 3  # of the text on either side of a hole stays when a row is filled

_Part = tuple[Ids, float]


class Fitter:
    """Encodes documents to at most `length` tokens each.

    Attributes:
        counts: documents by what happened to them: `whole`, `cut`, `trimmed` (lost what lies
            farthest from its hole), or why they were dropped: `too-long`, `no-target` (nothing in
            it would be learnt).
        chars: of the text that was encoded or taken from the cache, specials not counted.
    """

    def __init__(self, encoder: Encoder, length: int, cut: bool) -> None:
        """
        Args:
            cut: whether a document that is too long is cut at line ends, or dropped.
        """
        self._encoder = encoder
        self._length = length
        self._cut = cut
        special = encoder.special
        self._marks = special[FIM_PREFIX], special[FIM_SUFFIX], special[FIM_MIDDLE]
        self._cache: OrderedDict[str, Ids] = OrderedDict()
        self._cached_tokens = 0
        self.counts: Counter[str] = Counter()
        self.chars = 0

    def encode(self, documents: Iterable[Document]) -> Iterator[Encoded]:
        """The documents in their order, cut ones as several."""
        for batch in _batches(documents):
            texts = [
                piece.text
                for document in batch
                for piece in (*document.head, *document.body)
                if not piece.special
            ]
            self.chars += sum(map(len, texts))
            encoded = iter(self._encoder.encode(texts))
            for document in batch:
                head = self._parts(document.head, encoded)
                body = self._parts(document.body, encoded)
                yield from self._fitted(document, head, body)

    def _parts(self, pieces: Iterable[Piece], encoded: Iterator[Ids]) -> list[_Part]:
        return [
            (self._special(piece.text) if piece.special else next(encoded), piece.weight)
            for piece in pieces
        ]

    def _special(self, name: str) -> Ids:
        return np.array([self._encoder.special[name]], np.uint32)

    def _fitted(
        self, document: Document, head: list[_Part], body: list[_Part]
    ) -> Iterator[Encoded]:
        taken = sum(len(ids) for ids, _ in (*head, *body))
        room = self._length - taken
        context = self._context(document, room) if room >= _LEAST_ROOM else []
        parts = [*head, *context, *body]
        made = Encoded(
            np.concatenate([ids for ids, _ in parts]),
            np.repeat(
                np.array([weight for _, weight in parts], np.float32),
                [len(ids) for ids, _ in parts],
            ),
            document.triple_id,
            document.language,
            document.kind,
        )
        outcome = "whole"
        hole = any(piece.special and piece.text == FIM_MIDDLE for piece in document.body)
        if hole and len(made.ids) > self._length:
            made, outcome = self._around_hole(made), "trimmed"
        if len(made.ids) > self._length:
            if document.whole or not self._cut:
                self.counts["too-long"] += 1
                return
            outcome = "cut"
        self.counts[outcome] += 1
        start = 0
        for stop in self._ends(made.ids):
            weights = made.weights[start:stop].copy()
            weights[0] = 0
            part = made._replace(ids=made.ids[start:stop], weights=weights)
            start = stop
            if not weights.any():
                self.counts["no-target"] += 1
            elif context:
                yield self._with_layout(part, head, context)
            elif hole:
                breaks = _behind(self._encoder.ends_line[part.ids])
                yield part._replace(spare=around(part.ids, self._marks, breaks, _KEPT))
            else:
                yield part

    def _with_layout(
        self, made: Encoded, head: Sequence[_Part], context: Sequence[_Part]
    ) -> Encoded:
        """Notes where the context lies; its parts come in threes: mark, name, content."""
        first = sum(len(part) for part, _ in head)
        ends = first + np.cumsum([len(part) for part, _ in context])
        starts = np.concatenate([[first], ends[2:-1:3]])
        body = int(ends[-1])
        breaks = np.int32(first) + _behind(self._encoder.ends_line[made.ids[first:body]])
        files = np.stack([starts, ends[1::3]], axis=1).astype(np.int32)
        return made._replace(spare=Context(len(made.ids), files, body, breaks))

    def _around_hole(self, made: Encoded) -> Encoded:
        """A fill-in-the-middle document without what is too far from its hole to fit.

        Cut at line ends, or between any two characters where lines are so long that half of the
        row would stay empty. Unchanged where the middle is too long.
        """
        at_lines = _behind(self._encoder.ends_line[made.ids])
        anywhere = np.flatnonzero(self._encoder.starts_text[made.ids]).astype(np.int32)
        for breaks in (at_lines, anywhere):
            spare = around(made.ids, self._marks, breaks, 0)
            if spare.least <= self._length:
                small = made._replace(spare=spare).trimmed(self._length)
                if breaks is anywhere or len(small.ids) > self._length // 2:
                    return small
        return made

    def _ends(self, ids: Ids) -> Iterator[int]:
        """Where to cut: behind the last line end that fits, if it leaves more than half a row.

        A single token is never left for the end: the first of a part is no target, so the end
        mark would not be learnt.
        """
        start, half = 0, self._length // 2
        while len(ids) - start > self._length:
            part = ids[start + half : start + self._length]
            lines = np.flatnonzero(self._encoder.ends_line[part]) + half + 1
            alone = len(ids) - start - 1  # a cut here leaves the last token by itself
            lines = lines[lines != alone]
            start += int(lines[-1]) if len(lines) else self._length - (alone == self._length)
            yield start
        yield len(ids)

    def _context(self, document: Document, room: int) -> list[_Part]:
        """As many of the context files as there is room for, the most important one last."""
        shown: list[list[_Part]] = []
        weight = document.context_weight
        for file in document.context:
            content, name = self._content(file), self._name(file.path)
            left = room - len(name) - 1
            part = self._around(content, file.line, left) if len(content) > left else content
            if len(part):
                shown.append([(self._special(FILE_SEP), weight), (name, weight), (part, weight)])
                room = left - len(part)
            if room < _LEAST_ROOM or len(part) < len(content):
                break
        return [part for parts in reversed(shown) for part in parts]

    def _around(self, content: Ids, line: int, room: int) -> Ids:
        """At most `room` tokens of a content, whole lines around `line`; the start for line 0."""
        if room <= 0:
            return content[:0]
        stops = _behind(self._encoder.ends_line[content])
        starts, wanted = np.zeros(1, np.int32), 0
        if line:
            starts = np.append(starts, stops)
            middle = int(np.searchsorted(np.cumsum(self._encoder.newlines[content]), line)) + 1
            wanted = max(0, min(middle - room // 2, len(content) - room))
            starts, stops = starts[starts <= middle], stops[stops > middle]
        start, stop = fullest(starts, stops, wanted, room)
        return content[start:stop]

    def _content(self, file: ContextFile) -> Ids:
        return self._cached(file.blob, file.read)

    def _name(self, path: str) -> Ids:
        return self._cached(f"/{path}", lambda: f"{file_name(path)}\n")

    def _cached(self, key: str, read: Callable[[], str]) -> Ids:
        found = self._cache.get(key)
        if found is not None:
            self._cache.move_to_end(key)
            return found
        text = read()
        self.chars += len(text)
        (ids,) = self._encoder.encode([text])
        self._cache[key] = ids
        self._cached_tokens += len(ids)
        while self._cached_tokens > _CACHED_TOKENS:
            _, dropped = self._cache.popitem(last=False)
            self._cached_tokens -= len(dropped)
        return ids


def _behind(ends: npt.NDArray[np.bool_]) -> Positions:
    """The places behind the marked tokens."""
    return np.flatnonzero(ends).astype(np.int32) + np.int32(1)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    chars = 0
    for document in documents:
        batch.append(document)
        chars += sum(len(piece.text) for piece in document.body)
        if chars > _BATCH_CHARS or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
