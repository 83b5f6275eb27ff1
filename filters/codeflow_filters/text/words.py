"""Where the words of a text are, for n-grams: also in scripts that put no space between words.

A word is a run of letters, digits, `_` and characters outside ASCII. In Chinese, Japanese, Thai,
Lao, Khmer, Burmese, Tibetan and their kin such a run is a sentence, and an n-gram of sentences is
found nowhere else; so each of their characters is a word, together with the vowel signs and accents
that it carries. Their punctuation is no part of any word, and the ideographic space is a space.
Korean has spaces.

All of it works on arrays of bytes (UTF-8; what is not, does no harm). A text without a byte from
0xE0 up, where the first of these scripts begins, costs one look at each byte more than ASCII did.
"""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]

SPACE, WORD, SIGN = 0, 1, 2  # kinds of bytes; each byte that is a sign is a word of its own
_CHARACTER, _MARK, _WIDE_SIGN, _SPACED = 3, 4, 5, 6  # the last: as any letter, between spaces

_FIRST: Final = 0xE0  # of the first byte of any of the characters below
_CHARACTERS: Final = (
    (0x0E01, 0x0E5B), (0x0E81, 0x0EDF),  # Thai, Lao
    (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF),  # Tibetan, Burmese, Khmer
    (0x1950, 0x19FF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F),  # Tai scripts, Balinese
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x302F), (0x3031, 0x303C),
    (0x3041, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF),  # Kana, Bopomofo
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF),  # Han, Yi
    (0xA980, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F),
)  # fmt: skip
_MARKS: Final = (
    (0x0E31, 0x0E31), (0x0E34, 0x0E3A), (0x0E47, 0x0E4E),
    (0x0EB1, 0x0EB1), (0x0EB4, 0x0EBC), (0x0EC8, 0x0ECE),
    (0x0F18, 0x0F19), (0x0F35, 0x0F35), (0x0F37, 0x0F37), (0x0F39, 0x0F39), (0x0F3E, 0x0F3F),
    (0x0F71, 0x0F84), (0x0F86, 0x0F87), (0x0F8D, 0x0FBC), (0x0FC6, 0x0FC6),
    (0x102B, 0x103E), (0x1056, 0x1059), (0x105E, 0x1060), (0x1062, 0x1064), (0x1067, 0x106D),
    (0x1071, 0x1074), (0x1082, 0x108D), (0x108F, 0x108F), (0x109A, 0x109D),
    (0x17B4, 0x17D3), (0x17DD, 0x17DD), (0x1A55, 0x1A7F), (0x1B00, 0x1B04), (0x1B34, 0x1B44),
    (0x302A, 0x302F), (0x3099, 0x309A), (0xA980, 0xA983), (0xA9B3, 0xA9C0), (0xFF9E, 0xFF9F),
)  # fmt: skip
_SIGNS: Final = (
    (0x0E4F, 0x0E4F), (0x0E5A, 0x0E5B), (0x0F04, 0x0F14), (0x0F3A, 0x0F3D), (0x104A, 0x104F),
    (0x17D4, 0x17DA), (0x3001, 0x3004), (0x3008, 0x3020), (0x3030, 0x3030), (0x303D, 0x303F),
    (0x30A0, 0x30A0), (0x30FB, 0x30FB), (0xFE10, 0xFE1F), (0xFE30, 0xFE6F), (0xFF01, 0xFF0F),
    (0xFF1A, 0xFF20), (0xFF3B, 0xFF3E), (0xFF40, 0xFF40), (0xFF5B, 0xFF65),
)  # fmt: skip
_IDEOGRAPHIC_SPACE: Final = 0x3000
_FOUR_BYTES: Final = ((0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF))  # rare Kana, rare Han


@cache
def _kinds() -> Bytes:
    """(65536,): the kind of each character that three bytes stand for."""
    kinds = np.full(1 << 16, _SPACED, np.uint8)
    for ranges, kind in ((_CHARACTERS, _CHARACTER), (_MARKS, _MARK), (_SIGNS, _WIDE_SIGN)):
        for first, last in ranges:
            kinds[first : last + 1] = kind
    kinds[_IDEOGRAPHIC_SPACE] = SPACE
    return kinds


def find_words(text: Bytes, kinds: Bytes, wide_signs: bool) -> tuple[Ints, Ints]:
    """Where each word of a text starts, and how many bytes it has; signs are words, too.

    Args:
        text: (N,) bytes.
        kinds: (N,) SPACE, WORD or SIGN of each, where bytes outside ASCII are WORD; set to what
            they are where characters turn out to be words, signs or spaces.
        wide_signs: whether punctuation of those scripts is a word; else it is a space.
    """
    if not len(text):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    begins = kinds == SIGN
    if text.max() < _FIRST:
        ends = begins.copy()
        is_word = kinds == WORD
        begins[1:] |= is_word[1:] & ~is_word[:-1]
        ends[:-1] |= is_word[:-1] & ~is_word[1:]
        begins[0] |= is_word[0]
        ends[-1] |= is_word[-1]
    else:
        begins[_mark_characters(text, kinds, wide_signs)] = True
        inside = kinds != SPACE
        begins[1:] |= inside[1:] & (kinds[1:] != kinds[:-1])
        begins[0] = inside[0]
        ends = inside.copy()
        ends[:-1] &= begins[1:] | ~inside[1:]
    at = np.flatnonzero(begins)
    return at, np.flatnonzero(ends) + 1 - at


def _mark_characters(text: Bytes, kinds: Bytes, wide_signs: bool) -> Ints:
    """Sets the kinds of bytes of characters that are words, signs or spaces by themselves.

    Returns:
        where those begin that are words, whatever stands before them.
    """
    lead = np.flatnonzero(text >= _FIRST)
    lead = lead[(lead + 2 < len(text)) & (kinds[lead] == WORD)]
    tail = [text[lead + k].astype(np.int64) for k in (1, 2)]
    whole = (tail[0] & 0xC0 == 0x80) & (tail[1] & 0xC0 == 0x80)
    first = text[lead].astype(np.int64)
    code = (first & 0x0F) << 12 | (tail[0] & 0x3F) << 6 | tail[1] & 0x3F
    found = np.where(whole & (first < 0xF0), _kinds()[code], np.uint8(_SPACED))
    size = np.full(len(lead), 3)
    long = np.flatnonzero(whole & (first >= 0xF0) & (lead + 3 < len(text)))
    last = text[lead[long] + 3].astype(np.int64)
    code = (code[long] & 0x7FFF) << 6 | last & 0x3F
    rare = np.zeros(len(long), np.bool_)
    for low, high in _FOUR_BYTES:
        rare |= (code >= low) & (code <= high) & (last & 0xC0 == 0x80)
    found[long[rare]] = _CHARACTER
    size[long] = 4

    for kind, becomes in (
        (_CHARACTER, _CHARACTER),
        (_MARK, _CHARACTER),
        (_WIDE_SIGN, _CHARACTER if wide_signs else SPACE),
        (SPACE, SPACE),
    ):
        chosen = found == kind
        for k in range(4):
            kinds[lead[chosen & (size > k)] + k] = becomes
    words: Ints = lead[(found == _CHARACTER) | (wide_signs & (found == _WIDE_SIGN))]
    return words
