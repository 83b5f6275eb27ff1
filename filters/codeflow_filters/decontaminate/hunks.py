"""The lines of a unified diff, file by file, of any tool that wrote it.

Lines are counted by the hunk headers, so that a removed `-- x` is no file header. What does not
belong to a file with hunks (mails around a patch, modes, renames) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class FileLines(NamedTuple):
    """One file of a diff: its path after the change, or before it when it was deleted.

    `lines` are (sign, text): ` ` for context, `+` and `-`.
    """

    path: str
    lines: list[tuple[str, str]]

    def side(self, sign: str) -> list[str]:
        """The lines of one side, `+` or `-`: its own and the context."""
        return [text for mark, text in self.lines if mark in (sign, " ")]

    def only(self, sign: str) -> list[str]:
        """The lines with this sign."""
        return [text for mark, text in self.lines if mark == sign]


def files(patch: str) -> Iterator[FileLines]:
    """The files of a diff that have hunks, in order."""
    old_path = path = ""
    lines: list[tuple[str, str]] = []
    old_left = new_left = 0
    for line in patch.split("\n"):
        sign = line[:1]
        if old_left > 0 or new_left > 0:
            if sign == "+":
                new_left -= 1
            elif sign == "-":
                old_left -= 1
            elif sign == "\\":
                continue
            else:  # an empty line is a context line that lost its blank
                sign = " "
                old_left -= 1
                new_left -= 1
            lines.append((sign, line[1:]))
        elif line.startswith("@@"):
            header = _HUNK.match(line)
            if header is not None:
                old_left, new_left = (int(n) if n is not None else 1 for n in header.groups())
        elif line.startswith("--- "):
            if lines:
                yield FileLines(path, lines)
                lines = []
            old_path = _path(line)
        elif line.startswith("+++ "):
            path = _path(line)
            if path == "/dev/null":
                path = old_path
    if lines:
        yield FileLines(path, lines)


def _path(line: str) -> str:
    name = line[4:].split("\t", 1)[0].strip().strip('"')
    return name[2:] if name[:2] in ("a/", "b/") else name
