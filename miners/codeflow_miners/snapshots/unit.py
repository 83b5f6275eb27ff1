"""Which triples survive, and the projected Git trees of both their sides.

Walks the chain once, applying file changes to a tree kept in memory, and hashes only folders that
changed since the last snapshot needed. No content is read, except the
few files at the top of a tree that tell its licence.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.config import Limits
from codeflow.contracts import Commit, Sink, TableWriter
from codeflow.records import CONTAINED, LEDGER, TREES, LedgerRow
from codeflow_miners import tables
from codeflow_miners.changes.renames import FileRow
from codeflow_miners.changes.treediff import Side
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.rows import RowBuffer
from codeflow_miners.snapshots.licenses import License, evidence_files, license_of_tree
from codeflow_miners.snapshots.projection import ProjectedTree, TreeRow, entry_fields
from codeflow_miners.tables import CHOSEN, SNAPSHOTS, STEPS

_ENTRIES_PER_BATCH = 1 << 16
_BUCKET_BYTES = 64 << 20
_BUCKET_TRIPLES = 4096
COMMIT_KIND = "commit"


@dataclass(frozen=True)
class SnapshotsArguments:
    """Everything known of one repository once its contents were read.

    Attributes:
        commits, contained, changes, patches, left_out, pairs: files of the tables of those names;
            `changes` in the order of their steps.
        starts: steps that become commit triples; empty when that kind is not wanted.
    """

    repo: str
    git_dir: str
    commits: str
    contained: str
    changes: tuple[str, ...]
    patches: tuple[str, ...]
    left_out: tuple[str, ...]
    pairs: str | None
    starts: tuple[int, ...]
    limits: Limits


class Candidate(NamedTuple):
    """A pair on its way to a triple."""

    source: str
    pair: int
    kind: str
    old: int
    new: int
    scores: list[tuple[str, float]]


def take_snapshots(arguments: SnapshotsArguments, sink: Sink) -> dict[str, Any]:
    """Writes `trees`, `ledger` and `contained` (kept) and `snapshots`.

    Returns:
        `buckets`: row ranges of `snapshots` to assemble together; `unreached`: number of blobs
        that no surviving snapshot holds.
    """
    commits = tables.commits(tables.read(arguments.commits))
    patch_bytes, dropped = _judge(arguments)
    kept = []
    with sink.mined("ledger", LEDGER) as writer:
        ledger = RowBuffer(writer, LEDGER)
        for candidate in _candidates(arguments):
            key = (candidate.source, candidate.pair)
            verdict = dropped.get(key)
            if verdict is None and key not in patch_bytes:
                verdict = ("empty", "the change projects to nothing", None)
            if verdict is None:
                kept.append(candidate)
            else:
                ledger.add(_ledger_row(arguments.repo, commits, candidate, *verdict))
        rules = _left_out_rules(arguments.left_out)
        for (path, side), rule in sorted(rules.items()):
            detail = f"{path.decode(errors='backslashreplace')} {side.mode.decode()}"
            row = (rule, LEFT_OUT_REASONS[rule], arguments.repo, None, None)
            ledger.add(("left-out", *row, f"{detail} {side.blob.hex()}"))
        ledger.flush()
    with sink.mined("contained", CONTAINED) as writer:
        writer.write(tables.read(arguments.contained))
    needed = sorted({c.old for c in kept} | {c.new for c in kept})
    with sink.mined("trees", TREES) as writer:
        roots, licenses, unreached = _walk(arguments, rules, needed, writer)
    with sink.table("snapshots", SNAPSHOTS) as writer:
        snapshots = RowBuffer(writer, SNAPSHOTS)
        for c in kept:
            snapshots.add((*c, roots[c.old], roots[c.new], *(licenses[c.old] or (None, None))))
        snapshots.flush()
    sizes = [patch_bytes[c.source, c.pair] for c in kept]
    return {"buckets": _buckets(sizes), "unreached": len(unreached), "kept": len(kept)}


LEFT_OUT_REASONS: Mapping[str, str] = {
    "binary": "holds a NUL byte",
    "not-utf8": "is not valid UTF-8",
    "too-large": "is larger than projection.max_file_bytes",
    "secret": "holds a key or token, and projection.drop_secrets is on",
    "submodule": "is a submodule",
    "path-not-utf8": "its path is not valid UTF-8",
    "path-refused": "its path is one that Git's index refuses",
    "path-too-long": "its path is too long or too deep",
}


_PATH_RULES = ("path-not-utf8", "path-refused", "path-too-long")  # such blobs are written


def _candidates(arguments: SnapshotsArguments) -> Iterator[Candidate]:
    for step in arguments.starts:
        yield Candidate(STEPS, step, COMMIT_KIND, step, step + 1, [])
    if arguments.pairs is not None:
        for number, row in enumerate(tables.read(arguments.pairs).to_pylist()):
            yield Candidate(CHOSEN, number, row["kind"], row["old"], row["new"], row["scores"])


Key = tuple[str, int]
Verdict = tuple[str, str, str | None]


def _judge(arguments: SnapshotsArguments) -> tuple[dict[Key, int], dict[Key, Verdict]]:
    """Patch size of every pair that changes something, and the verdict on those that must go."""
    columns = ["source", "pair", "crosses", "patch_bytes"]
    parts = [tables.read(path).select(columns) for path in arguments.patches]
    if not parts:
        return {}, {}
    rows = pa.concat_tables(parts)
    totals = rows.group_by(["source", "pair"]).aggregate(
        [("crosses", "any"), ("patch_bytes", "sum"), ("patch_bytes", "count")]
    )
    limits = arguments.limits
    sizes: dict[Key, int] = {}
    dropped: dict[Key, Verdict] = {}
    for row in totals.to_pylist():
        key = (row["source"], row["pair"])
        size, files = row["patch_bytes_sum"], row["patch_bytes_count"]
        sizes[key] = size
        if row["crosses_any"]:
            reason = "a path is in the projection on one side and left out on the other"
            dropped[key] = ("crosses-projection", reason, None)
        elif files > limits.max_triple_files:
            reason = f"{files} files; limits.max_triple_files is {limits.max_triple_files}"
            dropped[key] = ("max-triple-files", reason, None)
        elif size > limits.max_patch_bytes:
            reason = f"patch of {size} bytes; limits.max_patch_bytes is {limits.max_patch_bytes}"
            dropped[key] = ("max-patch-bytes", reason, None)
    return sizes, dropped


def _ledger_row(
    repo: str, commits: Sequence[Commit], c: Candidate, rule: str, reason: str, detail: str | None
) -> LedgerRow:
    return LedgerRow(c.kind, rule, reason, repo, commits[c.old].id, commits[c.new].id, detail)


def _left_out_rules(paths: Iterable[str]) -> dict[tuple[bytes, Side], str]:
    rules = {}
    for path in paths:
        table = tables.read(path)
        for row in zip(*(table.column(n).to_pylist() for n in table.column_names), strict=True):
            rules[row[0], Side(row[1], row[2])] = row[3]
    return rules


def _walk(
    arguments: SnapshotsArguments,
    rules: Mapping[tuple[bytes, Side], str],
    needed: Sequence[int],
    writer: TableWriter,
) -> tuple[dict[int, str], dict[int, License | None], list[str]]:
    """Trees at the needed commits: root ids, licences, and the blobs that none of them holds."""
    licenses = LicenseReader(ObjectReader(Path(arguments.git_dir)))
    trees = TreeBuffer(arguments.repo, writer)
    tree = ProjectedTree()
    lives = Lifetimes(needed)
    roots: dict[int, str] = {}
    spdx: dict[int, License | None] = {}
    waiting = iter(needed)
    at = next(waiting, None)
    for step, rows in _by_step(arguments.changes):
        while at is not None and at <= step:  # the tree of commit k stands before step k
            roots[at] = _snapshot(tree, trees)
            spdx[at] = licenses.of(tree.top_files)
            at = next(waiting, None)
        if at is None:
            break
        _apply(tree, lives, rows, rules, step + 1)
    while at is not None:
        roots[at] = _snapshot(tree, trees)
        spdx[at] = licenses.of(tree.top_files)
        at = next(waiting, None)
    trees.flush()
    return roots, spdx, lives.unreached(_all_blobs(arguments.changes, rules))


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


def _apply(
    tree: ProjectedTree,
    lives: Lifetimes,
    rows: Sequence[FileRow],
    rules: Mapping[tuple[bytes, Side], str],
    index: int,
) -> None:
    """Removes everything old, then sets everything new, so that swaps come out right."""
    for row in rows:
        if row.old_path is not None and row.old is not None:
            if (row.old_path, row.old) not in rules:
                tree.remove(row.old_path)
            lives.end(row.old_path, index)
    for row in rows:
        if row.new_path is not None and row.new is not None:
            if (row.new_path, row.new) in rules:
                continue
            tree.set(row.new_path, row.new)
            lives.begin(row.new_path, row.new.blob, index)


def _snapshot(tree: ProjectedTree, trees: TreeBuffer) -> str:
    return tree.write(trees.add).hex()


def _all_blobs(paths: Iterable[str], rules: Mapping[tuple[bytes, Side], str]) -> set[bytes]:
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


def _buckets(sizes: Sequence[int]) -> list[tuple[int, int]]:
    buckets = []
    first = total = 0
    for k, size in enumerate(sizes):
        if k > first and (total + size > _BUCKET_BYTES or k - first >= _BUCKET_TRIPLES):
            buckets.append((first, k))
            first, total = k, 0
        total += size
    if first < len(sizes):
        buckets.append((first, len(sizes)))
    return buckets
