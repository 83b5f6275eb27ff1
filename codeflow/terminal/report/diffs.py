"""A patch as lines to read: numbers of both sides, what a line is, which words of it changed.

The counts in the hunk headers decide what a line is, not its first letter: a removed line may read
`-- a/x`. Everything is hostile text: control and direction characters become visible escapes here,
markup is escaped by the template. E-mail and IP addresses are replaced as in training documents.
Long lines and long patches are cut, and the cut is said.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from codeflow.documents.privacy import scrub
from codeflow.text.escape import visible

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_SHOWN_COLUMNS = 240
_MARKED_COLUMNS = 400
_ALIKE = 0.4  # below this two lines have too little in common for marks to help


class Segment(NamedTuple):
    """Part of a line; `changed` when the other side's line has something else there."""

    text: str
    changed: bool = False


@dataclass
class Line:
    """One line: `kind` is file, meta, hunk, add, del, keep or cut; numbers where it has them."""

    kind: str
    segments: list[Segment]
    old: int | None = None
    new: int | None = None

    @property
    def sign(self) -> str:
        return {"add": "+", "del": "-", "keep": " "}.get(self.kind, "")


@dataclass
class _Run:
    """Removed lines and the added ones that follow them."""

    removed: list[Line] = field(default_factory=list)
    added: list[Line] = field(default_factory=list)

    def mark(self) -> None:
        """Marks the words that differ where as many lines came as went."""
        if len(self.removed) == len(self.added):
            for old, new in zip(self.removed, self.added, strict=True):
                _mark_words(old, new)
        self.removed, self.added = [], []


def read_diff(patch: str, most_lines: int) -> list[Line]:
    """The first lines of a patch; if some are left, the last one says how many."""
    lines: list[Line] = []
    run = _Run()
    left = 0
    for line in _lines(patch):
        if len(lines) >= most_lines:
            left += 1
            continue
        lines.append(line)
        if line.kind == "del":
            if run.added:
                run.mark()
            run.removed.append(line)
        elif line.kind == "add":
            run.added.append(line)
        else:
            run.mark()
    run.mark()
    if left:
        lines.append(Line("cut", [Segment(f"{left:,} more line{'' if left == 1 else 's'}")]))
    return lines


def _lines(patch: str) -> Iterator[Line]:
    old = new = old_left = new_left = 0
    for text in patch.removesuffix("\n").split("\n"):
        if text.startswith("\\"):
            yield Line("meta", [Segment(_shown(text[2:]))])
        elif old_left > 0 or new_left > 0:
            sign, body = text[:1], [Segment(_shown(text[1:]))]
            kind = {"+": "add", "-": "del"}.get(sign, "keep")
            yield Line(kind, body, None if sign == "+" else old, None if sign == "-" else new)
            old, old_left = old + (sign != "+"), old_left - (sign != "+")
            new, new_left = new + (sign != "-"), new_left - (sign != "-")
        elif (match := _HUNK.match(text)) is not None:
            old, new = int(match[1]), int(match[3])
            old_left, new_left = (int(n) if n is not None else 1 for n in (match[2], match[4]))
            yield Line("hunk", [Segment(_shown(text))])
        elif text.startswith("diff --git "):
            yield Line("file", [Segment(_shown(_name(text.removeprefix("diff --git "))))])
        elif not text.startswith(("index ", "--- ", "+++ ")):
            yield Line("meta", [Segment(_shown(text))])


def _name(both: str) -> str:
    """`a/x b/x` as `x`; a rename as it stands."""
    half = (len(both) - 1) // 2
    one, two = both[:half], both[half + 1 :]
    if one.startswith("a/") and two.startswith("b/") and one[2:] == two[2:]:
        return one[2:]
    return both


def _shown(text: str) -> str:
    """What a line says, without its sign: `+a@b.org` would pass for an address as a whole."""
    text = visible(scrub(text))
    if len(text) <= _SHOWN_COLUMNS:
        return text
    return f"{text[:_SHOWN_COLUMNS]} … {len(text) - _SHOWN_COLUMNS:,} more characters"


def _mark_words(old: Line, new: Line) -> None:
    a, b = _WORD.findall(old.segments[0].text), _WORD.findall(new.segments[0].text)
    if len(a) + len(b) > _MARKED_COLUMNS:
        return
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return
    segments: tuple[list[Segment], list[Segment]] = ([], [])
    for tag, i, i2, j, j2 in matcher.get_opcodes():
        for side, text in zip(segments, ("".join(a[i:i2]), "".join(b[j:j2])), strict=True):
            if text:
                side.append(Segment(text, tag != "equal"))
    old.segments, new.segments = segments
