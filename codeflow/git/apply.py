"""Applying patches, more strictly than git does.

Git's `apply` looks for a hunk nearby when it does not fit; here a hunk stands exactly where it
says, every blob id of an `index` line is recomputed, and every line of the patch is accounted
for. Whatever this accepts, `git apply --cached` turns into the same tree.

All old contents are read before anything is written, so swaps and rings of renames work. A type
change is a deletion followed by a creation of the same path. Applying costs a count of line ends
up to each hunk and one copy of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from codeflow.errors import DataError
from codeflow.git.objects import blob_id
from codeflow.git.patch import FilePatch, Hunk, parse_patch

File = tuple[str, bytes]
"""A file: its mode and its content (a symlink's content is its target)."""

_CHUNK_BYTES = 1 << 14


def apply_patch(patch: bytes, old: Mapping[str, File]) -> dict[str, File]:
    """The files that result from applying `patch` to the files `old`.

    Raises:
        DataError: names the file and hunk that does not fit exactly.
    """
    edits = changed_files(parse_patch(patch), old)
    new = {path: file for path, file in old.items() if path not in edits}
    new.update((path, file) for path, file in edits.items() if file is not None)
    for path in new:
        head, slash, _ = path.rpartition("/")
        while slash:
            if head in new:
                raise DataError(f"{path}: a file stands at {head}, where a directory is needed")
            head, slash, _ = head.rpartition("/")
    return new


def changed_files(patches: Sequence[FilePatch], old: Mapping[str, File]) -> dict[str, File | None]:
    """What the patch makes of every path it touches: the new file, or None where it goes.

    Only touched paths are looked up in `old`; whether a file and a directory meet at one path is
    left to the caller, who knows the rest of the tree.

    Raises:
        DataError: as `apply_patch`.
    """
    touched = touched_paths(patches, lambda path: path in old)
    edits: dict[str, File | None] = dict.fromkeys(touched)
    for patch in patches:
        if patch.old_path is None:
            before = None
        elif patch.old_path in old:
            before = old[patch.old_path]
        else:
            raise DataError(f"{patch.old_path}: patched, but there is no such file")
        after = apply_file(patch, before)
        if after is not None:
            assert patch.new_path is not None
            edits[patch.new_path] = after
    return edits


def touched_paths(patches: Sequence[FilePatch], in_old: Callable[[str], bool]) -> set[str]:
    """All paths a patch reads or writes, after checking that each is used once a side.

    Raises:
        DataError: a path is taken twice, or written while the old file at it stays.
    """
    gone: set[str] = set()
    for patch in patches:
        if patch.old_path is not None:
            if patch.old_path in gone:
                raise DataError(f"{patch.old_path}: patched twice")
            gone.add(patch.old_path)
    written: set[str] = set()
    for patch in patches:
        if patch.new_path is not None:
            if patch.new_path in written:
                raise DataError(f"{patch.new_path}: written twice")
            if patch.new_path not in gone and in_old(patch.new_path):
                raise DataError(f"{patch.new_path}: created, but it is there already")
            written.add(patch.new_path)
    return gone | written


def apply_file(patch: FilePatch, old: File | None) -> File | None:
    """One file after its patch; None for what does not exist.

    Raises:
        DataError: the mode, a blob id or a hunk does not fit.
    """
    path = patch.path
    if (old is None) != (patch.old_path is None):
        raise DataError(f"{path}: one of patch and repository has no old file here")
    mode, content = old if old is not None else (None, b"")
    if patch.old_mode is not None and patch.old_mode != mode:
        raise DataError(f"{path}: the patch expects mode {patch.old_mode}, the file has {mode}")
    if patch.old_blob is not None and old is not None:
        _check_blob(patch.old_blob, content, f"{path}: before the patch")
    result = _apply_hunks(patch.hunks, content, path)
    if patch.new_path is None:
        if result:
            raise DataError(f"{path}: deleted, but {len(result)} bytes remain")
        return None
    if patch.new_blob is not None:
        _check_blob(patch.new_blob, result, f"{path}: after the patch")
    new_mode = patch.new_mode if patch.new_mode is not None else mode
    assert new_mode is not None
    return new_mode, result


def _check_blob(expected: str, content: bytes, where: str) -> None:
    actual = blob_id(content)
    if not actual.startswith(expected):
        raise DataError(f"{where}: the content is blob {actual}, the patch says {expected}")


def _apply_hunks(hunks: tuple[Hunk, ...], content: bytes, path: str) -> bytes:
    """Old bytes between the hunks, new bytes from them."""
    pieces = []
    position, line, shift = 0, 0, 0
    for number, hunk in enumerate(hunks, 1):
        where = f"{path}: hunk {number}"
        if hunk.old_skip < line:
            raise DataError(f"{where} overlaps the one before it")
        start = _skip_lines(content, position, hunk.old_skip - line)
        if start is None:
            raise DataError(f"{where} starts behind the end of the file")
        end = start + len(hunk.old_text)
        if not content.startswith(hunk.old_text, start):
            raise DataError(f"{where} does not match the file at line {hunk.old_skip + 1}")
        if hunk.old_text and not hunk.old_text.endswith(b"\n") and end != len(content):
            raise DataError(f"{where} ends the file, but the file goes on")
        if not hunk.ends_in_context and end != len(content):
            raise DataError(f"{where} has no context behind it, but the file goes on")
        if hunk.new_skip != hunk.old_skip + shift:
            raise DataError(f"{where} gives a wrong line number for the new file")
        if hunk.new_text and not hunk.new_text.endswith(b"\n") and end != len(content):
            raise DataError(f"{where} leaves a line without its end inside the file")
        pieces += [content[position:start], hunk.new_text]
        position, line = end, hunk.old_skip + hunk.old_lines
        shift += hunk.new_lines - hunk.old_lines
    return b"".join([*pieces, content[position:]])


def _skip_lines(content: bytes, position: int, lines: int) -> int | None:
    """The offset `lines` lines after `position`, or None when there are fewer."""
    while lines:
        chunk_end = position + _CHUNK_BYTES
        found = content.count(b"\n", position, chunk_end)
        if found < lines:
            if chunk_end >= len(content):
                return None
            lines -= found
            position = chunk_end
            continue
        for _ in range(lines):
            position = content.index(b"\n", position) + 1
        break
    return position
