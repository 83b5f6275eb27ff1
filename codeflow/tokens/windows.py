"""What of a changed file a document shows: what has to be seen first, then as much more as fits.

A part of a file is marked as one, since a model that is to write `@@ -244,6 +244,9 @@` must be able
to know where it is:

    <|file_sep|>src/app.py
    @@ 241-252 of 390 @@
    ...twelve lines...

A file that is shown whole has no marks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from codeflow.documents.document import SeenFile, Window
from codeflow.documents.triples.context import merged
from codeflow.tokens.tokenizer import Encoder, Ids

WIDER = (400, 150, 60, 25, 10)  # lines more on either side, tried in this order
MARK_TOKENS = 24
"""More than a mark takes."""


def lines_of(text: str) -> list[str]:
    """Lines as Git counts them, each with its line end."""
    lines = text.split("\n")
    ended = [f"{line}\n" for line in lines[:-1]]
    return [*ended, lines[-1]] if lines[-1] else ended


def shown_text(text: str, windows: Sequence[Window]) -> str:
    """The lines of the windows, marked, or all of the text where they hold all of it."""
    lines = lines_of(text)
    cut = [Window(start, min(stop, len(lines))) for start, stop in windows if start < len(lines)]
    if not lines or cut == [Window(0, len(lines))]:
        return text
    return "".join(_written(lines, window) for window in cut)


def _written(lines: Sequence[str], window: Window) -> str:
    body = "".join(lines[window.start : window.stop])
    end = "" if body.endswith("\n") else "\n"
    return f"{mark(window, len(lines))}{body}{end}"


def mark(window: Window, lines: int) -> str:
    """The line above a part of a file: its first and its last line, counted from 1, and how many
    lines the file has."""
    return f"@@ {window.start + 1}-{window.stop} of {lines} @@\n"


def wider(windows: Sequence[Window], lines: int) -> tuple[Window, ...]:
    """The windows with so many more lines on either side."""
    return merged(Window(start - lines, stop + lines) for start, stop in windows)


def candidates(seen: SeenFile, content: Ids, encoder: Encoder) -> Iterator[tuple[int, int]]:
    """Ways to show more of a file, the most first: (how much wider, about how many tokens)."""
    ends = np.cumsum(encoder.newlines[content])
    total = int(ends[-1]) + 1 if len(ends) else 1
    for more in WIDER:
        tokens = 0
        for start, stop in wider(seen.windows, more):
            first, last = np.searchsorted(ends, [start, min(stop, total)])
            tokens += int(last - first) + MARK_TOKENS
        yield more, tokens
