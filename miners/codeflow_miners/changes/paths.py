"""Which paths the projection refuses, whatever their content.

Git's own index refuses `.`, `..`, `.git` in any case and its NTFS and HFS+ look-alikes, and
symlinks named `.gitmodules` (verify_path in Git's read-cache.c). Paths that are not UTF-8 cannot
be stored as text. Such paths are left out and listed.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_DEPTH = 128  # folders below folders; deeper trees exist only to break readers
MAX_PATH_BYTES = 4096

# code points that HFS+ ignores in names (Git's utf8.c, next_hfs_char)
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_DOT_GIT = re.compile(r"(?i)(?:\.git|git~1)[ .]*(?:[:\\].*)?", re.S)
# gi7eba: what NTFS falls back to, a hash, cut so that name, tilde and number are eight letters
_DOT_GITMODULES = re.compile(
    r"(?i)(?:\.gitmodules|gitmod~[1-4]|gi7eba~[1-9]|gi7eb~[1-9]\d|gi7e~[1-9]\d{2}|gi7~[1-9]\d{3}"
    r"|gi~[1-9]\d{4}|g~[1-9]\d{5}|~[1-9]\d{6})[ .]*(?::.*)?",
    re.A | re.S,
)


def refused(path: bytes, symlink: bool = False) -> str | None:
    """Why the projection leaves this path out by name: a short rule, or None when it may stay."""
    if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_DEPTH:
        return "path-too-long"
    for component in path.split(b"/"):
        rule = _component_rule(component)
        if rule:
            return rule
    if symlink:
        name = _HFS_IGNORED.sub("", path.rpartition(b"/")[2].decode())
        while True:  # from each backslash on, as an NTFS reader would take it
            if _DOT_GITMODULES.fullmatch(name):
                return "path-refused"
            _, backslash, name = name.partition("\\")
            if not backslash:
                break
    return None


@lru_cache(maxsize=1 << 16)
def _component_rule(component: bytes) -> str | None:
    try:
        name = component.decode()
    except UnicodeDecodeError:
        return "path-not-utf8"
    if name in ("", ".", ".."):
        return "path-refused"
    # an NTFS reader takes a backslash for a separator, so each piece must be harmless
    for piece in _HFS_IGNORED.sub("", name).split("\\"):
        if _DOT_GIT.fullmatch(piece):
            return "path-refused"
    return None
