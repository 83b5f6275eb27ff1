"""The patch as search/replace blocks: text to find in the old file, text to put there.

    <|file_sep|>PATH
    <<<<<<< SEARCH
    old lines
    =======
    new lines
    >>>>>>> REPLACE

Every SEARCH text occurs exactly once in the old file, and no two overlap, so the blocks can be
applied in any order. The marks are made longer where a line of the text begins with one. A text
that does not end with a line end has `no newline` on the mark behind it. A new file has an empty
SEARCH. Cost: a few searches through the old file a hunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from codeflow.documents import pieces as parts
from codeflow.documents.document import FILE_SEP, Document, Piece, Section, Window
from codeflow.documents.options import Options
from codeflow.documents.privacy import scrub_added
from codeflow.documents.triples.context import (
    hidden_paths,
    hunk_windows,
    is_hidden,
    merged,
    seen_file,
)
from codeflow.documents.triples.replies import reply_document
from codeflow.git.patch import FilePatch, Hunk, parse_patch
from codeflow.triple import Triple

_MARK = 7
_MARKS = re.compile(r"^(?:<{7,}|={7,}|>{7,})", re.MULTILINE)


class Block(NamedTuple):
    """One replacement in a file; `lines` are those of the old file that it searches for."""

    search: str
    replace: str
    lines: Window = Window(0, 0)


def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
    """One document: repository, old files, messages, `<|im_start|>blocks`, files with blocks."""
    old_repo = triple.old_repo
    sections = []
    hidden = hidden_paths(triple.files)
    for patch in parse_patch(triple.patch.encode()):
        if is_hidden(patch, hidden):
            continue
        old = (
            old_repo[patch.old_path].decode() if patch.old_path is not None and patch.hunks else ""
        )
        blocks = blocks_of(patch, old)
        written = parts.change_line(patch) + "".join(_written(block) for block in blocks)
        wide = [block.lines for block in blocks if block.search]
        seen = seen_file(triple, patch, merged([*hunk_windows(patch), *wide]))
        sections.append(Section((Piece(FILE_SEP, 1.0, special=True), Piece(written, 1.0)), seen))
    yield from reply_document(triple, options, "blocks", sections)


def blocks_of(patch: FilePatch, old: str) -> list[Block]:
    """The replacements that make the new file of the old one; none for a deletion."""
    if patch.new_path is None or not patch.hunks:
        return []
    if not old:
        return [Block("", scrub_added(hunk.new_text.decode(), "")) for hunk in patch.hunks]
    lines = re.findall(r"[^\n]*\n|[^\n]+", old)
    groups: list[tuple[int, int, list[Hunk]]] = []
    for hunk in patch.hunks:
        low, high = _unique(lines, old, hunk.old_skip, hunk.old_skip + hunk.old_lines)
        held = [hunk]
        while groups and low < groups[-1][1]:
            low, high = min(low, groups[-1][0]), max(high, groups[-1][1])
            held = groups.pop()[2] + held
        groups.append((low, high, held))
    found = []
    for low, high, hunks in groups:
        search = "".join(lines[low:high])
        new = scrub_added(_replaced(lines, low, high, hunks), old)
        found.append(Block(search, new, Window(low, high)))
    return found


def _unique(lines: Sequence[str], text: str, low: int, high: int) -> tuple[int, int]:
    """Widens a range of lines until its text occurs once; 1, 2, 4, ... more lines a side."""
    step = 1
    while True:
        search = "".join(lines[low:high])
        first = text.find(search)
        if search and text.find(search, first + 1) < 0:
            return low, high
        low, high = max(0, low - step), min(len(lines), high + step)
        step *= 2


def _replaced(lines: Sequence[str], low: int, high: int, hunks: Sequence[Hunk]) -> str:
    """The new text of the lines from `low` to `high`."""
    made: list[str] = []
    for hunk in hunks:
        made += lines[low : hunk.old_skip]
        made.append(hunk.new_text.decode())
        low = hunk.old_skip + hunk.old_lines
    return "".join([*made, *lines[low:high]])


def _written(block: Block) -> str:
    longest = max((len(mark) for side in block[:2] for mark in _MARKS.findall(side)), default=0)
    size = max(_MARK, longest + 1) if longest else _MARK
    old, old_end = _closed(block.search)
    new, new_end = _closed(block.replace)
    return f"{'<' * size} SEARCH\n{old}{'=' * size}{old_end}\n{new}{'>' * size} REPLACE{new_end}\n"


def _closed(text: str) -> tuple[str, str]:
    """The text with a line end behind it, and what the mark below says of that."""
    return (text, "") if not text or text.endswith("\n") else (f"{text}\n", " no newline")
