"""One walk through a history with a projected tree in memory: ids of the trees that are needed.

File changes are applied step by step, and only folders that changed since the last snapshot needed
are hashed. Beside the chain lie branches: at the base of each the walk goes out to its fork point
and to its head, and comes back by undoing what it did.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import TableWriter
from codeflow.records import TREES
from codeflow_miners import tables
from codeflow_miners.changes.renames import FileRow
from codeflow_miners.changes.treediff import Side
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.snapshots.licenses import License, evidence_files, license_of_tree
from codeflow_miners.snapshots.projection import ProjectedTree, TreeRow, entry_fields

_ENTRIES_PER_BATCH = 1 << 16
_PATH_RULES = ("path-not-utf8", "path-refused", "path-too-long")  # such blobs are written
Rules = Mapping[tuple[bytes, Side], str]
"""The rule of each (path, side) that is left out of the projection."""


class Excursion(NamedTuple):
    """A way from commit `base` of the chain through other commits: (commit, change to it)."""

    base: int
    ways: tuple[tuple[int, int], ...]


class Walked(NamedTuple):
    """By commit, its tree and its licence; and the blobs that no needed snapshot is known to
    hold."""

    roots: dict[int, str]
    licenses: dict[int, License | None]
    unreached: list[str]


class Walk:
    """A walk in progress; `walk` is all of it."""

    def __init__(
        self,
        reader: ObjectReader,
        repo: str,
        rules: Rules,
        needed: Sequence[int],
        writer: TableWriter,
    ) -> None:
        self._rules = rules
        self._licenses = LicenseReader(reader)
        self._trees = TreeBuffer(repo, writer)
        self._tree = ProjectedTree()
        self._lives = Lifetimes(needed)
        self._needed = needed
        self._found = Walked({}, {}, [])

    def walk(
        self,
        changes: Sequence[str],
        excursions: Sequence[Excursion],
        beside: Sequence[str],
    ) -> Walked:
        """Args:
        changes: files of the chain's CHANGES in the order of steps.
        excursions: in the order of their bases.
        beside: files of the excursions' CHANGES in the order of the excursions; others may
            stand between.
        """
        stops = sorted({*self._needed, *(e.base for e in excursions)})
        needed = set(self._needed)
        waiting, out = iter(stops), iter(enumerate(excursions))
        off_chain = _Beside(beside, excursions)
        at, next_out = next(waiting, None), next(out, None)

        def stop_at(index: int) -> None:
            nonlocal next_out
            if index in needed:
                self._take(index)
            while next_out is not None and next_out[1].base == index:
                self._go(next_out[1], off_chain.of(next_out[0]))
                next_out = next(out, None)

        for step, rows in _by_step(changes):
            while at is not None and at <= step:  # the tree of commit k stands before step k
                stop_at(at)
                at = next(waiting, None)
            if at is None:
                break
            self._apply(rows, step + 1)
        while at is not None:
            stop_at(at)
            at = next(waiting, None)
        self._trees.flush()
        unreached = self._lives.unreached(_all_blobs([*changes, *beside], self._rules))
        return self._found._replace(unreached=unreached)

    def _take(self, index: int) -> None:
        self._found.roots[index] = self._tree.write(self._trees.add).hex()
        self._found.licenses[index] = self._licenses.of(self._tree.top_files)

    def _go(self, excursion: Excursion, changes: Mapping[int, list[FileRow]]) -> None:
        """Out and back."""
        done = []
        for index, number in excursion.ways:
            rows = changes.get(number, [])  # a change without rows stands in no table
            for _, side in self._edit(rows):
                self._lives.reach(side.blob)
            done.append(rows)
            self._take(index)
        for rows in reversed(done):
            self._edit([FileRow(r.new_path, r.new, r.old_path, r.old) for r in rows])

    def _apply(self, rows: Sequence[FileRow], index: int) -> None:
        for row in rows:
            if row.old_path is not None:
                self._lives.end(row.old_path, index)
        for path, side in self._edit(rows):
            self._lives.begin(path, side.blob, index)

    def _edit(self, rows: Sequence[FileRow]) -> list[tuple[bytes, Side]]:
        """Removes everything old, then sets everything new, so that swaps come out right. Returns
        what was set."""
        for row in rows:
            if row.old_path is None or row.old is None:
                continue
            if (row.old_path, row.old) not in self._rules:
                self._tree.remove(row.old_path)
        new = [
            (row.new_path, row.new)
            for row in rows
            if row.new_path is not None
            and row.new is not None
            and (row.new_path, row.new) not in self._rules
        ]
        for path, side in new:
            self._tree.set(path, side)
        return new


class _Beside:
    """The changes of excursions, one at a time; files hold them in the same order."""

    def __init__(self, paths: Sequence[str], excursions: Sequence[Excursion]) -> None:
        self._changes = _by_step(paths)
        self._held: tuple[int, list[FileRow]] | None = next(self._changes, None)
        self._owner = {n: k for k, e in enumerate(excursions) for _, n in e.ways}

    def of(self, k: int) -> dict[int, list[FileRow]]:
        """The rows of excursion k by change."""
        found = {}
        while self._held is not None:
            number, rows = self._held
            owner = self._owner.get(number)
            if owner is not None and owner > k:
                break
            if owner == k:
                found[number] = rows
            self._held = next(self._changes, None)
        return found


def _by_step(paths: Iterable[str]) -> Iterator[tuple[int, list[FileRow]]]:
    """The rows of each step, in order; rows of one step stand together."""
    current: int | None = None
    rows: list[FileRow] = []
    for path in paths:
        for step, row in tables.changes(tables.read(path)):
            if step != current:
                if current is not None:
                    yield current, rows
                current, rows = step, []
            rows.append(row)
    if current is not None:
        yield current, rows


def _all_blobs(paths: Iterable[str], rules: Rules) -> set[bytes]:
    left_out = {side.blob for (_, side), rule in rules.items() if rule not in _PATH_RULES}
    blobs: set[bytes] = set()
    for path in paths:
        table = tables.read(path)
        for name in ("old_blob", "new_blob"):
            blobs.update(pc.unique(table.column(name)).drop_null().to_pylist())
    return blobs - left_out


class Lifetimes:
    """Which blobs stand in at least one needed snapshot; intervals are half-open commit indices."""

    def __init__(self, needed: Sequence[int]) -> None:
        self._needed = needed
        self._alive: dict[bytes, tuple[bytes, int]] = {}
        self._reached: set[bytes] = set()

    def begin(self, path: bytes, blob: bytes, index: int) -> None:
        """A blob stands at `path` from commit `index` on."""
        self._alive[path] = (blob, index)

    def reach(self, blob: bytes) -> None:
        """A blob stands in a snapshot beside the chain."""
        self._reached.add(blob)

    def end(self, path: bytes, index: int) -> None:
        """What stood at `path` is gone from commit `index` on."""
        found = self._alive.pop(path, None)
        if found is not None:
            self._close(*found, index)

    def _close(self, blob: bytes, start: int, stop: int) -> None:
        k = bisect_left(self._needed, start)
        if k < len(self._needed) and self._needed[k] < stop:
            self._reached.add(blob)

    def unreached(self, blobs: set[bytes]) -> list[str]:
        """Hex ids of those of `blobs` that no needed snapshot holds, sorted."""
        for blob, start in self._alive.values():
            self._close(blob, start, 1 << 62)
        return sorted(blob.hex() for blob in blobs - self._reached)


class LicenseReader:
    """The licence of a tree from its top-level files, remembered by their ids."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self._known: dict[tuple[tuple[str, bytes], ...], License | None] = {}
        self._last: tuple[Mapping[bytes, Side], License | None] = ({}, None)

    def of(self, top: Mapping[bytes, Side]) -> License | None:
        """The licence of a tree with these top-level files (projected, so they are text)."""
        if top != self._last[0]:
            self._last = dict(top), self._read({name.decode(): top[name] for name in top})
        return self._last[1]

    def _read(self, top: Mapping[str, Side]) -> License | None:
        names = evidence_files(name for name, side in top.items() if side.mode != b"120000")
        key = tuple((name, top[name].blob) for name in names)
        if key not in self._known:
            self._known[key] = license_of_tree(_Contents(dict(key), self._reader.blob))
        return self._known[key]


