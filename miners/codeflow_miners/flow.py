"""The flow of one repository, from its line in the list to its triples.

Two generators, because forks are settled between them: `open_repository` ends with the history
read, `mine_repository` starts with the steps that are the repository's own. Each yields the units
that may run side by side and is sent their results; who runs them, and where, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeflow.config import MineConfig
from codeflow.contracts import Flow, Miner, Unit, UnitResult
from codeflow_miners.acquire.open import (
    AcquireArguments,
    HistoryArguments,
    Opened,
    acquire_source,
    find_again,
    read_history,
)
from codeflow_miners.acquire.repositories import Source
from codeflow_miners.changes.beside import (
    BRANCHES_PER_UNIT,
    BesideArguments,
    BesideFiles,
    read_beside,
)
from codeflow_miners.changes.plan import PlanArguments, plan_contents
from codeflow_miners.changes.steps import STEPS_PER_UNIT, StepsArguments, read_steps
from codeflow_miners.contents.unit import ContentArguments, read_content
from codeflow_miners.kinds.branch import BRANCH_KIND, BranchMiner
from codeflow_miners.kinds.choose import ChooseArguments, choose_pairs
from codeflow_miners.kinds.commit import COMMIT_KIND
from codeflow_miners.snapshots.assemble import AssembleArguments, assemble
from codeflow_miners.snapshots.unit import SnapshotsArguments, take_snapshots
from codeflow_miners.tables import CHOSEN, STEPS


@dataclass(frozen=True)
class MiningContext:
    """What the flows of a run share. `miners` are those of the wanted kinds, by kind."""

    config: MineConfig
    cache: str
    miners: Mapping[str, Miner]

    @property
    def lookahead(self) -> int:
        """Commits to read past the window, for the farthest-looking miner."""
        return max(miner.lookahead for miner in self.miners.values())

    @property
    def searching(self) -> Mapping[str, Miner]:
        """The miners that choose pairs; commit triples are the steps themselves, and branches lie
        beside the chain."""
        built_in = (COMMIT_KIND, BRANCH_KIND)
        return {kind: miner for kind, miner in self.miners.items() if kind not in built_in}

    @property
    def branch_sizes(self) -> tuple[int, int] | None:
        """The least and the most commits of a branch; None where that kind is not wanted."""
        miner = self.miners.get(BRANCH_KIND)
        return (miner.min_commits, miner.max_commits) if isinstance(miner, BranchMiner) else None


@dataclass(frozen=True)
class Mined:
    """What mining a repository gives.

    Attributes:
        tables: kept files by table.
        kinds: triples of each kind.
        unreached: number of blobs in no snapshot.
        steps, bytes: commits and contents read.
    """

    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    unreached: int = 0
    steps: int = 0
    bytes: int = 0


def acquire_again(source: Source, context: MiningContext) -> Flow[Mapping[str, Any]]:
    """Acquires a source alone: where it is, its head and its tags."""
    [acquired] = yield [_acquire(source, context)]
    return acquired.value


def _acquire(source: Source, context: MiningContext) -> Unit:
    with_tags = context.lookahead > 1 or context.branch_sizes is not None
    limit = context.config.projection.max_file_bytes
    arguments = AcquireArguments(source, context.cache, with_tags, limit)
    return Unit(f"{source.key}/acquire", acquire_source, arguments, waits=True)


def open_repository(source: Source, context: MiningContext) -> Flow[Opened]:
    """Acquires a source and reads its history; the clone of an earlier run may be gone since."""
    [acquired] = yield [_acquire(source, context)]
    head = acquired.value["head"]
    git_dir = find_again(source, acquired.value["git_dir"], head, context.cache)
    arguments = HistoryArguments(
        source.repo,
        {**acquired.value, "git_dir": git_dir},
        context.config,
        context.lookahead,
        context.branch_sizes,
    )
    [history] = yield [Unit(f"{source.key}/history", read_history, arguments)]
    return Opened(
        git_dir=git_dir,
        head=head,
        commits=history.tables["commits"],
        contained=history.tables["contained"],
        branch_table=history.tables["branches"],
        beside=history.tables["beside"],
        **history.value,
    )


def mine_repository(
    source: Source,
    opened: Opened,
    starts: Sequence[int],
    context: MiningContext,
    key: str,
) -> Flow[Mined]:
    """Mines the steps of a repository that are its own; `key` begins the keys of its units."""
    if not starts:
        return Mined()
    config = context.config
    wants_features = any(miner.wants_features for miner in context.searching.values())
    reach = context.lookahead if context.searching else 1
    first, stop = starts[0], min(starts[-1] + reach, opened.last)
    commit_steps = tuple(starts) if COMMIT_KIND in context.miners else ()
    branches = None
    if context.branch_sizes is not None:
        branches = BesideFiles(opened.commits, opened.beside, opened.branch_table, tuple(starts))
    ways = [
        Unit(
            f"{key}/beside-{number:04d}",
            read_beside,
            BesideArguments(
                opened.git_dir,
                branches,
                begin,
                begin + BRANCHES_PER_UNIT,
                first,
                config.limits,
            ),
        )
        for number, begin in enumerate(range(0, opened.branches, BRANCHES_PER_UNIT))
        if branches is not None
    ]
    steps = [
        Unit(
            f"{key}/steps-{number:04d}",
            read_steps,
            StepsArguments(
                opened.git_dir,
                opened.commits,
                begin,
                min(begin + STEPS_PER_UNIT, stop),
                begin == first,
                config.limits,
            ),
        )
        for number, begin in enumerate(range(first, stop, STEPS_PER_UNIT))
    ]
    read = yield [*steps, *ways]
    chain = read[: len(steps)]
    changes = tuple(result.tables["changes"] for result in chain)
    beside = tuple(result.tables["changes"] for result in read[len(steps) :])
    over = {number: n for r in read[len(steps) :] for number, n in r.value["over"].items()}
    [planned] = yield [Unit(f"{key}/plan", plan_contents, PlanArguments(changes + beside))]

    def content_units(name: str, chosen_from: UnitResult, source_of: str) -> list[Unit]:
        first_pass = source_of == STEPS
        return [
            Unit(
                f"{key}/{name}-{number:04d}",
                read_content,
                ContentArguments(
                    repo=source.repo,
                    git_dir=opened.git_dir,
                    changes=chosen_from.tables[f"changes-{number}"],
                    foreign=chosen_from.tables.get(f"foreign-{number}"),
                    source=source_of,
                    pairs=frozenset(commit_steps) if first_pass else None,
                    branches=branches,
                    headers=planned.value["headers"],
                    write_blobs=first_pass,
                    features=first_pass and wants_features,
                    beside=opened.last,
                    config=config,
                ),
            )
            for number in range(chosen_from.value["units"])
        ]

    contents = yield content_units("content", planned, STEPS)
    chosen = None
    if context.searching:
        features = tuple(c.tables["features"] for c in contents if wants_features)
        arguments = ChooseArguments(
            source.repo,
            opened.commits,
            stop + 1,
            changes,
            features,
            tuple(starts),
            commit_steps,
            context.searching,
            config.limits,
        )
        [chosen] = yield [Unit(f"{key}/choose", choose_pairs, arguments)]
        contents = contents + (yield content_units("pairs", chosen, CHOSEN))
    patches = tuple(content.tables["patches"] for content in contents)
    [taken] = yield [
        Unit(
            f"{key}/snapshots",
            take_snapshots,
            SnapshotsArguments(
                source.repo,
                opened.git_dir,
                opened.commits,
                opened.contained,
                changes,
                patches,
                tuple(content.tables["left_out"] for content in contents),
                chosen.tables["pairs"] if chosen else None,
                commit_steps,
                branches,
                beside,
                over,
                first,
                config.limits,
            ),
        )
    ]
    assembled = yield [
        Unit(
            f"{key}/assemble-{number:04d}",
            assemble,
            AssembleArguments(
                source.repo,
                source.url,
                opened.commits,
                branches.beside if branches else None,
                taken.tables["snapshots"],
                taken.tables["steps"],
                patches,
                begin,
                end,
                config.window.by,
                config.projection.identity,
            ),
        )
        for number, (begin, end) in enumerate(taken.value["buckets"])
    ]
    kinds: dict[str, int] = {}
    for result in assembled:
        for kind, count in result.value["kinds"].items():
            kinds[kind] = kinds.get(kind, 0) + count
    return Mined(
        tables={
            "triples": [result.mined["triples"] for result in assembled],
            "steps": [r.mined["steps"] for r in assembled if "steps" in r.mined],
            "blobs": [c.mined["blobs"] for c in contents if "blobs" in c.mined],
            "trees": [taken.mined["trees"]],
            "contained": [taken.mined["contained"]],
            "ledger": [taken.mined["ledger"]],
        },
        kinds=kinds,
        unreached=taken.value["unreached"],
        steps=sum(step.value["steps"] for step in chain),
        bytes=sum(content.value["bytes"] for content in contents),
    )
