"""Documents to ids: encode, fill the room before the body with context, part what is too long.

Bodies are encoded in batches. What a document has to show comes first: the old lines of every hunk
of every changed file. What is left goes to more of the changed files, each in turn, and then to
context, which is read and encoded file by file until the budget is full. The ids of recent contents
are kept (64 MB), because neighbouring triples of a repository show the same files: on two
repositories that spared 57% of the encoding at T = 4,096, 85% at 32K, 96% at 128K. The last file is
cut to whole lines, so a document with enough context falls a token or so short of the budget, and
rows fill up.

A document that is too long is dropped, or parted between files: each part has the head, the request
and the lines that it changes. A fill-in-the-middle document loses what lies farthest from its hole.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, tee
from typing import Final, NamedTuple

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
    Section,
    SeenFile,
    Window,
)
from codeflow.documents.pieces import file_name
from codeflow.tokens.tokenizer import Encoder, Ids
from codeflow.tokens.trim import Context, Encoded, Positions, around, fullest
from codeflow.tokens.windows import MARK_TOKENS, candidates, mark, shown_text, wider

_BATCH_CHARS = 1 << 20
_BATCH_DOCUMENTS = 128
_CACHED_TOKENS = 1 << 24
_LEAST_ROOM = 16  # tokens; less context than this is not worth a name
_KEPT = 1 / 3  # of the text on either side of a hole stays when a row is filled

KEPT: Final = ("whole", "parted", "trimmed")
"""In `Fitter.counts`: documents that show all that they ask for."""
DROPPED: Final = ("too-long", "no-target")

_Part = tuple[Ids, float]


class _Parts(NamedTuple):
    """A document in ids. `sections` are (what has to be seen, what is to be written)."""

    head: list[_Part]
    body: list[_Part]
    sections: list[tuple[list[_Part], list[_Part]]]
    end: list[_Part]

    @property
    def fixed(self) -> int:
        """Tokens of what every part of the document has."""
        return _size(self.head) + _size(self.body) + _size(self.end)


class Fitter:
    """Encodes documents to at most `length` tokens each.

    Attributes:
        counts: documents by what happened to them: `whole`, `parted` (between files), `trimmed`
            (lost what lies farthest from its hole), `halved` (between steps; the halves count,
            too), or why they were dropped: `too-long`, `no-target` (nothing in it would be
            learnt); `file-too-long`: files of parted ones that no row has room for.
        chars: of the text that was encoded or taken from the cache, specials not counted.
    """

    def __init__(self, encoder: Encoder, length: int, cut: bool) -> None:
        """
        Args:
            cut: whether a document that is too long is parted between files, or dropped.
        """
        self._encoder = encoder
        self._length = length
        self._cut = cut
        special = encoder.special
        # -1, no token's id, where the tokenizer lacks them: then no document has a hole
        before, behind, middle = (special.get(n, -1) for n in (FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE))
        self._marks = before, behind, middle
        self._cache: OrderedDict[str, Ids] = OrderedDict()
        self._cached_tokens = 0
        self.counts: Counter[str] = Counter()
        self.chars = 0

    def encode(self, documents: Iterable[Document]) -> Iterator[Encoded]:
        """The documents in their order, parted ones as several."""
        for batch in _batches(documents):
            pieces = [(document, list(_pieces(document))) for document in batch]
            texts = [piece.text for _, own in pieces for piece in own if not piece.special]
            self.chars += sum(map(len, texts))
            encoded = iter(self._encoder.encode(texts))
            for document in batch:
                seen = [self._seen(section, document, encoded) for section in document.sections]
                parts = _Parts(
                    self._parts(document.head, encoded),
                    self._parts(document.body, encoded),
                    [
                        (shown, self._parts(section.pieces, encoded))
                        for shown, section in zip(seen, document.sections, strict=True)
                    ],
                    self._parts(document.end, encoded),
                )
                yield from self._fitted(document, parts)

    def _parts(self, pieces: Iterable[Piece], encoded: Iterator[Ids]) -> list[_Part]:
        return [
            (self._special(piece.text) if piece.special else next(encoded), piece.weight)
            for piece in pieces
        ]

    def _seen(self, section: Section, document: Document, encoded: Iterator[Ids]) -> list[_Part]:
        if section.seen is None:
            return []
        return self._file(section.seen.path, next(encoded), document.context_weight)

    def _file(self, path: str, content: Ids, weight: float) -> list[_Part]:
        name = self._name(path)
        return [(self._special(FILE_SEP), weight), (name, weight), (content, weight)]

    def _special(self, name: str) -> Ids:
        return np.array([self._encoder.special[name]], np.uint32)

    def _fitted(self, document: Document, parts: _Parts) -> Iterator[Encoded]:
        costs = [_size(seen) + _size(written) for seen, written in parts.sections]
        if parts.fixed + sum(costs) <= self._length:
            self.counts["whole"] += 1
            yield from self._made(document, parts, range(len(costs)), iter(document.context))
            return
        if any(piece.special and piece.text == FIM_MIDDLE for piece in document.body):
            yield from self._around_hole(document, parts)
            return
        if document.halves is not None and self._cut:
            self.counts["halved"] += 1
            yield from self.encode(document.halves())
            return
        if not costs or not (self._cut or document.divisible):
            self.counts["too-long"] += 1
            return
        if document.divisible:
            parts = self._divided(parts)
            costs = [_size(written) for _, written in parts.sections]
        groups = _groups(costs, self._length - parts.fixed)
        self.counts["file-too-long"] += len(costs) - sum(map(len, groups))
        self.counts["parted" if groups else "too-long"] += 1
        for group, context in zip(groups, tee(document.context, len(groups)), strict=True):
            yield from self._made(document, parts, group, context)

    def _made(
        self,
        document: Document,
        parts: _Parts,
        chosen: Sequence[int],
        context: Iterator[ContextFile],
    ) -> Iterator[Encoded]:
        """The document with some of its sections and what context there is room for."""
        written = [part for k in chosen for part in parts.sections[k][1]]
        seen = [parts.sections[k][0] for k in chosen]
        room = self._length - parts.fixed - _size(written) - sum(map(_size, seen))
        if len(document.sections) == len(parts.sections):
            files = [document.sections[k].seen for k in chosen]
            seen, room = self._widened(files, seen, room, document.context_weight)
        more = self._context(context, room, document.context_weight)
        shown = [part for file in seen for part in file]
        answer = [*parts.body, *written, *parts.end]
        made = self._joined(document, [*parts.head, *more, *shown, *answer])
        if not made.weights.any():
            self.counts["no-target"] += 1
        elif more:
            yield self._with_layout(made, parts.head, more)
        elif len(made.ids):
            hole = np.flatnonzero(made.ids == self._marks[2])
            if document.sections or not len(hole):
                yield made
            else:
                breaks = _behind(self._encoder.ends_line[made.ids])
                yield made._replace(spare=around(made.ids, self._marks, breaks, _KEPT))

    def _joined(self, document: Document, parts: Sequence[_Part]) -> Encoded:
        weights = np.repeat(
            np.array([weight for _, weight in parts], np.float32), [len(ids) for ids, _ in parts]
        )
        weights[0] = 0
        ids = np.concatenate([ids for ids, _ in parts])
        return Encoded(ids, weights, document.triple_id, document.language, document.kind)

    def _widened(
        self,
        files: Sequence[SeenFile | None],
        seen: list[list[_Part]],
        room: int,
        weight: float,
    ) -> tuple[list[list[_Part]], int]:
        """More of the files that have to be seen: each has an equal share of what room is left."""
        found = list(seen)
        for place, file in enumerate(files):
            share = room // (len(files) - place)
            if file is None or share < _LEAST_ROOM:
                continue
            least = _size(seen[place])
            shown = self._more_of(file, least + share, weight)
            if shown is not None:  # may even take less: a whole file needs no marks
                found[place] = shown
                room -= _size(shown) - least
        return found, room

    def _more_of(self, file: SeenFile, room: int, weight: float) -> list[_Part] | None:
        """A file in at most `room` tokens: whole, or as much around its windows as fits."""
        content = self._content(ContextFile(file.path, file.blob, file.read))
        whole = self._file(file.path, content, weight)
        if _size(whole) <= room:
            return whole
        for more, tokens in candidates(file, content, self._encoder):
            if tokens <= room:
                text = shown_text(file.read(), wider(file.windows, more))
                self.chars += len(text)
                (ids,) = self._encoder.encode([text])
                shown = self._file(file.path, ids, weight)
                if _size(shown) <= room:
                    return shown
        return None

    def _divided(self, parts: _Parts) -> _Parts:
        """Sections that no row has room for in pieces that end with lines, each under its name."""
        room = self._length - parts.fixed
        sections: list[tuple[list[_Part], list[_Part]]] = []
        for seen, written in parts.sections:
            if _size(written) <= room:
                sections.append((seen, written))
                continue
            *name, (content, weight) = written
            ends = np.cumsum(self._encoder.newlines[content])
            lines = int(ends[-1]) + (not self._encoder.ends_line[content[-1]])
            for start, stop in self._stretches(content, room - _size(name) - MARK_TOKENS):
                first = int(ends[start - 1]) if start else 0
                last = int(ends[stop - 1]) + (not self._encoder.ends_line[content[stop - 1]])
                (line,) = self._encoder.encode([mark(Window(first, last), lines)])
                sections.append((seen, [*name, (line, weight), (content[start:stop], weight)]))
        return parts._replace(sections=sections)

    def _stretches(self, ids: Ids, room: int) -> Iterator[tuple[int, int]]:
        """Where to part a content: whole lines, as many as fit; one that does not fit goes."""
        if room <= 0:
            return
        bounds = np.unique(np.concatenate([[0], _behind(self._encoder.ends_line[ids]), [len(ids)]]))
        start = 0
        for before, behind in pairwise(bounds.tolist()):
            if behind - start > room:
                if before > start:
                    yield start, before
                start = before if behind - before <= room else behind
        if start < len(ids):
            yield start, len(ids)

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

    def _around_hole(self, document: Document, parts: _Parts) -> Iterator[Encoded]:
        """A fill-in-the-middle document without what is too far from its hole to fit.

        Cut at line ends, or between any two characters where lines are so long that half of the
        row would stay empty. Dropped where the middle is too long.
        """
        made = self._joined(document, [*parts.head, *parts.body, *parts.end])
        at_lines = _behind(self._encoder.ends_line[made.ids])
        anywhere = np.flatnonzero(self._encoder.starts_text[made.ids]).astype(np.int32)
        for breaks in (at_lines, anywhere):
            spare = around(made.ids, self._marks, breaks, 0)
            if spare.least <= self._length:
                small = made._replace(spare=spare).trimmed(self._length)
                if breaks is anywhere or len(small.ids) > self._length // 2:
                    self.counts["trimmed"] += 1
                    breaks = _behind(self._encoder.ends_line[small.ids])
                    yield small._replace(spare=around(small.ids, self._marks, breaks, _KEPT))
                    return
        self.counts["too-long"] += 1

    def _context(self, files: Iterator[ContextFile], room: int, weight: float) -> list[_Part]:
        """As many of the context files as there is room for, the most important one last."""
        shown: list[list[_Part]] = []
        if room < _LEAST_ROOM:
            return []
        for file in files:
            content = self._content(file)
            left = room - len(self._name(file.path)) - 1
            part = self._beginning(content, left) if len(content) > left else content
            if len(part):
                shown.append(self._file(file.path, part, weight))
                room = left - len(part)
            if room < _LEAST_ROOM or len(part) < len(content):
                break
        return [part for parts in reversed(shown) for part in parts]

    def _beginning(self, content: Ids, room: int) -> Ids:
        """At most `room` tokens of a content, whole lines from its start."""
        if room <= 0:
            return content[:0]
        stops = _behind(self._encoder.ends_line[content])
        start, stop = fullest(np.zeros(1, np.int32), stops, 0, room)
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


def _size(parts: Iterable[_Part]) -> int:
    return sum(len(ids) for ids, _ in parts)


def _groups(costs: Sequence[int], room: int) -> list[list[int]]:
    """Neighbours that fit together; what does not fit alone is in none."""
    groups: list[list[int]] = []
    left = 0
    for number, cost in enumerate(costs):
        if cost > room:
            left = 0
            continue
        if not groups or cost > left:
            groups.append([])
            left = room
        groups[-1].append(number)
        left -= cost
    return groups


def _pieces(document: Document) -> Iterator[Piece]:
    """All text to encode, in the order in which it is taken: what has to be seen comes first."""
    for section in document.sections:
        if section.seen is not None:
            text = shown_text(section.seen.read(), section.seen.windows)
            yield Piece(text, document.context_weight)
    yield from document.head
    yield from document.body
    for section in document.sections:
        yield from section.pieces
    yield from document.end


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    chars = 0
    for document in documents:
        batch.append(document)
        chars += sum(len(piece.text) for piece in document.body)
        chars += sum(len(piece.text) for one in document.sections for piece in one.pieces)
        if chars > _BATCH_CHARS or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
