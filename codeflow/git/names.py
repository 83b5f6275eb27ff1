"""Names that must not appear in a tree, or must not be written to a disk.

`refused_by_git` is what git's own index refuses everywhere it runs (`verify_path` in git's
read-cache.c, with `core.protectNTFS` on, as it is by default). `unsafe_to_write` also covers
what only some file systems read as `.git`, as HFS+ does, which skips invisible characters.
"""

from __future__ import annotations

import re

from codeflow.records import SYMLINK_MODE

# Each with what NTFS ignores behind it: spaces, periods, a stream's name.
_DOT_GIT = re.compile(r"(?:\.git|git~1)[ .]*(?:[\\:].*)?", re.I | re.A | re.S)
_DOT_GITMODULES = re.compile(
    r"(?:\.gitmodules|gitmod~[1-4]|(?P<short>[gi7eba]{0,6}~[1-9][0-9]*))[ .]*(?::.*)?",
    re.I | re.A | re.S,
)
_SHORT_NAME = "gi7eba"  # NTFS falls back to a hash; this is the one of `.gitmodules`
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


def refused_by_git(name: str, mode: str) -> bool:
    """Whether git's index refuses a path because of this one of its names.

    Args:
        name: one component of a path.
        mode: of the entry itself; only symlinks have further forbidden names.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return True
    # NTFS reads a backslash as a separator
    parts = [name] + [name[i + 1 :] for i, letter in enumerate(name) if letter == "\\"]
    if any(_DOT_GIT.fullmatch(part) for part in parts):
        return True
    return mode == SYMLINK_MODE and any(_is_gitmodules(part) for part in parts)


def unsafe_to_write(name: str, mode: str) -> bool:
    """Whether a file system we know of might take this name for `.git` or a parent folder."""
    return refused_by_git(name, mode) or refused_by_git(_HFS_IGNORED.sub("", name), mode)


def _is_gitmodules(name: str) -> bool:
    match = _DOT_GITMODULES.fullmatch(name)
    if match is None:
        return False
    short = match["short"]
    if short is None:
        return True
    return len(short) == 8 and _SHORT_NAME.startswith(short.partition("~")[0].lower())
