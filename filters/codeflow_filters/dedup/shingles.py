"""Shingles: the set of hashed token n-grams of a change, for a batch of patches at once.

Tokens are those of the added and removed lines, with the sign of their line: a word
(`codeflow_filters.text.words`: a run of letters and the like, or a character of a script without
spaces), or any other byte that is not white space. Words are cut every 64 bytes, so that an encoded
blob is many tokens. Paths and context take no part: near-duplicates are the same change in another
place. A set holds 32-bit hashes, the width that datasketch's `affine32` permutes; in sets of a
thousand, one in four million is taken for another.

Hashing n-grams one by one in Python costs more than all signatures. Here a token's bytes are read
as 8-byte words at an array of offsets, and an n-gram is a sum of products; the only loops in Python
are over the words of a token (8) and the places of an n-gram. Temporary arrays are many times the
text: give batches of about a megabyte.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from codeflow_filters.dedup.lines import MINUS, PLUS, Bytes, Ints, Lines
from codeflow_filters.text.words import SIGN, SPACE, WORD, find_words

Hashes: TypeAlias = npt.NDArray[np.uint32]
Words: TypeAlias = npt.NDArray[np.uint64]

_CLASS = np.full(256, SIGN, np.uint8)
_CLASS[list(b" \t\n\v\f\r")] = SPACE
_CLASS[[*range(0x30, 0x3A), *range(0x41, 0x5B), 0x5F, *range(0x61, 0x7B), *range(0x80, 0x100)]] = (
    WORD
)
_WORD_BYTES = 8
_TOKEN_BYTES = 64
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(_WORD_BYTES + 1)], np.uint64)
_REMOVED = np.uint64(0xA0761D6478BD642F)
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
_AGAIN = np.uint64(0xBF58476D1CE4E5B9)


class Shingles(NamedTuple):
    """The sets of P patches.

    Attributes:
        hashes: (S,) sorted and distinct within each patch.
        offsets: (P + 1,) where each patch's begin in `hashes`, and S.
        tokens: (P,) number of tokens of each patch.
    """

    hashes: Hashes
    offsets: Ints
    tokens: Ints

    def of(self, patch: int) -> Hashes:
        """The set of one patch."""
        return self.hashes[self.offsets[patch] : self.offsets[patch + 1]]


def make_shingles(lines: Lines, ngram: int) -> Shingles:
    """The shingles of every patch; a patch of fewer than `ngram` tokens has none."""
    tokens, offsets = hash_tokens(lines)
    counts = np.diff(offsets)
    patches = len(counts)
    grams = max(0, len(tokens) - ngram + 1)
    owner = np.repeat(np.arange(patches), counts)
    mixed = np.zeros(grams, np.uint64)
    for place in range(ngram):
        mixed += tokens[place : place + grams] * _multiplier(place)
    whole = owner[:grams] == owner[ngram - 1 :]
    keys = (_mix(mixed[whole]) >> np.uint64(32)) | (
        owner[:grams][whole].astype(np.uint64) << np.uint64(32)
    )
    keys.sort()
    if len(keys):
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    bounds = np.searchsorted(keys, np.arange(patches + 1, dtype=np.uint64) << np.uint64(32))
    return Shingles(keys.astype(np.uint32), bounds.astype(np.int64), counts)


def hash_tokens(lines: Lines) -> tuple[Words, Ints]:
    """The hash of every token, signed, and (P + 1,) where the tokens of each patch begin."""
    changed = lines.in_hunk & ((lines.first == PLUS) | (lines.first == MINUS))
    lengths = lines.lengths[changed]
    text = lines.text[np.repeat(changed, lines.lengths)]
    starts = np.cumsum(lengths) - lengths
    removed = np.repeat(lines.first[changed] == MINUS, lengths)

    kinds = _CLASS[text]
    kinds[starts] = SPACE  # the sign
    at, size = find_words(text, kinds, wide_signs=True)
    at, size = _cut_long(at, size)

    hashes = _hash_runs(text, at, size)
    hashes[removed[at]] ^= _REMOVED
    line_of_patch = np.searchsorted(lines.starts[:-1][changed], lines.patches)
    text_of_patch = np.append(starts, len(text))[line_of_patch]
    return hashes, np.searchsorted(at, text_of_patch).astype(np.int64)


def _cut_long(at: Ints, size: Ints) -> tuple[Ints, Ints]:
    """Cuts runs into tokens of at most `_TOKEN_BYTES`."""
    if not len(size) or size.max() <= _TOKEN_BYTES:
        return at, size
    pieces = (size - 1) // _TOKEN_BYTES + 1
    run = np.repeat(np.arange(len(at)), pieces)
    skip = (np.arange(len(run)) - (np.cumsum(pieces) - pieces)[run]) * _TOKEN_BYTES
    return at[run] + skip, np.minimum(size[run] - skip, _TOKEN_BYTES)


def _hash_runs(text: Bytes, at: Ints, size: Ints) -> Words:
    """A 64-bit hash of the bytes text[at : at + size], for each; sizes are 1 to 64."""
    padded = np.concatenate((text, np.zeros(_WORD_BYTES, np.uint8)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WORD_BYTES)

    def words(at: Ints, size: Ints) -> Words:
        read = windows[at].view("<u8").ravel().astype(np.uint64, copy=False)
        return read & _MASKS[np.minimum(size, _WORD_BYTES)]

    hashes = _mix(words(at, size))
    longer = np.flatnonzero(size > _WORD_BYTES)
    skip = _WORD_BYTES
    while len(longer):
        more = words(at[longer] + skip, size[longer] - skip)
        hashes[longer] = _mix(hashes[longer] ^ more)
        skip += _WORD_BYTES
        longer = longer[size[longer] > skip]
    return hashes


def _mix(values: Words) -> Words:
    """A bijection in which every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(32))) * _MULTIPLY
    values ^= values >> np.uint64(29)
    values *= _AGAIN
    return values ^ (values >> np.uint64(32))


def _multiplier(place: int) -> np.uint64:
    """An odd factor for a place of an n-gram: n-grams with tokens swapped differ."""
    return np.uint64(pow(int(_MULTIPLY), 2 * place + 3, 1 << 64) | 1)
