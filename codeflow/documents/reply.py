"""What a model wrote, read back and applied: the inverse of the renderings that answer.

A reply comes as the texts between its `<|file_sep|>` tokens, cut at the tokens and not at their
spelling, which may stand in a file. Nothing is guessed or repaired: a hunk stands exactly where it
says, a SEARCH text occurs exactly once, names that git would refuse are refused. Cost: the changed
files, and the directories above them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from codeflow.errors import DataError
from codeflow.git.apply import File, changed_files, touched_paths
from codeflow.git.objects import blob_id, edited_tree_id
from codeflow.git.patch import FilePatch, parse_patch
from codeflow.records import EXECUTABLE_MODE, FILE_MODE, SYMLINK_MODE
from codeflow.text.paths import refused_by_git
from codeflow.text.quoting import unquote_path
from codeflow.triple import Snapshot, Triple

_SEARCH = re.compile(r"(<{7,}) SEARCH\n")
_MODES = (FILE_MODE, EXECUTABLE_MODE, SYMLINK_MODE)


class Applied(NamedTuple):
    """What a reply makes of the old side: the files it touches, None where one goes, and the
    resulting tree's id."""

    files: dict[str, File | None]
    tree: str


def apply_reply(rendering: str, parts: Sequence[str], triple: Triple) -> Applied:
    """Applies a reply to a triple's old side.

    Args:
        rendering: `diff`, `blocks` or `files`.
        parts: the texts before, between and behind the reply's `<|file_sep|>` tokens.

    Raises:
        DataError: the first thing that does not fit, in one line.
    """
    old = _OldSide(triple.old_repo)
    if rendering == "diff":
        if len(parts) > 1:
            raise DataError("patch: a <|file_sep|> in it")
        files = changed_files(parse_patch(parts[0].encode(), with_ids=False), old)
    elif parts[0]:
        raise DataError(f"reply: starts with {parts[0][:40]!r}, not with a file")
    else:
        files = _changed(parts[1:], old, _replaced if rendering == "blocks" else _whole)
    if not files:
        raise DataError("reply: changes nothing")
    for path, file in files.items():
        if file is not None and refused_by_git(path, file[0]):
            raise DataError(f"{path}: git refuses this name")
    edits = {path: file and (file[0], blob_id(file[1])) for path, file in files.items()}
    tree = edited_tree_id(triple.old_tree, edits, triple.old_repo.directory)
    return Applied(files, tree)


class _OldSide(Mapping[str, File]):
    """A snapshot as applying patches needs it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __getitem__(self, path: str) -> File:
        return self._snapshot.mode(path), self._snapshot[path]

    def __contains__(self, path: object) -> bool:
        return path in self._snapshot

    def __iter__(self) -> Iterator[str]:
        return iter(self._snapshot)

    def __len__(self) -> int:
        return len(self._snapshot)


def _changed(
    parts: Sequence[str], old: Mapping[str, File], change: Callable[[str, str | None, str], str]
) -> dict[str, File | None]:
    """The files of `blocks` and `files` replies. `change(text, old text, path)` is a new text."""
    named = [(_change(line), rest) for line, _, rest in (part.partition("\n") for part in parts)]
    patches = [patch for patch, _ in named]
    files: dict[str, File | None] = dict.fromkeys(touched_paths(patches, lambda path: path in old))
    for patch, text in named:
        if patch.old_path is not None and patch.old_path not in old:
            raise DataError(f"{patch.old_path}: changed, but there is no such file")
        if patch.new_path is None:
            if text:
                raise DataError(f"{patch.old_path}: deleted, but has a text")
            continue
        mode, content = old[patch.old_path] if patch.old_path is not None else (FILE_MODE, None)
        before = None if content is None else content.decode()
        after = patch.new_mode or mode, change(text, before, patch.new_path).encode()
        if (patch.old_path, mode, content) == (patch.new_path, *after):
            raise DataError(f"{patch.new_path}: named, but nothing changes in it")
        files[patch.new_path] = after
    return files


def _change(line: str) -> FilePatch:
    """What `render.parts.change_line` wrote; modes and texts of the old side are not known."""
    name, *notes = line.split("\t")
    path = _path(name)
    old: str | None = path
    new: str | None = path
    mode: str | None = None
    for note in notes:
        if note == "new":
            old = None
        elif note == "deleted":
            new = None
        elif note.startswith("from "):
            old = _path(note.removeprefix("from "))
        elif note.startswith("mode ") and note.removeprefix("mode ") in _MODES:
            mode = note.removeprefix("mode ")
        else:
            raise DataError(f"{path}: cannot be {note[:40]!r}")
    if old is None and new is None:
        raise DataError(f"{path}: both new and deleted")
    return FilePatch(old, new, None, mode, None, None, ())


def _path(name: str) -> str:
    try:
        path = unquote_path(name.encode()).decode()
    except ValueError as error:  # a UnicodeDecodeError is one
        raise DataError(f"reply: {name[:40]!r} is no path: {error}") from None
    if not path:
        raise DataError("reply: a file without a name")
    return path


def _whole(text: str, old: str | None, path: str) -> str:
    return text


def _replaced(text: str, old: str | None, path: str) -> str:
    """The new text after all blocks, each of which refers to the old one."""
    old = old or ""
    places = []
    for number, (search, replace) in enumerate(_blocks(text, path), 1):
        where = f"{path}: block {number}"
        if not search and old:
            raise DataError(f"{where}: an empty SEARCH, but the file is not empty")
        start = old.find(search)
        if start < 0:
            raise DataError(f"{where}: its SEARCH text is not in the file")
        if search and old.find(search, start + 1) >= 0:
            raise DataError(f"{where}: its SEARCH text occurs more than once")
        places.append((start, start + len(search), replace))
    pieces, end = [], 0
    for number, (start, stop, replace) in enumerate(sorted(places), 1):
        if start < end or (number > 1 and not old):
            raise DataError(f"{path}: two blocks overlap")
        pieces += [old[end:start], replace]
        end = stop
    return "".join([*pieces, old[end:]])


def _blocks(text: str, path: str) -> Iterator[tuple[str, str]]:
    """The (search, replace) of each block; marks of one block are equally long."""
    at = 0
    while at < len(text):
        first = _SEARCH.match(text, at)
        if first is None:
            raise DataError(f"{path}: expected a SEARCH mark, found {text[at : at + 40]!r}")
        size = len(first[1])
        sides = []
        at = first.end()
        for mark in (f"={{{size}}}", f">{{{size}}} REPLACE"):
            found = re.compile(rf"^{mark}( no newline)?\n", re.MULTILINE).search(text, at)
            if found is None:
                raise DataError(f"{path}: a block is not closed")
            side = text[at : found.start()]
            sides.append(side[:-1] if found[1] else side)
            at = found.end()
        yield sides[0], sides[1]
