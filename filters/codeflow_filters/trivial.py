"""Drops changes of white space or comments alone, by syntax tree.

Such a change teaches no code. Both sides of each file are parsed, and their trees compared without
comments: kinds of nodes, how they nest, and the text of every token. So an indentation that counts
in Python counts here, a line end that ends a statement too, and white space within a literal is no
white space. Comments that a tool obeys are code (`codeflow_filters.grammar.obeyed` has the table);
so is a Python docstring, which is a string.

C and C++ are compared word by word where the changed lines allow it, because their grammars take
macros for errors; `gcc`'s own preprocessor agreed on every such drop in a large C history.

A triple stays when any of its files was added, deleted, renamed, or changed its mode, is of a
language without a grammar (rules on documents and data are others'), has a syntax error, or cannot
be parsed within the limits: in doubt it is kept.

Cost: most changes end at a comparison of the changed lines without what looks like a comment, at
some 100 MB/s over those lines alone. What gets past that (a few per cent) is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from codeflow.contracts import CONTENTS, Cost, Verdict, drop, keep
from codeflow.records import SYMLINK_MODE, FileChange
from codeflow.triple import Triple
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.obeyed import obeyed
from codeflow_filters.grammar.parser import Limits, tokens
from codeflow_filters.grammar.syntax_screen import (
    changed_items,
    difference,
    in_comment,
    opening_before,
    starts_outside,
)
from codeflow_filters.text.hunks import hunks, once_a_triple, opening, sections, sides

_BLOCKS: Final = re.compile(rb"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_HASHES: Final = re.compile(rb"#[^\n]*")
_BOTH: Final = re.compile(rb"#[^\n]*|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)

_GLANCE_BYTES: Final = 512

_OPEN: Final = re.compile(rb"/\*(?!.*\*/).*", re.DOTALL)
_HASH: Final = re.compile(rb"^[ \t]*#", re.MULTILINE)
# Comments are words, too, and are left out afterwards, so that one that does not end is seen.
_WORDS: Final = re.compile(
    rb"//[^\n]*|/\*.*?\*/|/\*.*\Z|\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?"
    rb"|[A-Za-z0-9_$\x80-\xff.]+|(?:(?!/[/*])[^\sA-Za-z0-9_$\x80-\xff.\"'])+",
    re.DOTALL,
)


@dataclass(frozen=True)
class Trivial:
    """Drops a triple whose files differ in white space and comments only.

    Attributes:
        max_file_bytes: a triple with a larger file is kept.
        max_memory_bytes: address space of the process that parses.
        max_seconds: processor time for one file, after which that process is ended.
    """

    max_file_bytes: int = 512 << 10
    max_memory_bytes: int = 1 << 30
    max_seconds: float = 5.0

    why: ClassVar[str] = "changes only white space or comments, which teaches no code"
    reasons: ClassVar[Mapping[str, str]] = {
        "whitespace-only": "changes only white space, by syntax tree",
        "comment-only": "changes only comments and white space, by syntax tree",
    }
    cost: ClassVar[Cost] = "contents"
    reads: ClassVar[frozenset[str]] = frozenset({"files", "patch", CONTENTS})

    def __post_init__(self) -> None:
        self._limits.check("trivial")

    @property
    def _limits(self) -> Limits:
        return Limits(self.max_file_bytes, self.max_memory_bytes, self.max_seconds)

    def wants(self, triple: Triple) -> Iterator[str]:
        """The changed files, unless the patch shows that code was changed."""
        if _may_be_trivial(triple):
            for change in triple.files:
                yield from filter(None, (change.old_blob, change.new_blob))

    def __call__(self, triple: Triple) -> Verdict:
        if not _may_be_trivial(triple):
            return keep()
        sides: list[tuple[str, bytes, bytes]] = []
        for language, old, new in _contents(triple):
            if not looks_trivial(language, old, new):
                return keep()
            sides.append((language, old, new))
        if not all(is_trivial(*side, self._limits) for side in sides):
            return keep()
        spaces = all(b"".join(old.split()) == b"".join(new.split()) for _, old, new in sides)
        return drop("whitespace-only" if spaces else "comment-only", triple.files[0].path)


def _is_edit(change: FileChange) -> bool:
    return (
        change.language in GRAMMARS
        and change.old_path == change.new_path
        and change.old_mode == change.new_mode != SYMLINK_MODE
    )


@once_a_triple
def _may_be_trivial(triple: Triple) -> bool:
    return bool(triple.files) and all(map(_is_edit, triple.files)) and not shows_code(triple)


def shows_code(triple: Triple, but: bytes = b"") -> bool:
    """Whether the hunks of a file that are not within comments show at a glance that code was
    changed, all together: a line may have moved from one to another. In commented-out code, lines
    that end as code does are taken for it. Files of languages without a grammar are passed over.

    Args:
        but: bytes that say nothing, as white space does.
    """
    for change, section in sections(triple):
        if change.language not in GRAMMARS:
            continue
        grammar = GRAMMARS[change.language]
        comments = _comments(change.language)
        before, after = [], []
        for hunk in hunks(section):
            old, new = sides(hunk)
            comment = opening(old) if grammar.block_comments else b""
            if comment is not None:
                before.append(_bare(comments, comment + old))
                after.append(_bare(comments, comment + new))
        if b"".join(before).translate(None, but) != b"".join(after).translate(None, but):
            return True
    return False


def _comments(language: str) -> re.Pattern[bytes]:
    if not GRAMMARS[language].block_comments:
        return _HASHES
    return _BLOCKS if language != "PHP" else _BOTH


def _contents(triple: Triple) -> Iterator[tuple[str, bytes, bytes]]:
    for change in triple.files:
        old, new = triple.contents(change)
        assert change.language is not None
        assert old is not None
        assert new is not None
        yield change.language, old, new


def looks_trivial(language: str, old: bytes, new: bytes) -> bool:
    """Whether the changed lines are the same without comments and white space, at a glance.

    Marks of comments within literals are taken for comments, on both sides alike. That can only
    keep a change that is trivial, where white space moved such a literal to another line.
    """
    start, end = difference(old, new)
    start = old.rfind(b"\n", 0, start) + 1
    line_end = old.find(b"\n", len(old) - end)
    tail = len(old) - line_end if line_end >= 0 else 0
    grammar = GRAMMARS[language]
    comments = _comments(language)
    comment = b"/*" if grammar.block_comments and in_comment(old, start) else b""
    sides = [comment + side[start : len(side) - tail] for side in (old, new)]
    # nearly all that differs does so at once, and what was read so far stays as it is
    first = [side[: side.find(b"\n", _GLANCE_BYTES) + 1] for side in sides]
    before, after = (_bare(comments, side) for side in first)
    if not before.startswith(after) and not after.startswith(before):
        return False
    return _bare(comments, sides[0]) == _bare(comments, sides[1])


def _bare(comments: re.Pattern[bytes], text: bytes) -> bytes:
    return b"".join(comments.sub(b"", text).split())


def same_words(language: str, old: bytes, new: bytes) -> bool | None:
    """Whether the changed lines of C or C++ hold the same words, numbers, literals, runs of signs
    and comments that a tool obeys; None where what is before or in them reaches over a line end.

    White space and comments only part words there, but for directives, which end with their line.
    """
    start, end = difference(old, new)
    start = old.rfind(b"\n", 0, start) + 1
    line_end = old.find(b"\n", len(old) - end)
    tail = len(old) - line_end if line_end >= 0 else 0
    comment = opening_before(old, start)
    if comment is None or old[start - 2 : start] == b"\\\n":
        return None
    lines = [comment + side[start : len(side) - tail] for side in (old, new)]
    if any(b"\\\n" in side + b"\n" or b'R"' in side or _HASH.search(side) for side in lines):
        return None
    words = [_WORDS.findall(side) for side in lines]

    def code(word: bytes) -> bytes:
        return obeyed(language, word) if word[:2] in (b"//", b"/*") else word

    still_open = [bool(side) and _OPEN.fullmatch(side[-1]) is not None for side in words]
    if still_open[0] != still_open[1]:
        return None
    before, after = (list(filter(None, map(code, side))) for side in words)
    return before == after


def is_trivial(language: str, old: bytes, new: bytes, limits: Limits) -> bool:
    """Whether both sides have the same tokens and structure.

    By the top-level items that the change touches where they parse by themselves, which a file that
    has them at the same places has in common with the rest; else by full parses.
    """
    grammar = GRAMMARS[language]
    if grammar.macros and (same := same_words(language, old, new)) is not None:
        return same
    items = changed_items(old, new) if grammar.anchored else None
    if (
        items is not None
        and len(items[0]) == len(items[1])
        and all(a.rank == b.rank for a, b in zip(*items, strict=True))
        and starts_outside(old, items[0], grammar)
        and starts_outside(new, items[1], grammar)
    ):
        texts = [b"".join(item.text for item in side) for side in items]
        common = difference(*texts)
        before, after = (tokens(language, text, common, limits) for text in texts)
        if before is not None and after is not None:
            return before == after
    common = difference(old, new)
    after = tokens(language, new, common, limits)
    return after is not None and after == tokens(language, old, common, limits)
