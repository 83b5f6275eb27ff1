"""Which paths differ between two commits, from their trees alone; no content is read.

Parsed trees are kept between steps, because the trees of one commit are what the next one differs
from. On a large C history 3,633 steps take 0.6 to 0.7 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

from codeflow_miners.changes.paths import MAX_DEPTH
from codeflow_miners.objects.reader import Entry, ObjectReader

TREE = b"40000"
GITLINK = b"160000"
_CACHED_ENTRIES = 200_000


class Side(NamedTuple):
    """A file at one side of a change: canonical mode (octal) and blob id, both raw bytes."""

    mode: bytes
    blob: bytes


class PathChange(NamedTuple):
    """One path that differs; a side is None where the path does not exist."""

    path: bytes
    old: Side | None
    new: Side | None


class TreeDiffer:
    """Compares trees of one repository, remembering the parsed ones."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._trees: dict[bytes, frozenset[Entry]] = {}
        self._entries = 0

    def changes(self, old: bytes | None, new: bytes | None) -> list[PathChange]:
        """Changed files between two root trees (None: the empty tree), in order of path."""
        found: list[PathChange] = []
        if old != new:
            self._compare(old, new, b"", found, 0)
            found.sort(key=itemgetter(0))  # sets have another order in every process
        return found

    def files(self, tree: bytes) -> Iterator[PathChange]:
        """Every file of a tree, as an addition."""
        yield from self.changes(None, tree)

    def _compare(
        self,
        old: bytes | None,
        new: bytes | None,
        prefix: bytes,
        found: list[PathChange],
        depth: int,
    ) -> None:
        if depth > MAX_DEPTH:
            return  # such paths are outside the projection on both sides
        a = self._tree(old) if old is not None else _NOTHING
        b = self._tree(new) if new is not None else _NOTHING
        gone = {entry[1]: entry for entry in a - b}
        for mode, name, child in b - a:
            before = gone.pop(name, None)
            old_tree = before[2] if before is not None and before[0] == TREE else None
            new_tree = child if mode == TREE else None
            if old_tree is not None or new_tree is not None:
                self._compare(old_tree, new_tree, prefix + name + b"/", found, depth + 1)
            old_file = None if before is None or old_tree else Side(before[0], before[2])
            new_file = None if new_tree else Side(mode, child)
            if old_file or new_file:
                found.append(PathChange(prefix + name, old_file, new_file))
        for mode, name, child in gone.values():
            if mode == TREE:
                self._compare(child, None, prefix + name + b"/", found, depth + 1)
            else:
                found.append(PathChange(prefix + name, Side(mode, child), None))

    def _tree(self, object_id: bytes) -> frozenset[Entry]:
        entries = self._trees.get(object_id)
        if entries is None:
            entries = frozenset(self._reader.tree(object_id))
            self._trees[object_id] = entries
            self._entries += len(entries)
            while self._entries > _CACHED_ENTRIES and len(self._trees) > 1:
                oldest = next(iter(self._trees))
                self._entries -= len(self._trees.pop(oldest))
        else:  # most recently used last
            self._trees[object_id] = self._trees.pop(object_id)
        return entries


_NOTHING: frozenset[Entry] = frozenset()
