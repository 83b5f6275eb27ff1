"""Documents to ids: encode, fill the room before the body with context, cut what is too long.

Bodies are encoded in batches. Context is read and encoded file by file until the budget is full.
The ids of recent contents are kept (64 MB), because neighbouring triples of a repository show the
same files: on two repositories that spared 57% of the encoding at T = 4,096, 85% at 32K, 96% at
128K. The last file is cut to whole lines, so a document with enough context falls a few tokens
short of the budget, and rows fill up.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codeflow.tokens.document import FILE_SEP, ContextFile, Document, Piece
from codeflow.tokens.render.parts import file_name
from codeflow.tokens.tokenizer import Encoder, Ids

_BATCH_CHARS = 1 << 20
_BATCH_DOCUMENTS = 128
_CACHED_TOKENS = 1 << 24
_LEAST_ROOM = 16  # tokens; less context than this is not worth a name

Weights = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]
_Part = tuple[Ids, float]


class Encoded(NamedTuple):
    """A document of n tokens.

    Attributes:
        ids: (n,).
        weights: (n,), of each token as a target; 0 for the first, which never is one.
        files: (F, 2), where each context file starts and where its content does.
        body: where the body starts; 0 where there is no context that could be given up.
        breaks: positions in the context behind a line end.
    """

    ids: Ids
    weights: Weights
    triple_id: str
    language: str | None
    kind: str
    files: Positions = np.empty((0, 2), np.int32)
    body: int = 0
    breaks: Positions = np.empty(0, np.int32)

    @property
    def least(self) -> int:
        """Tokens that are left without any context."""
        return len(self.ids) - (self.body - int(self.files[0, 0]) if self.body else 0)

    def trimmed(self, size: int) -> Encoded:
        """The document with its least important context given up, in at most `size` tokens.

        Whole lines go; the file they are from keeps its name. `size` has to be `least` or more.
        """
        if size >= len(self.ids):
            return self
        starts, first = self.files[:, 0], int(self.files[0, 0])
        wanted = self.body - (size - self.least)  # context before this has to go
        at = int(np.searchsorted(starts, wanted, side="right")) - 1
        start, content = (int(place) for place in self.files[at])
        following = int(starts[at + 1]) if at + 1 < len(starts) else self.body
        place = int(np.searchsorted(self.breaks, max(wanted, start) + content - start))
        kept = int(self.breaks[place]) if place < len(self.breaks) else following
        slices = [slice(0, first)]
        if wanted == start:
            slices.append(slice(start, None))
        elif kept < following:
            slices += [slice(start, content), slice(kept, None)]
        else:
            slices.append(slice(following, None))
        return Encoded(
            np.concatenate([self.ids[part] for part in slices]),
            np.concatenate([self.weights[part] for part in slices]),
            self.triple_id,
            self.language,
            self.kind,
        )


class Fitter:
    """Encodes documents to at most `length` tokens each.

    Attributes:
        counts: documents by what happened to them: `whole`, `cut`, or why they were dropped:
            `too-long`, `no-target` (nothing in it would be learnt).
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
        ids = np.concatenate([ids for ids, _ in parts])
        weights = np.repeat(
            np.array([weight for _, weight in parts], np.float32), [len(ids) for ids, _ in parts]
        )
        if len(ids) > self._length and (document.whole or not self._cut):
            self.counts["too-long"] += 1
            return
        self.counts["cut" if len(ids) > self._length else "whole"] += 1
        start = 0
        for stop in self._ends(ids):
            some = weights[start:stop].copy()
            some[0] = 0
            if some.any():
                made = Encoded(
                    ids[start:stop], some, document.triple_id, document.language, document.kind
                )
                yield self._with_layout(made, head, context) if context else made
            else:
                self.counts["no-target"] += 1
            start = stop

    def _with_layout(
        self, made: Encoded, head: Sequence[_Part], context: Sequence[_Part]
    ) -> Encoded:
        """Notes where the context lies; its parts come in threes: mark, name, content."""
        first = sum(len(part) for part, _ in head)
        ends = first + np.cumsum([len(part) for part, _ in context])
        starts = np.concatenate([[first], ends[2:-1:3]])
        body = int(ends[-1])
        breaks = first + 1 + np.flatnonzero(self._encoder.ends_line[made.ids[first:body]])
        return made._replace(
            files=np.stack([starts, ends[1::3]], axis=1).astype(np.int32),
            body=body,
            breaks=breaks.astype(np.int32),
        )

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
        ends = self._encoder.ends_line
        start = 0
        if line:
            lines = np.cumsum(self._encoder.newlines[content])
            middle = int(np.searchsorted(lines, line))
            start = max(0, min(middle - room // 2, len(content) - room))
            if start:
                below = np.flatnonzero(ends[content[start - 1 : start + room // 2]])
                start += int(below[0]) if len(below) else 0
        part = content[start : start + room]
        last = np.flatnonzero(ends[part])
        return part[: int(last[-1]) + 1] if len(last) else part[:0]

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
