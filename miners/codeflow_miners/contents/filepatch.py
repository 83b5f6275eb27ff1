"""One file's section of a patch, in Git's extended format (git-diff(1), "Generating patch text").

Blob ids are written in full. A change between file and symlink is a deletion and a creation of the
same path, as Git writes it.
"""

from __future__ import annotations

import re

from codeflow_miners.changes.renames import FileRow
from codeflow_miners.contents.diff import Hunks

_PLAIN = re.compile(rb"[^\x00-\x1f\x7f-\xff\"\\]*")
_ESCAPES = {
    7: b"\\a",
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    11: b"\\v",
    12: b"\\f",
    13: b"\\r",
    34: b'\\"',
    92: b"\\\\",
}
NO_BLOB = b"0" * 40


def quote(path: bytes, always: bool = False) -> bytes:
    """A path as Git prints it with core.quotePath on: C-quoted when it holds anything odd."""
    if not always and _PLAIN.fullmatch(path):
        return path
    quoted = b"".join(
        _ESCAPES.get(c) or (b"\\%03o" % c if c < 32 or c > 126 else bytes((c,))) for c in path
    )
    return b'"' + quoted + b'"'


def is_type_change(row: FileRow) -> bool:
    """Whether one side is a symlink and the other a file."""
    return (
        row.old is not None
        and row.new is not None
        and (row.old.mode == b"120000") != (row.new.mode == b"120000")
    )


def file_patch(row: FileRow, hunks: Hunks, similarity: int = 100) -> bytes:
    """The section of a patch for one file (not for a type change, which is two sections).

    Args:
        hunks: difference of the two contents; empty body for equal ones.
        similarity: percent, for renames.
    """
    old_path = row.old_path if row.old_path is not None else row.new_path
    new_path = row.new_path if row.new_path is not None else row.old_path
    assert old_path is not None
    assert new_path is not None
    a, b = quote(b"a/" + old_path), quote(b"b/" + new_path)
    if b" /" in old_path and old_path == new_path and not hunks.body:
        # no other line names the file, and `git apply` cannot read such a header without quotes
        a, b = quote(b"a/" + old_path, always=True), quote(b"b/" + new_path, always=True)
    lines = [b"diff --git %s %s\n" % (a, b)]
    old_blob = row.old.blob.hex().encode() if row.old else NO_BLOB
    new_blob = row.new.blob.hex().encode() if row.new else NO_BLOB
    suffix = b""
    if row.old is None:
        assert row.new is not None
        lines.append(b"new file mode %s\n" % row.new.mode)
    elif row.new is None:
        lines.append(b"deleted file mode %s\n" % row.old.mode)
    elif row.old.mode != row.new.mode:
        lines.append(b"old mode %s\nnew mode %s\n" % (row.old.mode, row.new.mode))
    else:
        suffix = b" " + row.old.mode
    if old_path != new_path:
        names = (similarity, quote(old_path), quote(new_path))
        lines.append(b"similarity index %d%%\nrename from %s\nrename to %s\n" % names)
    # of a symlink that only moves, `git apply` must know the type to let files come below it
    if old_blob != new_blob or (old_path != new_path and suffix == b" 120000"):
        lines.append(b"index %s..%s%s\n" % (old_blob, new_blob, suffix))
    if hunks.body:
        lines.append(_name_line(b"---", a if row.old else b"/dev/null"))
        lines.append(_name_line(b"+++", b if row.new else b"/dev/null"))
        lines.append(hunks.body)
    return b"".join(lines)


def _name_line(sign: bytes, name: bytes) -> bytes:
    """Git ends a name that holds a space with a tab, so that readers find its end."""
    return sign + b" " + name + (b"\t\n" if b" " in name else b"\n")
