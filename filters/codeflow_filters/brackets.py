"""Brackets of C and C++, for errors that no macro explains.

The grammars of C and C++ read the text before the preprocessor does. What a macro makes good is an
error to them: of 199 changes in redis that add errors to a C file, all but a handful are correct
(`run_with_period(100) {`, `static redisAtomic size_t n`, `va_arg(list, char *)`). But hardly any
macro takes a lone bracket, so a change there is broken only if it also leaves brackets, comments or
conditionals more out of balance than they were.

Counted is what the first branch of each conditional holds (the second of `#if 0`), without
directives: branches often hold one opening bracket each for a single closing one. The price: in C
and C++ an error that leaves the balance as it was goes unseen.

Cost: 30 to 100 MB/s, over changed items only as long as they are balanced in themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from codeflow_filters.syntax_screen import Item, in_comment

# A comment that does not end is no match, so that its mark stays to be counted.
_SILENT: Final = re.compile(
    rb"//[^\n]*|/\*.*?\*/|R\"([^ ()\\\n]{0,16})\(.*?\)\1\""
    rb"|\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?",
    re.DOTALL,
)
_DIRECTIVE: Final = re.compile(rb"^[ \t]*#(?:[^\n\\]|\\.)*", re.DOTALL | re.MULTILINE)
_CONDITIONAL: Final = re.compile(
    rb"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif|elifdef|elifndef|else|endif)\b([^\n]*)", re.MULTILINE
)


class Balance(NamedTuple):
    """Openings less closings of each kind; marks of comments that have no counterpart."""

    round: int = 0
    square: int = 0
    curly: int = 0
    conditionals: int = 0
    comments: int = 0

    @property
    def size(self) -> int:
        """How far from balanced."""
        return sum(map(abs, self))


def balance(text: bytes) -> Balance:
    """The balance of a text that starts outside of comments and literals."""
    text = _SILENT.sub(b" ", text)
    conditionals = 0
    if b"#" in text:
        text, conditionals = _first_branches(text)
        text = _DIRECTIVE.sub(b"", text)
    return Balance(
        text.count(b"(") - text.count(b")"),
        text.count(b"[") - text.count(b"]"),
        text.count(b"{") - text.count(b"}"),
        conditionals,
        text.count(b"/*") + text.count(b"*/"),
    )


def stays_balanced(
    old: bytes, new: bytes, old_items: Sequence[Item], new_items: Sequence[Item]
) -> bool:
    """Whether the changed items alone show that the whole is no less balanced than it was."""
    for side, items in ((old, old_items), (new, new_items)):
        for item in items:
            if balance(item.text).size or in_comment(side, item.start):
                return False
    return True


def _first_branches(text: bytes) -> tuple[bytes, int]:
    """The text without later branches, and how many conditionals stay open (or were never)."""
    kept: list[bytes] = []
    chosen: list[bool] = []  # per open conditional: is this its branch?
    stray = start = 0
    for match in _CONDITIONAL.finditer(text):
        if all(chosen):
            kept.append(text[start : match.start()])
        start = match.end()
        word = match[1]
        if word in (b"if", b"ifdef", b"ifndef"):
            chosen.append(match[2].strip() != b"0" or word != b"if")
            continue
        if not chosen:
            stray += 1
        elif word == b"endif":
            chosen.pop()
        else:  # the second branch counts only for `#if 0`
            chosen[-1] = chosen[-1] is False and word == b"else"
    if all(chosen):
        kept.append(text[start:])
    return b"\n".join(kept), len(chosen) + stray