class _Contents(Mapping[str, bytes]):
    """Contents by name, read when they are asked for: most trees need none but their licence."""

    def __init__(self, blobs: Mapping[str, bytes], read: Callable[[bytes], bytes]) -> None:
        self._blobs = blobs
        self._read = read

    def __getitem__(self, name: str) -> bytes:
        return self._read(self._blobs[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)


class TreeBuffer:
    """Projected trees on their way to disk, each distinct one once.

    Most entries of a tree are those of the version before, so Arrow numbers the distinct ones of a
    batch, and only these become strings.
    """

    def __init__(self, repo: str, writer: TableWriter) -> None:
        self._repo = repo
        self._writer = writer
        self._seen: set[bytes] = set()
        self._clear()

    def _clear(self) -> None:
        self._ids: list[str] = []
        self._offsets = [0]
        self._entries: list[bytes] = []

    def add(self, row: TreeRow) -> None:
        """Takes a tree; one already taken costs a lookup."""
        if row.id in self._seen:
            return
        self._seen.add(row.id)
        self._ids.append(row.id.hex())
        self._entries += row.entries
        self._offsets.append(len(self._entries))
        if len(self._entries) >= _ENTRIES_PER_BATCH:
            self.flush()

    def flush(self) -> None:
        """Writes what is held as one row group."""
        if not self._ids:
            return
        kind = TREES.field("entries").type
        numbered = pa.array(self._entries, pa.binary()).dictionary_encode()
        distinct = [entry_fields(entry) for entry in numbered.dictionary.to_pylist()]
        columns = list(zip(*distinct, strict=True)) or [(), (), ()]
        fields = pa.StructArray.from_arrays(
            [pa.array(column, pa.string()) for column in columns], fields=list(kind.value_type)
        )
        entries = pa.ListArray.from_arrays(
            pa.array(self._offsets, pa.int32()), fields.take(numbered.indices), type=kind
        )
        repo = pa.repeat(pa.scalar(self._repo), len(self._ids))
        self._writer.write(pa.table([repo, pa.array(self._ids), entries], schema=TREES))
        self._clear()
