"""Which triples survive, and the projected Git trees of both their sides (`walk`).

No content is read, except the few files at the top of a tree that tell its licence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from codeflow.config import Limits
from codeflow.contracts import Commit, Sink
from codeflow.records import CONTAINED, LEDGER, TREES, LedgerRow
from codeflow_miners import tables
from codeflow_miners.changes.beside import Beside, BesideFiles
from codeflow_miners.changes.treediff import Side
from codeflow_miners.history.branches import NO_BRANCH
from codeflow_miners.kinds.branch import BRANCH_KIND
from codeflow_miners.kinds.commit import COMMIT_KIND
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.rows import RowBuffer
from codeflow_miners.snapshots.walk import Excursion, Walk
from codeflow_miners.tables import CHOSEN, SNAPSHOT_STEPS, SNAPSHOTS, STEPS

_BUCKET_BYTES = 64 << 20
_BUCKET_TRIPLES = 4096


@dataclass(frozen=True)
class SnapshotsArguments:
    """Everything known of one repository once its contents were read.

    Attributes:
        commits, contained, changes, patches, left_out, pairs: files of the tables of those names;
            `changes` in the order of their steps.
        starts: steps that become commit triples; empty when that kind is not wanted.
        branches: where branches are, and `beside` the files of their changes; None and empty when
            that kind is not wanted. `over` are those that change too many files, and how many.
        earliest: the commit whose files `changes` begins with.
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
    branches: BesideFiles | None
    beside: tuple[str, ...]
    over: Mapping[str, int]
    earliest: int
    limits: Limits


Key = tuple[str, int]
"""Source and pair of PATCHES."""


class Candidate(NamedTuple):
    """A pair on its way to a triple: the first columns of SNAPSHOTS."""

    source: str
    pair: int
    kind: str
    old: int
    new: int
    scores: list[tuple[str, float]]

    @property
    def key(self) -> Key:
        """What its patch goes by."""
        return self.source, self.pair


def take_snapshots(arguments: SnapshotsArguments, sink: Sink) -> dict[str, Any]:
    """Writes `trees`, `ledger` and `contained` (kept), `snapshots` and their `steps`.

    Returns:
        `buckets`: row ranges of `snapshots` to assemble together; `unreached`: number of blobs
        that no surviving snapshot holds.
    """
    commits = tables.commits(tables.read(arguments.commits))
    chain = len(commits)
    beside = arguments.branches.read() if arguments.branches else Beside([], 0)
    if arguments.branches:
        commits += tables.commits(tables.read(arguments.branches.beside))
    patch_bytes, dropped = _judge(arguments)
    steps = Steps(arguments, patch_bytes)
    kept = []
    with sink.mined("ledger", LEDGER) as writer:
        ledger = RowBuffer(writer, LEDGER)
        for left_out in _branches_left_out(arguments, beside):
            ledger.add(left_out)
        for candidate in _candidates(arguments, beside):
            verdict = dropped.get(candidate.key)
            if verdict is None and candidate.key not in patch_bytes:
                verdict = ("empty", "the change projects to nothing", None)
            for step, key in steps.of(candidate):
                if verdict is None and key in dropped:
                    rule, reason, _ = dropped[key]
                    verdict = (rule, f"in a step: {reason}", commits[step + 1].id)
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
    needed = sorted({k for c in kept for k in range(c.old, c.new + 1) if k < chain})
    excursions = _excursions(arguments, beside, {c.old for c in kept})
    with sink.mined("trees", TREES) as writer:
        walk = Walk(ObjectReader(Path(arguments.git_dir)), arguments.repo, rules, needed, writer)
        walked = walk.walk(arguments.changes, excursions, arguments.beside)
    roots, licenses = walked.roots, walked.licenses
    with sink.table("snapshots", SNAPSHOTS) as writer:
        snapshots = RowBuffer(writer, SNAPSHOTS)
        for c in kept:
            snapshots.add((*c, roots[c.old], roots[c.new], *(licenses[c.old] or (None, None))))
        snapshots.flush()
    published = {c.key for c in kept if c.kind == COMMIT_KIND}
    with sink.table("steps", SNAPSHOT_STEPS) as writer:
        rows = RowBuffer(writer, SNAPSHOT_STEPS)
        for k, c in enumerate(kept):
            for step, key in steps.of(c):
                rows.add((k, *key, step + 1, roots[step + 1], key in published))
        rows.flush()
    sizes = [
        sum(patch_bytes.get(key, 0) for key in (c.key, *(key for _, key in steps.of(c))))
        for c in kept
    ]
    return {"buckets": _buckets(sizes), "unreached": len(walked.unreached), "kept": len(kept)}


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


def _candidates(arguments: SnapshotsArguments, beside: Beside) -> Iterator[Candidate]:
    for step in arguments.starts:
        yield Candidate(STEPS, step, COMMIT_KIND, step, step + 1, [])
    if arguments.pairs is not None:
        for number, row in enumerate(tables.read(arguments.pairs).to_pylist()):
            yield Candidate(CHOSEN, number, row["kind"], row["old"], row["new"], row["scores"])
    for branch in beside.branches:
        if branch.rule is None and str(branch.number) not in arguments.over:
            net = beside.net(branch)
            yield Candidate(STEPS, net, BRANCH_KIND, branch.first, branch.head, [])


def _branches_left_out(arguments: SnapshotsArguments, beside: Beside) -> Iterator[LedgerRow]:
    for branch in beside.branches:
        files = arguments.over.get(str(branch.number))
        ends = (arguments.repo, branch.old, branch.new)
        if files is not None:
            limit = f"limits.max_tree_files is {arguments.limits.max_tree_files}"
            reason = f"{files} files in one change; {limit}"
            yield LedgerRow(BRANCH_KIND, "max-tree-files", reason, *ends)
        elif branch.rule is not None:
            yield LedgerRow(BRANCH_KIND, branch.rule, NO_BRANCH[branch.rule], *ends, branch.detail)


def _excursions(arguments: SnapshotsArguments, beside: Beside, kept: Set[int]) -> list[Excursion]:
    """The ways to the branches whose fork points are in `kept`, in the order of their changes."""
    return [
        Excursion(
            max(branch.base, arguments.earliest),
            ((branch.first, branch.first - 1), *((step + 1, step) for step in branch.steps)),
        )
        for branch in beside.branches
        if branch.rule is None and branch.first in kept
    ]


Verdict = tuple[str, str, str | None]


class Steps:
    """The steps of candidates of several commits, and where their patches are."""

    def __init__(self, arguments: SnapshotsArguments, patch_bytes: Mapping[Key, int]) -> None:
        self._patch_bytes = patch_bytes
        path = arguments.pairs
        self._pairs = tables.read(path).num_rows if path is not None else 0

    def of(self, candidate: Candidate) -> Iterator[tuple[int, Key]]:
        """Each step's number, and what its patch goes by; one that changes nothing has none."""
        if candidate.new - candidate.old > 1:
            for step in range(candidate.old, candidate.new):
                first = (STEPS, step)
                yield step, first if first in self._patch_bytes else (CHOSEN, self._pairs + step)


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
