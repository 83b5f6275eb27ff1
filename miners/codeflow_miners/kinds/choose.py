"""Lets each miner that searches choose its pairs, and turns pairs into net file changes.

Selection sees the whole history of a repository at once, so the bounds of units leave no trace in
it. The net change of a pair is composed from the steps between its ends, by ids alone: a path that
comes back to where it was is no change, and renames are followed through the steps. With it go the
steps of pairs of several commits, as far as no patch of theirs was written yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.config import Limits
from codeflow.contracts import STEP_FEATURES, History, Miner, Pair, Sink
from codeflow.errors import RepositoryError
from codeflow.records import table_of
from codeflow_miners import tables
from codeflow_miners.changes import plan
from codeflow_miners.changes.renames import FileRow, pair_renames
from codeflow_miners.changes.treediff import PathChange, Side
from codeflow_miners.tables import CHANGES, PAIRS, Change


@dataclass(frozen=True)
class ChooseArguments:
    """Attributes: `commits` (the first `known` of them), `changes` (in order) and `features` are
    files of those tables; `patched` are the steps whose patches were written already."""

    repo: str
    commits: str
    known: int
    changes: tuple[str, ...]
    features: tuple[str, ...]
    starts: tuple[int, ...]
    patched: tuple[int, ...]
    miners: Mapping[str, Miner]
    limits: Limits


def choose_pairs(arguments: ChooseArguments, sink: Sink) -> dict[str, Any]:
    """Writes `pairs` and one `changes-N` for each content unit of theirs.

    Raises:
        RepositoryError: `bad-pair` when a miner breaks its contract.
    """
    commits = tables.commits(tables.read(arguments.commits).slice(0, arguments.known))
    features = None
    if any(miner.wants_features for miner in arguments.miners.values()):
        features = _sorted_features(tables.read_all(arguments.features, STEP_FEATURES))
    chosen: list[tuple[str, Pair]] = []
    for kind, miner in sorted(arguments.miners.items()):
        history = History(
            arguments.repo, commits, arguments.starts, features if miner.wants_features else None
        )
        pairs = list(miner.pairs(history))
        _check(kind, pairs, history)
        chosen += [(kind, pair) for pair in pairs]
    with sink.table("pairs", PAIRS) as writer:
        rows = [(kind, pair.old, pair.new, sorted(pair.scores.items())) for kind, pair in chosen]
        writer.write(table_of(rows, PAIRS))
    wanted = _changes([pair for _, pair in chosen], arguments.changes, set(arguments.patched))
    units = list(plan.plan_units(wanted))
    for number, unit in enumerate(units):
        with sink.table(f"changes-{number}", CHANGES) as writer:
            writer.write(unit)
    return {"pairs": len(chosen), "units": len(units)}


def _sorted_features(features: pa.Table) -> pa.Table:
    path = pc.coalesce(features.column("new_path"), features.column("old_path"))
    keys = pa.table({"step": features.column("step"), "path": path})
    order = pc.sort_indices(keys, sort_keys=[("step", "ascending"), ("path", "ascending")])
    return features.take(order)


def _check(kind: str, pairs: Sequence[Pair], history: History) -> None:
    starts = set(history.starts)
    seen = set()
    for pair in pairs:
        in_range = pair.old in starts and pair.old < pair.new < len(history.commits)
        if not in_range or (pair.old, pair.new) in seen:
            raise RepositoryError(
                "bad-pair", f"miner {kind!r} chose ({pair.old}, {pair.new}), which it may not"
            )
        seen.add((pair.old, pair.new))


def _changes(pairs: Sequence[Pair], paths: Iterable[str], patched: Set[int]) -> pa.Table:
    """CHANGES rows of every pair, `change` being its number, and of the steps of pairs of several
    that are not in `patched`, numbered on from the last pair."""
    if not pairs:
        return plan.empty()
    steps: dict[int, list[FileRow]] = {}
    wanted = {step for pair in pairs for step in range(pair.old, pair.new)}
    for path in paths:
        table = tables.read(path)
        mask = pc.is_in(table.column("change"), pa.array(sorted(wanted), pa.int32()))
        for change in tables.changes(table.filter(mask)):
            steps.setdefault(change.change, []).append(change.row)
    rows = []
    for number, pair in enumerate(pairs):
        between = [steps.get(step, []) for step in range(pair.old, pair.new)]
        rows += [Change(number, row) for row in compose(between)]
    several = {step for p in pairs if p.new - p.old > 1 for step in range(p.old, p.new)}
    for step in sorted(several - patched):
        rows += [Change(len(pairs) + step, row) for row in steps.get(step, [])]
    return tables.changes_table(rows)


def compose(steps: Iterable[Sequence[FileRow]]) -> list[FileRow]:
    """The net file rows of successive steps.

    A renamed file is a rename if its first path is gone and its last one new; the content unit
    makes it a deletion and an addition if little of it is left. Equal contents pair up besides.
    """
    before: dict[bytes, Side | None] = {}
    after: dict[bytes, Side | None] = {}
    origin: dict[bytes, bytes] = {}
    for rows in steps:
        moved = {}
        for row in rows:
            if row.old_path is not None:
                before.setdefault(row.old_path, row.old)
                after[row.old_path] = None
                if row.old_path != row.new_path:
                    first = origin.pop(row.old_path, row.old_path)
                    if row.new_path is not None:
                        moved[row.new_path] = first
        for row in rows:
            if row.new_path is not None:
                before.setdefault(row.new_path, None)
                after[row.new_path] = row.new
        origin.update(moved)
    changes = {p: PathChange(p, before[p], after[p]) for p in after if before[p] != after[p]}
    renames = []
    for new_path, old_path in sorted(origin.items()):
        gone, come = changes.get(old_path), changes.get(new_path)
        if gone and come and gone.old and not gone.new and come.new and not come.old:
            renames.append(FileRow(old_path, gone.old, new_path, come.new))
            del changes[old_path], changes[new_path]
    rest = pair_renames(list(changes.values()), 0, _never, _never)
    return [*renames, *rest]


def _never(blob: bytes) -> Any:
    raise AssertionError("exact renames need no contents")
