"""A projected Git tree that is edited in memory and hashed folder by folder.

The object format is Git's (gitformat-pack(5), "tree"): entries sorted by name, a folder's name
compared as if it ended in a slash; the id is the SHA-1 of the object.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from hashlib import sha1
from typing import NamedTuple

from codeflow_miners.changes.treediff import Side


class TreeRow(NamedTuple):
    """One tree object: its raw id, and its entries in Git's order, each as it stands in it."""

    id: bytes
    entries: tuple[bytes, ...]


def entry_fields(entry: bytes) -> tuple[str, str, str]:
    """(mode, name, hex id) of an entry of a tree object."""
    mode, _, rest = entry[:-21].partition(b" ")
    return mode.decode(), rest.decode(), entry[-20:].hex()


class _Folder:
    """Entries are kept in order and mended where they changed: most folders change by one file."""

    __slots__ = ("changed", "entries", "files", "folders", "id", "keys")

    def __init__(self) -> None:
        self.files: dict[bytes, Side] = {}
        self.folders: dict[bytes, _Folder] = {}
        self.keys: list[bytes] = []  # names to sort by, a folder's with its slash
        self.entries: list[bytes] = []  # of the same order
        self.changed: set[bytes] = set()  # keys whose entries are stale, missing or left over
        self.id: bytes | None = None  # None when anything below changed


class ProjectedTree:
    """The projected files of one commit at a time."""

    def __init__(self) -> None:
        self._root = _Folder()

    def set(self, path: bytes, side: Side) -> None:
        """Puts a file at a path."""
        folder = self._root
        *above, name = path.split(b"/")
        folder.id = None
        for part in above:
            folder.changed.add(part + b"/")
            child = folder.folders.get(part)
            if child is None:
                child = folder.folders[part] = _Folder()
            folder = child
            folder.id = None
        folder.files[name] = side
        folder.changed.add(name)

    def remove(self, path: bytes) -> None:
        """Takes the file at a path away, and folders that this leaves empty."""
        folders = [self._root]
        *above, name = path.split(b"/")
        for part in above:
            folders[-1].changed.add(part + b"/")
            folders.append(folders[-1].folders[part])
        for folder in folders:
            folder.id = None
        del folders[-1].files[name]
        folders[-1].changed.add(name)
        while above and not folders[-1].files and not folders[-1].folders:
            folders.pop()
            del folders[-1].folders[above.pop()]

    @property
    def top_files(self) -> Mapping[bytes, Side]:
        """The files of the root folder."""
        return self._root.files

    def write(self, emit: Callable[[TreeRow], None]) -> bytes:
        """Id of the root tree; every folder that changed since the last call is emitted."""
        return _write(self._root, emit)


def _write(folder: _Folder, emit: Callable[[TreeRow], None]) -> bytes:
    if folder.id is not None:
        return folder.id
    keys, entries = folder.keys, folder.entries
    for key in sorted(folder.changed):
        entry = _entry(folder, key, emit)
        at = bisect_left(keys, key)
        there = at < len(keys) and keys[at] == key
        if entry is None:
            if there:
                del keys[at], entries[at]
        elif there:
            entries[at] = entry
        else:
            keys.insert(at, key)
            entries.insert(at, entry)
    folder.changed.clear()
    body = b"".join(entries)
    folder.id = sha1(b"tree %d\0%s" % (len(body), body)).digest()
    emit(TreeRow(folder.id, tuple(entries)))
    return folder.id


def _entry(folder: _Folder, key: bytes, emit: Callable[[TreeRow], None]) -> bytes | None:
    if key.endswith(b"/"):
        child = folder.folders.get(key[:-1])
        return None if child is None else b"40000 %s\0%s" % (key[:-1], _write(child, emit))
    side = folder.files.get(key)
    return None if side is None else b"%s %s\0%s" % (side.mode, key, side.blob)
