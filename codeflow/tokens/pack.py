"""Documents into rows of exactly T tokens, by best fit within a window.

The longest document of the window goes first, each into the row where it leaves the least room
(best fit decreasing). Rows that are full to 1/256 are done; the documents of the others wait for
the next window, where shorter ones may fill them up. What still leaves room gets a document of
another row, of which so much is given up that it fits: small repositories make documents of 0.6 to
0.9 T in numbers, no two of which share a row. Only context is ever given up, or what lies far from
the hole of a fill-in-the-middle document; at most two tokens for each that is filled.

Memory is one window and what waits, at most half a window more; time is a binary search a
document. The order of rows depends on the documents alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

import numpy as np

from codeflow.shards.format import PADDING, Row
from codeflow.tokens.trim import Encoded

_WINDOW_TOKENS = 1 << 22
_WINDOW_ROWS = 48
_SLACK = 256
_MOST_GIVEN = 2  # tokens given up for each that is filled


def pack(
    documents: Iterable[Encoded], length: int, pad: int, window_tokens: int | None = None
) -> Iterator[Row]:
    """Rows with every token of every document once, each document in one row.

    Args:
        length: tokens of a row; no document may have more.
        pad: id of the tokens behind the last document of a row.
        window_tokens: tokens to look at together; by default 4 Mi, or 48 rows where that is more.
    """
    limit = window_tokens or max(_WINDOW_TOKENS, _WINDOW_ROWS * length)
    window: list[Encoded] = []
    held = 0
    for document in documents:
        assert len(document.ids) <= length, "the fitter cuts to length"
        window.append(document)
        held += len(document.ids)
        if held >= limit:
            filled = _fill(_best_fit(window, length), window, length)
            done, window = _settle(filled, window, length, limit // 2)
            held = sum(len(waiting.ids) for waiting in window)
            yield from (_row(documents, length, pad) for documents in done)
    for numbers in _fill(_best_fit(window, length), window, length):
        yield _row([window[k] for k in numbers], length, pad)


def _best_fit(documents: list[Encoded], length: int) -> list[list[int]]:
    """Rows as the numbers of their documents, each in order of arrival."""
    sizes = [len(document.ids) for document in documents]
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, row), sorted
    for number in sorted(range(len(sizes)), key=lambda k: (-sizes[k], k)):
        place = bisect_left(rooms, (sizes[number], -1))
        if place < len(rooms):
            room, row = rooms.pop(place)
        else:
            room, row = length, len(rows)
            rows.append([])
        rows[row].append(number)
        if room > sizes[number]:
            insort(rooms, (room - sizes[number], row))
    return [sorted(row) for row in rows]


def _fill(rows: list[list[int]], documents: list[Encoded], length: int) -> list[list[int]]:
    """Moves documents to rows with room, trimmed to it: the one that fits best, least trimmed.

    A trimmed document takes the place of the whole one in `documents`. Rows are filled once each,
    in order: those with the least room first, full ones last, as they only give.
    """
    sizes = np.array([len(document.ids) for document in documents])
    least = np.array([document.least for document in documents])
    rooms = [length - int(sizes[row].sum()) for row in rows]
    order = sorted(range(len(rows)), key=lambda n: (rooms[n] <= length // _SLACK, rooms[n], n))
    row_of = np.zeros(len(documents), np.int64)
    for row in order:
        row_of[rows[row]] = row
    open_ = np.ones(len(documents), np.bool_)  # in rows that are still to come
    for row in order:
        open_[rows[row]] = False
        tried = np.zeros(len(documents), np.bool_)
        while rows[row] and rooms[row] > length // _SLACK:
            most = (1 + _MOST_GIVEN) * rooms[row]
            fits = np.flatnonzero(open_ & ~tried & (least <= rooms[row]) & (sizes <= most))
            if not len(fits):
                break
            number = int(fits[np.argmin(np.abs(sizes[fits] - rooms[row]))])
            tried[number] = True
            small = documents[number].trimmed(rooms[row])
            if sizes[number] > (1 + _MOST_GIVEN) * len(small.ids):  # a long line would go
                continue
            giver = int(row_of[number])
            rows[giver].remove(number)
            rooms[giver] += int(sizes[number])
            documents[number] = small
            rows[row].append(number)
            rooms[row] -= len(small.ids)
            open_[number] = False
    return [sorted(row) for row in rows if row]


def _settle(
    rows: list[list[int]], documents: list[Encoded], length: int, most_waiting: int
) -> tuple[list[list[Encoded]], list[Encoded]]:
    """The rows that are done, and the documents that wait for better company."""
    tokens = [sum(len(documents[k].ids) for k in row) for row in rows]
    waiting = {n for n, size in enumerate(tokens) if length - size > length // _SLACK}
    excess = sum(tokens[n] for n in waiting) - most_waiting
    for number in sorted(waiting, key=lambda n: (-tokens[n], n)):
        if excess <= 0:
            break
        waiting.discard(number)
        excess -= tokens[number]
    done = [[documents[k] for k in row] for n, row in enumerate(rows) if n not in waiting]
    return done, [documents[k] for k in sorted(k for n in waiting for k in rows[n])]


def _row(documents: list[Encoded], length: int, pad: int) -> Row:
    ids = np.full(length, pad, np.uint32)
    weights = np.zeros(length, np.float32)
    lengths = [len(document.ids) for document in documents]
    start = 0
    for document, size in zip(documents, lengths, strict=True):
        ids[start : start + size] = document.ids
        weights[start : start + size] = document.weights
        start += size
    padding = [length - start] if start < length else []
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(weights)) + 1])
    return Row(
        ids,
        np.array([*lengths, *padding], np.int32),
        np.diff(np.append(bounds, length)).astype(np.int32),
        weights[bounds],
        tuple([document.triple_id for document in documents] + [""] * len(padding)),
        tuple([document.language for document in documents] + [None] * len(padding)),
        tuple([document.kind for document in documents] + [PADDING] * len(padding)),
        tuple([document.origin for document in documents] + [None] * len(padding)),
    )
