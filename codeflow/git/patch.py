"""Git's extended unified format: paths in C quotes, headers, hunks.

Every line of a patch has to be accounted for; nothing is skipped. Copies and binary patches are
not part of the format. Lines end at LF only: carriage returns, form feeds and the like are
content. Reading is linear in the patch. Source: git's Documentation/diff-generate-patch.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from codeflow.errors import DataError
from codeflow.records import EXECUTABLE_MODE, FILE_MODE, SYMLINK_MODE
from codeflow.text.quoting import quote_path, unquote_path

_MODES = (FILE_MODE, EXECUTABLE_MODE, SYMLINK_MODE)
_NO_BLOB = "0" * 40
_HUNK = re.compile(
    rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: .*)?", re.DOTALL
)
_INDEX = re.compile(rb"([0-9a-f]{7,40})\.\.([0-9a-f]{7,40})(?: (\d{6}))?")
_NO_NEWLINE = b"\\ No newline at end of file"


class Hunk(NamedTuple):
    """One changed stretch of a file: all its old lines, and all its new ones.

    `old_skip` and `new_skip` are the numbers of lines before the hunk in either file.
    """

    old_skip: int
    new_skip: int
    old_lines: int
    new_lines: int
    old_text: bytes
    new_text: bytes
    additions: int
    deletions: int
    ends_in_context: bool


class FilePatch(NamedTuple):
    """What a patch says of one file. The side that does not exist has path None.

    Modes are None where the patch does not name them (a rename that keeps the mode); ids are
    None where it has no `index` line (content unchanged), and may be abbreviated.
    """

    old_path: str | None
    new_path: str | None
    old_mode: str | None
    new_mode: str | None
    old_blob: str | None
    new_blob: str | None
    hunks: tuple[Hunk, ...]

    @property
    def status(self) -> str:
        """Git's letter: A, D, R or M. A type change is a D and an A."""
        if self.old_path is None:
            return "A"
        if self.new_path is None:
            return "D"
        return "M" if self.old_path == self.new_path else "R"

    @property
    def path(self) -> str:
        path = self.new_path if self.new_path is not None else self.old_path
        assert path is not None
        return path

    @property
    def additions(self) -> int:
        return sum(hunk.additions for hunk in self.hunks)

    @property
    def deletions(self) -> int:
        return sum(hunk.deletions for hunk in self.hunks)


def parse_patch(patch: bytes, with_ids: bool = True) -> list[FilePatch]:
    """Reads a whole patch.

    Args:
        with_ids: whether changed content needs an `index` line, as in every patch that was mined;
            one that a model wrote has none.

    Raises:
        DataError: names the file and the hunk of the first thing that is not in the format.
    """
    if not patch:
        return []
    if not patch.endswith(b"\n"):
        raise DataError("patch: does not end with a newline")
    lines = patch.split(b"\n")
    lines.pop()
    reader = _Lines(lines)
    files = []
    while not reader.at_end:
        files.append(_parse_file(reader, with_ids))
    return files


class _Lines:
    """The lines of a patch, read once from the first to the last."""

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self._next = 0

    @property
    def at_end(self) -> bool:
        return self._next == len(self._lines)

    def peek(self) -> bytes | None:
        return None if self.at_end else self._lines[self._next]

    def take(self) -> bytes:
        self._next += 1
        return self._lines[self._next - 1]

    def after(self, prefix: bytes) -> bytes | None:
        """What follows `prefix` on the next line, which is then taken; None if it is another."""
        if self.at_end or not self._lines[self._next].startswith(prefix):
            return None
        return self.take()[len(prefix) :]

    def fail(self, where: str) -> NoReturn:
        line = b"the end of the patch" if self.at_end else self._lines[self._next][:80]
        raise DataError(f"{where}: did not expect {line.decode(errors='replace')!r}")


