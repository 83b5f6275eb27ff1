"""Which paths the projection refuses, whatever their content.

What git's own index refuses (`codeflow.text.paths`) on any file system, symlinks named
`.gitmodules` among them; paths that are not UTF-8, which cannot be stored as text; and paths that
exist only to break readers. Such paths are left out and listed.
"""

from __future__ import annotations

from codeflow.records import FILE_MODE, SYMLINK_MODE
from codeflow.text.paths import refused_by_git

MAX_DEPTH = 128  # folders below folders; deeper trees exist only to break readers
MAX_PATH_BYTES = 4096


def refused(path: bytes, symlink: bool = False) -> str | None:
    """Why the projection leaves this path out by name: a short rule, or None when it may stay."""
    if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_DEPTH:
        return "path-too-long"
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return "path-not-utf8"
    if refused_by_git(text, SYMLINK_MODE if symlink else FILE_MODE, hfs=True):
        return "path-refused"
    return None
