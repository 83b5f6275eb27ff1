"""Finds any of many byte strings in a file, faster than one search for each.

Each needle has an *anchor*, those three of its bytes that are rarest in source code. All pairs of
neighbouring bytes of the file are looked up in one table at once, the few that begin an anchor are
compared as three bytes, and only what is left is compared with a whole needle.

Cost: about 2 ms a megabyte of source code, whatever the number of needles, where `bytes.find` takes
0.5 to 1 ms for each of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final, NamedTuple

import numpy as np

ANCHOR_BYTES: Final = 3


class Needle(NamedTuple):
    """A byte string of at least three bytes; a folded one is in lower case and matches any case."""

    text: bytes
    folded: bool = False


class Needles:
    """A set of needles, ready to be searched for. Numbers are positions in the given order."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        self._pairs = np.zeros(1 << 16, np.bool_)
        self._by_anchor: dict[int, list[tuple[int, int, Needle]]] = defaultdict(list)
        for number, needle in enumerate(needles):
            offset = _rarest(needle.text)
            anchor = needle.text[offset : offset + ANCHOR_BYTES]
            choices = [{a} | ({a ^ 0x20} if _folds(a, needle) else set()) for a in anchor]
            for a, b, c in product(*choices):
                self._pairs[a | b << 8] = True
                self._by_anchor[a | b << 8 | c << 16].append((number, offset, needle))
        self._anchors = np.array(sorted(self._by_anchor), np.uint32)

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Every (position, number of the needle); ascending for each needle."""
        if len(data) < ANCHOR_BYTES:
            return
        hits = [
            np.flatnonzero(self._pairs.take(np.frombuffer(data, "<u2", count, shift), mode="clip"))
            * 2
            + shift
            for shift, count in ((0, len(data) // 2), (1, (len(data) - 1) // 2))
        ]
        at = np.concatenate(hits)
        at = at[at < len(data) - 2]
        view = np.frombuffer(data, np.uint8)
        codes = view[at].astype(np.uint32)
        codes |= view[at + 1].astype(np.uint32) << np.uint32(8)
        codes |= view[at + 2].astype(np.uint32) << np.uint32(16)
        places = np.searchsorted(self._anchors, codes)
        right = self._anchors.take(places, mode="clip") == codes
        at, codes = at[right], codes[right]
        order = np.argsort(at)
        for place, code in zip(at[order].tolist(), codes[order].tolist(), strict=True):
            for number, offset, needle in self._by_anchor[code]:
                start = place - offset
                found = data[max(start, 0) : start + len(needle.text)]
                if (found.lower() if needle.folded else found) == needle.text:
                    yield start, number


def _folds(byte: int, needle: Needle) -> bool:
    return needle.folded and chr(byte).isascii() and chr(byte).isalpha()


def _rarest(text: bytes) -> int:
    """Where the rarest anchor of a needle starts, judged by its first two bytes."""

    def common(offset: int) -> float:
        return _weight(text[offset]) * _weight(text[offset + 1])

    return min(range(len(text) - ANCHOR_BYTES + 1), key=common)


def _weight(byte: int) -> float:
    if chr(byte) in "etaoinsrlcdpu _-":
        return 1.0
    return 0.3 if chr(byte).islower() else 0.1
