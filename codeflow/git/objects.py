"""Git's object ids, computed without git: what a blob and a tree are named after their bytes.

Everything that is published is addressed by these ids, so hashing what was read is the whole of
verification. A SHA-1 runs at 1-2 GB/s; a call costs about a microsecond beyond that.
Format: git's Documentation/gitformat-pack and `git help mktree`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from codeflow.errors import DataError
from codeflow.records import TREE_MODE

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class TreeEntry(NamedTuple):
    """One name in a directory: `mode` as in `codeflow.records`, `id` of a blob or of a tree."""

    mode: str
    name: str
    id: str

    @property
    def is_tree(self) -> bool:
        return self.mode == TREE_MODE


Edit = tuple[str, str] | None
"""What becomes of one path: its new (mode, blob id), or None when it goes."""


def blob_id(content: bytes) -> str:
    """The id git gives a file of these bytes."""
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()


def tree_id(entries: Iterable[TreeEntry]) -> str:
    """The id git gives a directory of these entries, taken in the order given.

    Raises:
        ValueError: an id is not hexadecimal.
    """
    body = b"".join(
        b"%s %s\0%s" % (entry.mode.encode(), entry.name.encode(), bytes.fromhex(entry.id))
        for entry in entries
    )
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def tree_order(entry: TreeEntry) -> bytes:
    """Sort key of git's order: by bytes, a directory as if its name ended in a slash."""
    name = entry.name.encode()
    return name + b"/" if entry.is_tree else name


def edited_tree_id(
    root: str, edits: Mapping[str, Edit], load: Callable[[str], Sequence[TreeEntry]]
) -> str:
    """The id of the tree that results from edits of files under `root`.

    Only directories above an edited path are loaded and hashed.

    Args:
        edits: by path; a path that goes has to exist, and so on: see Raises.
        load: the entries of a tree id.

    Raises:
        DataError: an edit removes a file that is not there, or a file and a directory would
            stand at one path.
    """
    return _edited(root, edits, load, "") or EMPTY_TREE


def _edited(
    tree: str | None,
    edits: Mapping[str, Edit],
    load: Callable[[str], Sequence[TreeEntry]],
    where: str,
) -> str | None:
    """The id of one edited directory, None when nothing is left in it."""
    entries = {entry.name: entry for entry in (load(tree) if tree is not None else ())}
    below: dict[str, dict[str, Edit]] = {}
    here: dict[str, Edit] = {}
    for path, edit in edits.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = edit
        else:
            here[name] = edit
    for name in [name for name, edit in here.items() if edit is None]:
        if name not in entries or entries[name].is_tree:
            raise DataError(f"{where}{name}: removed, but there is no such file")
        del entries[name]
    for name, inner in below.items():
        old = entries.pop(name, None)
        if old is not None and not old.is_tree:
            raise DataError(f"{where}{name}: a file stands where a directory is needed")
        new = _edited(old.id if old else None, inner, load, f"{where}{name}/")
        if new is not None:
            entries[name] = TreeEntry(TREE_MODE, name, new)
    for name, edit in here.items():
        if edit is not None:
            if name in entries and entries[name].is_tree:
                raise DataError(f"{where}{name}: a directory stands where a file is written")
            entries[name] = TreeEntry(edit[0], name, edit[1])
    return tree_id(sorted(entries.values(), key=tree_order)) if entries else None