def _parse_file(lines: _Lines, with_ids: bool) -> FilePatch:
    header = lines.after(b"diff --git ")
    if header is None:
        lines.fail("patch")
    where = header[:200].decode(errors="replace")
    old_mode = _mode(lines.after(b"old mode "), where)
    new_mode = _mode(lines.after(b"new mode "), where)
    deleted = _mode(lines.after(b"deleted file mode "), where)
    created = _mode(lines.after(b"new file mode "), where)
    renamed = lines.after(b"similarity index ") is not None
    source, target = lines.after(b"rename from "), lines.after(b"rename to ")
    if len({old_mode is None, new_mode is None}) > 1 or len({renamed, source is not None}) > 1:
        lines.fail(where)
    if sum((created is not None, deleted is not None, source is not None)) > 1:
        lines.fail(where)
    if (created or deleted) and old_mode:
        lines.fail(where)
    if (source is None) != (target is None):
        lines.fail(where)
    if source is not None and target is not None:
        old_name, new_name = _unquote(source, where), _unquote(target, where)
    else:
        old_name = new_name = _same_name(header, where)
    names = b"a/" + old_name, b"b/" + new_name
    if header not in (b" ".join(quote_path(n, always) for n in names) for always in (False, True)):
        raise DataError(f"{where}: the names of the header and of the lines below differ")

    ids = lines.after(b"index ")
    index = _INDEX.fullmatch(ids) if ids is not None else None
    if ids is not None:
        if index is None or (index[3] is not None and (created or deleted or old_mode)):
            raise DataError(f"{where}: broken index line")
        kept_mode = _mode(index[3], where)
        if kept_mode is None and not (created or deleted or old_mode):
            raise DataError(f"{where}: the index line lacks the mode")
        old_mode = deleted or old_mode or kept_mode
        new_mode = created or new_mode or kept_mode
    hunks = _parse_hunks(lines, old_name, new_name, created, deleted, where)
    if index is None and (hunks or created or deleted):
        if with_ids:
            raise DataError(f"{where}: no index line, but the content changes")
        old_mode, new_mode = deleted or old_mode, created or new_mode
    elif index is None and not old_mode and source is None:
        raise DataError(f"{where}: changes nothing")
    old_blob = index[1].decode() if index else None
    new_blob = index[2].decode() if index else None
    for absent, blob in ((created, old_blob), (deleted, new_blob)):
        if blob is not None and (absent is not None) != _NO_BLOB.startswith(blob):
            raise DataError(f"{where}: the index line does not fit a file that is created or gone")
    return FilePatch(
        None if created else _text(old_name, where),
        None if deleted else _text(new_name, where),
        None if created else old_mode,
        None if deleted else new_mode,
        None if created else old_blob,
        None if deleted else new_blob,
        hunks,
    )


def _parse_hunks(
    lines: _Lines,
    old_name: bytes,
    new_name: bytes,
    created: str | None,
    deleted: str | None,
    where: str,
) -> tuple[Hunk, ...]:
    if not (lines.peek() or b"").startswith(b"--- "):
        return ()
    expected_old = b"/dev/null" if created else _label(b"a/" + old_name)
    expected_new = b"/dev/null" if deleted else _label(b"b/" + new_name)
    if lines.after(b"--- ") != expected_old or lines.after(b"+++ ") != expected_new:
        raise DataError(f"{where}: the names of the header and of the lines below differ")
    hunks: list[Hunk] = []
    while (lines.peek() or b"").startswith(b"@@ "):
        hunks.append(_parse_hunk(lines, f"{where}: hunk {len(hunks) + 1}"))
    if not hunks:
        lines.fail(where)
    return tuple(hunks)


def _parse_hunk(lines: _Lines, where: str) -> Hunk:
    match = _HUNK.fullmatch(lines.take())
    if match is None:
        raise DataError(f"{where}: broken @@ line")
    old_start, new_start = int(match[1]), int(match[3])
    old_lines = 1 if match[2] is None else int(match[2])
    new_lines = 1 if match[4] is None else int(match[4])
    if (old_lines and not old_start) or (new_lines and not new_start):
        raise DataError(f"{where}: lines are counted from 1")
    old: list[bytes] = []
    new: list[bytes] = []
    additions = deletions = 0
    sign = b""
    while len(old) < old_lines or len(new) < new_lines:
        if lines.at_end:
            raise DataError(f"{where}: the patch ends inside the hunk")
        line = lines.take()
        sign = line[:1]
        text = line[1:] + b"\n"
        if lines.peek() == _NO_NEWLINE:
            lines.take()
            text = line[1:]
        if sign in b" -" and sign:
            _add_line(old, text, where)
        if sign in b" +" and sign:
            _add_line(new, text, where)
        if sign not in (b" ", b"-", b"+"):
            raise DataError(f"{where}: a line starts with {sign!r}")
        additions += sign == b"+"
        deletions += sign == b"-"
    if len(old) != old_lines or len(new) != new_lines:
        raise DataError(f"{where}: the counts of the @@ line are wrong")
    if not additions and not deletions:
        raise DataError(f"{where}: changes nothing")
    return Hunk(
        old_start - (old_lines > 0),
        new_start - (new_lines > 0),
        old_lines,
        new_lines,
        b"".join(old),
        b"".join(new),
        additions,
        deletions,
        sign == b" ",
    )


def _add_line(side: list[bytes], text: bytes, where: str) -> None:
    if side and not side[-1].endswith(b"\n"):
        raise DataError(f"{where}: lines follow one without an end")
    side.append(text)


def _label(name: bytes) -> bytes:
    """A name on a `---` or `+++` line: git puts a tab behind one with a space in it."""
    quoted = quote_path(name)
    return quoted + b"\t" if b" " in quoted else quoted


def _same_name(header: bytes, where: str) -> bytes:
    """The name from `a/NAME b/NAME`, for a file that keeps its name."""
    half = len(header) // 2
    try:
        name = unquote_path(header[:half])
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    if not name.startswith(b"a/") or len(name) == 2:
        raise DataError(f"{where}: no name in the header")
    return name[2:]


def _unquote(text: bytes, where: str) -> bytes:
    try:
        return unquote_path(text)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


def _text(name: bytes, where: str) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise DataError(f"{where}: the path is not UTF-8") from None


def _mode(text: bytes | None, where: str) -> str | None:
    if text is None:
        return None
    mode = text.decode(errors="replace")
    if mode not in _MODES:
        raise DataError(f"{where}: mode {mode!r} is not one of {', '.join(_MODES)}")
    return mode
