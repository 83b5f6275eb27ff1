"""What a patch alone says of the files it changes, so that most need not be read.

A patch holds every line that was added or removed, and three lines around them; contents are fifty
times as much. A filter that reads contents looks here first. What a look at the patch may say is
"this change cannot be one to drop"; a drop is decided on contents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from codeflow.records import FileChange
    from codeflow.triple import Step, Triple

T = TypeVar("T")

COMMENT_MARK: Final = re.compile(rb"/\*|\*/")
_CODE: Final = re.compile(rb"^[ \t]*+(?!\*).*[;{}][ \t\r]*$", re.MULTILINE)
_ADDED: Final = re.compile(r"^\+(.*\n?)", re.MULTILINE)


def sections(triple: Triple | Step) -> Iterator[tuple[FileChange, str]]:
    """The hunks of each changed file's section of the patch; a type change has two sections."""
    changes = [c for c in triple.files for _ in range(2 if c.status == "T" else 1)]
    texts = triple.patch.split("\ndiff --git ") if triple.patch else []
    for change, text in zip(changes, texts, strict=True):
        yield change, text[max(text.find("\n@@ "), 0) :] if "\n@@ " in text else ""


def hunks(section: str) -> Iterator[bytes]:
    """The lines of each hunk, with their signs and without its header."""
    for hunk in section.split("\n@@ ")[1:]:
        yield hunk[hunk.find("\n") + 1 :].encode("utf-8", "surrogatepass")


def sides(hunk: bytes) -> tuple[bytes, bytes]:
    """A hunk's lines before and after the change, without signs."""
    lines = hunk.split(b"\n")
    return (
        b"\n".join([line[1:] for line in lines if line[:1] in b" -"]),
        b"\n".join([line[1:] for line in lines if line[:1] in b" +"]),
    )


def added(triple: Triple | Step) -> bytes:
    """All lines that a triple or a step adds, and the headers that look like them."""
    return "".join(_ADDED.findall(triple.patch)).encode("utf-8", "surrogatepass")


def opening(old: bytes) -> bytes | None:
    """What to put before both sides of a hunk of a language with `/* */`: the mark of a comment if
    it starts within one, or nothing; None where that cannot be told.

    The first mark on the old side tells, unless it may be within a literal. Without one the old
    side lies in a comment as a whole or not at all, and a line that ends as code does, but not one
    that starts as comments do, is taken for code: commented-out code is mistaken.
    """
    mark = COMMENT_MARK.search(old)
    if mark is None:
        return b"" if _CODE.search(old) else None
    line = old[old.rfind(b"\n", 0, mark.start()) + 1 : mark.start()]
    if any(sign in line for sign in (b'"', b"'", b"`", b"//")):
        return None
    return b"/*" if mark[0] == b"*/" else b""


def once_a_triple(function: Callable[[Triple], T]) -> Callable[[Triple], T]:
    """Remembers what a function said of a triple for as long as the triple lives."""
    known: WeakKeyDictionary[Triple, T] = WeakKeyDictionary()

    def remembered(triple: Triple) -> T:
        if triple not in known:
            known[triple] = function(triple)
        return known[triple]

    return remembered
