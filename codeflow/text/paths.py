"""Paths that git's index refuses: one definition for the miner, `verify`, `checkout` and replies.

It is `verify_path` in git's read-cache.c, with what it calls, restated. git protects against what
NTFS takes for `.git` everywhere (`core.protectNTFS`), and against what HFS+ takes for it where that
is asked for (`core.protectHFS`). Case is folded in ASCII alone, as git folds it: a Turkish dotless
i, a long s and the Kelvin sign are letters of their own.
"""

from __future__ import annotations

import re

from codeflow.records import SYMLINK_MODE

_NOWHERE = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\0")
# behind each what NTFS ignores: spaces, periods, a stream's name; it reads a backslash as a slash,
# but git does not look behind one that a name begins with
_DOT_GIT = re.compile(r"(?:\A|/|(?<=[^/])\\)(?:\.git|git~1)[ .]*(?:[/\\:]|\Z)", re.I | re.A)
# gi7eba: what NTFS falls back to, a hash, cut so that name, tilde and number are eight letters
_DOT_GITMODULES = re.compile(
    r"(?:\A|/|(?<=[^/])\\)(?:\.gitmodules|gitmod~[1-4]|gi7eba~[1-9]|gi7eb~[1-9]\d|gi7e~[1-9]\d{2}"
    r"|gi7~[1-9]\d{3}|gi~[1-9]\d{4}|g~[1-9]\d{5}|~[1-9]\d{6})[ .]*(?::|\Z)"
    r"|(?:\A|/)\.gitmodules/",
    re.I | re.A,
)
# code points that HFS+ ignores in names (`next_hfs_char` in git's utf8.c), and two that end a name
# there, because git takes them for broken UTF-8
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_HFS_DOT_GIT = re.compile("(?:\\A|/)\\.git(?:[/\ufffe\uffff]|\\Z)", re.I | re.A)
_HFS_DOT_GITMODULES = re.compile("(?:\\A|/)\\.gitmodules(?:[/\ufffe\uffff]|\\Z)", re.I | re.A)


def refused_by_git(path: str, mode: str, *, hfs: bool = False) -> bool:
    """Whether git's index refuses a path, which may be a single name.

    Args:
        path: from the root of the repository, with `/` between names.
        mode: of what lies there; symlinks have further forbidden names.
        hfs: as git does with `core.protectHFS`, so that no file system takes it for `.git`.
    """
    if _NOWHERE.search(path) or _DOT_GIT.search(path):
        return True
    link = mode == SYMLINK_MODE
    if link and _DOT_GITMODULES.search(path):
        return True
    if not hfs or path.isascii():
        return False
    shown = _HFS_IGNORED.sub("", path)
    return bool(_HFS_DOT_GIT.search(shown) or (link and _HFS_DOT_GITMODULES.search(shown)))
