"""The lines of many patches at once, as numpy arrays.

A patch of the dataset is in git's format without exception, so the first byte of a line and the
kind of line that opened its section say what it is; counting lines of hunks is not needed. Only
`---` and `+++` are ambiguous: above the first `@@` of a file they are names, below it a removed
line `-- x` or an added line `++ x`.

Costs a few passes over the bytes and arrays of a few words a line, no loop in Python.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]

PLUS, MINUS, BACKSLASH = ord("+"), ord("-"), ord("\\")
_NEWLINE, _AT = ord("\n"), ord("@")


class Lines(NamedTuple):
    """All lines of a batch of P patches, whose bytes follow one another in `text`.

    Attributes:
        text: (N,) the bytes.
        patches: (P + 1,) where each patch starts in `text`, and N.
        starts: (L + 1,) where each line starts, and N.
        first: (L,) first byte of each line.
        opens_file: (L,) `diff --git` lines.
        opens_hunk: (L,) `@@` lines.
        in_hunk: (L,) lines of a hunk below its `@@`.
    """

    text: Bytes
    patches: Ints
    starts: Ints
    first: Bytes
    opens_file: Bools
    opens_hunk: Bools
    in_hunk: Bools

    @property
    def lengths(self) -> Ints:
        """(L,) bytes of each line with its newline."""
        return np.diff(self.starts)

    def starting_with(self, head: bytes) -> Bools:
        """(L,) whether a line starts with two given bytes."""
        found: Bools = self.first == head[0]
        at = np.flatnonzero(found)
        found[at] = self.text[self.starts[at] + 1] == head[1]  # a newline at least
        return found


def find_lines(text: Bytes, patches: Ints) -> Lines:
    """Finds the lines of patches.

    Args:
        text: (N,) the patches, each empty or ended by a newline.
        patches: (P + 1,) where each starts, and N.
    """
    ends = np.flatnonzero(text == _NEWLINE) + 1
    starts = np.concatenate(([0], ends))
    first = text[starts[:-1]]
    lines = Lines(text, patches, starts, first, *(np.zeros(len(first), np.bool_),) * 3)
    opens_file = lines.starting_with(b"di")  # `deleted file mode` is the other that starts with d
    opens_hunk = first == _AT
    number = np.arange(len(first))
    opener = np.maximum.accumulate(np.where(opens_file | opens_hunk, number, 0))
    in_hunk = opens_hunk[opener] & ~opens_hunk
    return lines._replace(opens_file=opens_file, opens_hunk=opens_hunk, in_hunk=in_hunk)
