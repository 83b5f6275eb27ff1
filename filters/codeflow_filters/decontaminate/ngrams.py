"""Token n-grams of texts as 64-bit hashes, in numpy, and an index of those of a benchmark.

A token is a run of letters, digits and underscores, in lower case, or a character of a script
without spaces (`codeflow_filters.text.words`); nothing else counts, so quotes, indentation and
punctuation may differ. n is 13 by default, as in the decontamination of GPT-3
(arXiv 2005.14165, appendix C) and of most corpora since. Like there, an n-gram that is too common
says nothing: those in more than `COMMON` instances (issue templates, licence headers) are left out,
and so are those with few different words (tables of numbers). A text of fewer than n tokens is not
looked for.

Cost: about 30 ns a byte; 64 bits make a chance match of a million n-grams in a billion unlikely
(5e-5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from codeflow_filters.text.words import SPACE, WORD, find_words

COMMON: Final = 10
_TOKEN: Final = re.compile(rb"[0-9A-Za-z_]+")
_BLOCK_BYTES: Final = 1 << 20
_POSITIONS: Final = 64
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_KINDS: Final = np.array(
    [WORD if chr(b).isalnum() or b == 0x5F or b >= 0x80 else SPACE for b in range(256)], np.uint8
)
_LETTER: Final = np.array([(chr(b).isalpha() and b < 0x80) or b >= 0x80 for b in range(256)])

Hashes = npt.NDArray[np.uint64]


class Tokens(NamedTuple):
    """The tokens of a text, (N,) each: hashes, and where they start and end in its bytes."""

    hashes: Hashes
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


def tokens(data: bytes) -> Tokens:
    """The tokens of a text. One that is longer than a mebibyte may be cut."""
    parts = []
    start = 0
    while start < len(data):
        stop = min(len(data), start + _BLOCK_BYTES)
        if stop < len(data):
            stop = data.rfind(b"\n", start, stop) + 1 or stop
        parts.append(_tokens(data[start:stop], start))
        start = stop
    if not parts:
        parts = [_tokens(b"", 0)]
    return Tokens(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _tokens(data: bytes, shift: int) -> Tokens:
    view = np.frombuffer(data, np.uint8)
    kinds = _KINDS[view]
    starts, lengths = find_words(view, kinds, wide_signs=False)
    ends = starts + lengths
    if not len(starts):
        return Tokens(np.zeros(0, np.uint64), starts, ends)
    firsts = np.cumsum(lengths) - lengths
    letters = view[kinds != SPACE]
    positions = np.arange(len(letters)) - np.repeat(firsts, lengths)
    terms = _BYTES[letters] * _POWERS[positions % _POSITIONS]
    return Tokens(_mix(np.add.reduceat(terms, firsts)), starts + shift, ends + shift)


def count_tokens(data: bytes) -> int:
    """How many tokens a text has. For a line of ASCII, an array costs more than this look."""
    return len(_TOKEN.findall(data)) if data.isascii() else len(tokens(data).hashes)


def ngrams(hashes: Hashes, n: int) -> Hashes:
    """The hash of every run of n tokens, (N - n + 1,)."""
    count = max(0, len(hashes) - n + 1)
    total = np.zeros(count, np.uint64)
    for k in range(n):
        total = total * _MULTIPLIER + hashes[k : k + count]
    return _mix(total)


def _mix(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_BYTES: Final = _mix(
    np.array([ord(chr(b).lower()) if b < 0x80 else b for b in range(256)], np.uint64) + _MULTIPLIER
)
_POWERS: Final = np.cumprod(np.full(_POSITIONS, _MULTIPLIER), dtype=np.uint64)


class NgramMatch(NamedTuple):
    """An n-gram of the index that a text holds: its owner, and the bytes of the text it lies in."""

    owner: int
    start: int
    stop: int


class NgramIndex:
    """The n-grams of many texts. Owners are numbers that the caller chose."""

    def __init__(self, texts: Iterable[tuple[int, int, str]], n: int) -> None:
        """Takes (owner, instance, text); owners of one instance count as one."""
        self.n = n
        hashes, owners, instances = [], [], []
        for owner, instance, text in texts:
            data = text.encode(errors="replace")
            if count_tokens(data) < n:
                continue
            found = np.unique(informative(data, n))
            hashes.append(found)
            owners.append(np.full(len(found), owner, np.int64))
            instances.append(np.full(len(found), instance, np.int64))
        keys = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
        owner_of = np.concatenate(owners) if owners else np.zeros(0, np.int64)
        instance_of = np.concatenate(instances) if instances else np.zeros(0, np.int64)
        order = np.lexsort((owner_of, instance_of, keys))
        keys, owner_of, instance_of = keys[order], owner_of[order], instance_of[order]
        first = np.ones(len(keys), bool)
        first[1:] = keys[1:] != keys[:-1]
        other = first.copy()
        other[1:] |= instance_of[1:] != instance_of[:-1]
        starts = np.flatnonzero(first)
        counts = np.add.reduceat(other.astype(np.int64), starts) if len(starts) else starts
        rare = starts[counts <= COMMON]
        self._keys, self._owners = keys[rare], owner_of[rare]
        bits = max(10, (16 * len(rare)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._seen = np.zeros(1 << bits, bool)
        self._seen[self._keys >> self._shift] = True

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, data: bytes) -> NgramMatch | None:
        """The first n-gram of a text that is in the index."""
        if not len(self._keys):
            return None
        found = tokens(data)
        grams = ngrams(found.hashes, self.n)
        maybe = np.flatnonzero(self._seen[grams >> self._shift])
        places = np.searchsorted(self._keys, grams[maybe])
        same = self._keys.take(places, mode="clip") == grams[maybe]
        if not same.any():
            return None
        at = int(np.argmax(same))
        first = int(maybe[at])
        stop = int(found.ends[first + self.n - 1])
        return NgramMatch(int(self._owners[places[at]]), int(found.starts[first]), stop)


def informative(data: bytes, n: int) -> Hashes:
    """The n-grams of a text of which more than half are different words, not numbers."""
    found = tokens(data)
    grams = ngrams(found.hashes, n)
    if not len(grams):
        return grams
    words = _LETTER[np.frombuffer(data, np.uint8)[found.starts]]
    # a number gets the hash of no word, so that all numbers together count as one
    windows = np.lib.stride_tricks.sliding_window_view(
        np.where(words, found.hashes, np.uint64(0)), n
    )
    ordered = np.sort(windows, axis=1)
    different = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    kept: Hashes = grams[different > n // 2 + 1]
    return kept
