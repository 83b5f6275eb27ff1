"""Brackets of C and C++, for errors that no macro explains.

The grammars of C and C++ read the text before the preprocessor does. What a macro makes good is an
error to them: of 197 changes in redis that add errors to a C file, two are broken; the others hold
`run_with_period(100) {`, `static redisAtomic size_t n` or `va_arg(list, char *)`. But hardly any
macro takes a lone bracket, so a change there is broken only if it also leaves brackets, comments or
conditionals more out of balance than they were, in a file that defines no such macro.

Counted is what one branch of each conditional holds, without directives: branches often hold one
opening bracket each for a single closing one. Which branch is a *reading*: the first (the second of
`#if 0`), those where no name is defined, those where every name is. `#ifdef A` and `#ifndef A` far
apart may each hold half of a function (David Gay's `dtoa.c` does), so only what is worse in every
reading is broken. The price: in C and C++ an error that leaves the balance as it was, or that one
reading does not see, goes unseen.

Cost: 30 to 100 MB/s, over the changed lines where they are plain, else over the changed items as
long as they are balanced in themselves.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from codeflow_filters.grammar.syntax_screen import Item, difference, in_comment, opening_before
from codeflow_filters.text.hunks import COMMENT_MARK, opening, sides

# No alternative can fail after a long search: a hostile file would make that quadratic. So that a
# comment that does not end is seen, a mark is put behind the text, which it swallows.
_SILENT: Final = re.compile(
    rb"//[^\n]*|/\*.*?(?:\*/|\Z)|R\"([^ ()\\\n]{0,16})\(.*?(?:\)\1\"|\Z)"
    rb"|\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?",
    re.DOTALL,
)
_MARK: Final = b"\n\n*/"
_HASH: Final = re.compile(rb"^[ \t]*#", re.MULTILINE)
_HASH_AFTER_SIGN: Final = re.compile(rb"^[ +-][ \t]*#", re.MULTILINE)
_PAIR: Final = [b"/*", b"*/"]
DIRECTIVE: Final = re.compile(rb"^[ \t]*#(?:[^\n\\]|\\.)*", re.DOTALL | re.MULTILINE)
_CONDITIONAL: Final = re.compile(
    rb"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|elifdef|elifndef|else|endif)\b((?:[^\n\\]|\\.)*)",
    re.DOTALL | re.MULTILINE,
)


class Balance(NamedTuple):
    """Openings less closings of each kind; for comments, -1 for one that does not end."""

    round: int = 0
    square: int = 0
    curly: int = 0
    conditionals: int = 0
    comments: int = 0

    @property
    def size(self) -> int:
        """How far from balanced."""
        return sum(map(abs, self))


def balances(text: bytes) -> tuple[Balance, ...]:
    """The balance of a text that starts outside of comments and literals, in each reading."""
    return _readings(_pieces(text))


def readings(code: bytes) -> tuple[Balance, ...]:
    """The same of a text without comments and literals."""
    return _readings(_cut(code))


def plain(code: bytes) -> Balance:
    """The same of a language without conditionals, where `#` is a sign like others."""
    return _count(code)._replace(comments=0)


def worse_in_every_reading(old: Sequence[Balance], new: Sequence[Balance]) -> bool:
    """Whether the new balances are further from balanced than the old ones, each of them."""
    return all(after.size > before.size for before, after in zip(old, new, strict=True))


def stays_balanced(
    old: bytes, new: bytes, old_items: Sequence[Item], new_items: Sequence[Item]
) -> bool:
    """Whether the changed items alone show that the whole is no less balanced than it was.

    So it is when those that are not balanced in themselves stand in the same places, with the same
    conditionals and the same balance of each branch. Items that face each other, of which the
    changed lines alone show that, need no count.
    """
    for side, items in ((old, old_items), (new, new_items)):
        if any(in_comment(side, item.start) for item in items):
            return False
    if [item.rank for item in old_items] == [item.rank for item in new_items]:
        pairs = [
            pair
            for pair in zip(old_items, new_items, strict=True)
            if not lines_stay_balanced(pair[0].text, pair[1].text)
        ]
        old_items, new_items = [a for a, _ in pairs], [b for _, b in pairs]
    open_: list[list[tuple[int, list[_Piece]]]] = []
    for items in (old_items, new_items):
        pieces = [(item.rank, _pieces(item.text)) for item in items]
        open_.append([(rank, found) for rank, found in pieces if _balance(found).size])
    return open_[0] == open_[1]


def lines_stay_balanced(old: bytes, new: bytes) -> bool:
    """Whether the changed lines alone show it: nothing in them reaches over a line end, and their
    brackets balance as they did. False decides nothing."""
    start, end = difference(old, new)
    start = old.rfind(b"\n", 0, start) + 1
    line_end = old.find(b"\n", len(old) - end)
    tail = len(old) - line_end if line_end >= 0 else 0
    lines = [side[start : len(side) - tail] for side in (old, new)]
    comment = opening_before(old, start)
    if comment is None or old[start - 2 : start] == b"\\\n":
        return False
    if any(b"\\\n" in side + b"\n" or b'R"' in side or _HASH.search(side) for side in lines):
        return False
    before, after = (_count(_SILENT.sub(b" ", comment + side + _MARK), marks=1) for side in lines)
    return before == after


def hunk_stays_balanced(hunk: bytes) -> bool:
    """Whether the lines of a hunk alone show that the change leaves the balance as it was.

    So it is when between each two conditionals brackets balance as they did. False decides nothing.
    """
    if not _HASH_AFTER_SIGN.search(hunk):
        return _segment_stays_balanced(*sides(hunk))
    segment: list[bytes] = []
    for line in hunk.split(b"\n"):
        if not _HASH_AFTER_SIGN.match(line):
            segment.append(line)
            continue
        marks = COMMENT_MARK.findall(line)
        if line.rstrip().endswith(b"\\") or (marks and (line[:1] != b" " or marks != _PAIR)):
            return False
        if _CONDITIONAL.match(line[1:]):
            if line[:1] != b" " or not _segment_stays_balanced(*sides(b"\n".join(segment))):
                return False
            segment = []
    return _segment_stays_balanced(*sides(b"\n".join(segment)))


def _segment_stays_balanced(old: bytes, new: bytes) -> bool:
    """Whether the balance stays, wherever the segment starts that its marks of comments allow.

    Without a mark it lies in a comment, or outside of all, as a whole, and either is the same. The
    price of going by marks: one that is put into commented-out code goes unseen.
    """
    if old == new:
        return True
    if any(b"\\\n" in side + b"\n" or b'R"' in side for side in (old, new)):
        return False
    marks = [COMMENT_MARK.findall(side) for side in (old, new)]
    starts: tuple[bytes, ...] = (b"",)
    if any(marks):
        told = opening(old)
        if told is None or not all(_in_turn(told, side) for side in marks):
            starts = (b"", b"/*")
        else:
            starts = (told,)
    for start in starts:
        before, after = (
            _count(_SILENT.sub(b" ", start + side + _MARK), marks=1) for side in (old, new)
        )
        if before != after:
            return False
    return True


def _in_turn(start: bytes, marks: Sequence[bytes]) -> bool:
    """Whether comments that begin with `start`, or with the first mark, open and close in turn."""
    return all(mark == _PAIR[k % 2] for k, mark in enumerate([start, *marks] if start else marks))


def has_open_macro(text: bytes) -> bool:
    """Whether a macro is defined that holds a lone bracket, as in `#define OTHERWISE } else`."""
    directives = DIRECTIVE.finditer(_SILENT.sub(b" ", text))
    return any(_count(found[0]).size for found in directives if b"define" in found[0])


class _Piece(NamedTuple):
    """What stands between two conditional directives, and the directive before it."""

    word: bytes
    is_zero: bool
    is_negated: bool
    balance: Balance


def _pieces(text: bytes) -> list[_Piece]:
    return _cut(_SILENT.sub(b" ", text.removeprefix(codecs.BOM_UTF8) + _MARK), 1)


def _cut(code: bytes, marks: int = 0) -> list[_Piece]:
    if b"#" not in code:
        return [_Piece(b"", False, False, _count(code, marks))]
    pieces = []
    start, word, is_zero, is_negated = 0, b"", False, False
    for match in _CONDITIONAL.finditer(code):
        found = _count(DIRECTIVE.sub(b"", code[start : match.start()]))
        pieces.append(_Piece(word, is_zero, is_negated, found))
        condition = match[2].strip()
        start, word, is_zero = match.end(), match[1], condition == b"0"
        is_negated = word.endswith(b"ndef") or condition.startswith(b"!")
    found = _count(DIRECTIVE.sub(b"", code[start:]), marks)
    pieces.append(_Piece(word, is_zero, is_negated, found))
    return pieces


def _count(text: bytes, marks: int = 0) -> Balance:
    return Balance(
        text.count(b"(") - text.count(b")"),
        text.count(b"[") - text.count(b"]"),
        text.count(b"{") - text.count(b"}"),
        0,
        text.count(b"*/") - marks,
    )


def _readings(pieces: Sequence[_Piece]) -> tuple[Balance, ...]:
    if len(pieces) == 1:
        return (_balance(pieces),) * 3
    return tuple(_balance(pieces, names) for names in (None, False, True))


def _balance(pieces: Sequence[_Piece], names: bool | None = None) -> Balance:
    """The sum over one branch of each conditional: the first, or the first that holds if all names
    are defined, or none; `conditionals` are those that stay open or were never opened."""
    counted = [Balance()]
    # Per open conditional: True in the branch that counts, False before it, None after it.
    chosen: list[bool | None] = []
    stray = 0
    for word, is_zero, is_negated, found in pieces:
        holds = not is_zero and (names is None or names is not is_negated or word == b"else")
        if word.startswith(b"if"):
            chosen.append(holds)
        elif word and not chosen:
            stray += 1
        elif word == b"endif":
            chosen.pop()
        elif word and chosen[-1] is not False:
            chosen[-1] = None
        elif word:
            chosen[-1] = holds
        if all(chosen):
            counted.append(found)
    sums = Balance(*map(sum, zip(*counted, strict=True)))
    return sums._replace(conditionals=len(chosen) + stray)
