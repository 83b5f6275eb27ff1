"""A projected Git tree that is edited in memory and hashed folder by folder.

The object format is Git's (gitformat-pack(5), "tree"): entries sorted by name, a folder's name
compared as if it ended in a slash; the id is the SHA-1 of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import NamedTuple

from codeflow_miners.treediff import Side

Entry = tuple[str, str, str, bytes]
"""Mode, name and id as published, and the bytes of the entry in the tree object."""


class TreeRow(NamedTuple):
    """One tree object: raw id, entries in Git's order."""

    id: bytes
    entries: Sequence[Entry]


class _Folder:
    __slots__ = ("entries", "files", "folders", "id", "keys")

    def __init__(self) -> None:
        self.files: dict[bytes, Side] = {}
        self.folders: dict[bytes, _Folder] = {}
        self.entries: dict[bytes, Entry] = {}  # by sort key; dropped where stale
        self.keys: list[bytes] | None = None  # sorted; None after a name came or went
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
            child = folder.folders.get(part)
            if child is None:
                child = folder.folders[part] = _Folder()
                folder.keys = None
            folder = child
            folder.id = None
        if name not in folder.files:
            folder.keys = None
        folder.files[name] = side
        folder.entries.pop(name, None)

    def remove(self, path: bytes) -> None:
        """Takes the file at a path away, and folders that this leaves empty."""
        folders = [self._root]
        *above, name = path.split(b"/")
        for part in above:
            folders.append(folders[-1].folders[part])
        for folder in folders:
            folder.id = None
        del folders[-1].files[name]
        folders[-1].entries.pop(name, None)
        folders[-1].keys = None
        while above and not folders[-1].files and not folders[-1].folders:
            folders.pop()
            part = above.pop()
            del folders[-1].folders[part]
            folders[-1].entries.pop(part + b"/", None)
            folders[-1].keys = None

    def top_files(self) -> dict[str, Side]:
        """The files of the root folder."""
        return {name.decode(): side for name, side in self._root.files.items()}

    def write(self, emit: Callable[[TreeRow], None]) -> bytes:
        """Id of the root tree; every folder that changed since the last call is emitted."""
        return _write(self._root, emit)


def _write(folder: _Folder, emit: Callable[[TreeRow], None]) -> bytes:
    if folder.id is not None:
        return folder.id
    entries = folder.entries
    for name, child in folder.folders.items():
        key = name + b"/"
        if child.id is None or key not in entries:
            child_id = _write(child, emit)
            raw = b"40000 %s\0%s" % (name, child_id)
            entries[key] = ("40000", name.decode(), child_id.hex(), raw)
    if folder.keys is None:
        folder.keys = sorted([*folder.files, *(name + b"/" for name in folder.folders)])
    ordered = []
    for key in folder.keys:
        entry = entries.get(key)
        if entry is None:
            side = folder.files[key]
            raw = b"%s %s\0%s" % (side.mode, key, side.blob)
            entry = entries[key] = (side.mode.decode(), key.decode(), side.blob.hex(), raw)
        ordered.append(entry)
    body = b"".join([entry[3] for entry in ordered])
    folder.id = sha1(b"tree %d\0%s" % (len(body), body)).digest()
    emit(TreeRow(folder.id, ordered))
    return folder.id
