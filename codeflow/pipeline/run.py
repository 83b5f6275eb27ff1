"""A run: mining, the stages that decide, and publishing, in one folder that can be resumed.

Mining reads Git, once. Every later stage works on what was mined and can be run again with other
parameters. What is done is found done: the same command goes on where a run stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from codeflow.config import MineConfig, as_mapping
from codeflow.curation import batches as parts
from codeflow.curation.chain import Stage, last_stamp, run_stages
from codeflow.errors import DataError, UsageError
from codeflow.execution.job import Job
from codeflow.execution.progress import Progress
from codeflow.mining import index as mined
from codeflow.mining.driver import Mining
from codeflow.mining.growth import growth
from codeflow.mining.index import MinedIndex
from codeflow.pipeline import workdir
from codeflow.pipeline.asked import Asked, asking
from codeflow.pipeline.session import Execution, session
from codeflow.plugins.entry_points import OwnMiner, load_miners
from codeflow.publish.publisher import Publishing, publish_stamp
from codeflow.publish.summary import Summary, stored_summary
from codeflow.storage import files, layout, manifest
from codeflow.storage.damage import FRESH
from codeflow.storage.layout import GROWING, MINED, STAGES, SUMMARY

if TYPE_CHECKING:
    from codeflow.mining.sources import Source

TRIPLE_S: Final = 3e-4
"""What one process takes to judge, dedup, mix and publish a triple, on the whole."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a folder.

    Attributes:
        asked: what stays of it: the stages and their settings.
        changes: a line for each thing that the folder was asked for otherwise before.
        stages: those to run, once it is known what was mined; none publishes all of it.
    """

    asked: Asked
    changes: tuple[str, ...]
    stages: Callable[[MinedIndex], Sequence[Stage]]


_MINE_ONLY = Plan(Asked((), {}), (), lambda index: ())


def run(
    sources: Sequence[Source],
    out: Path,
    config: MineConfig,
    execution: Execution,
    progress: Progress,
    plan: Plan = _MINE_ONLY,
) -> Summary:
    """Mines sources into `out`, or goes on with it, runs the stages of the plan, and publishes.

    What the plan changes is said before anything is changed.

    Raises:
        UsageError: the folder belongs to another run or question; Ray does not answer.
        CodeflowError: the disk is full. KeyboardInterrupt: stopped; the folder can be resumed.
    """

    started = time.monotonic()
    miners = load_miners(config.kinds, config.miners)
    settings = mining_settings(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; give another folder") from None
    with session(out, execution, progress) as work:
        listed = workdir.listed(sources)
        update = execution.update
        before = workdir.require_ours(out, settings, listed, execution.fresh, update)
        _announce(plan, progress)
        workdir.begin(out, settings, listed, execution.fresh)
        with asking(out, plan.asked):
            index = _index(out, progress)
            if index is not None and (update or growth(index, sources)):
                files.write_json(out / GROWING, True)
                files.remove(out / layout.MINED_INDEX)
                index = None
            elif index is None and before is not None:
                changed = update or workdir.differs(before, listed)
                done = _without_mined(out, plan, progress, changed)
                if done is not None:
                    return done
            if index is not None and (done := _finished(out, index, plan, progress)) is not None:
                return done
            files.remove_leftovers(out)
            mining = Mining(work.job, sources, config, miners, execution.cache)
            index = mining.mine(settings, update)
            files.remove(out / GROWING)
            if (done := _finished(out, index, plan, progress)) is not None:
                return done  # nothing has moved
            return _decide_and_publish(work.job, index, plan, started)


def mining_settings(config: MineConfig) -> dict[str, Any]:
    """What a folder is mined with: where a file of one's own lies is no part of it, but what is in
    it. Raises UsageError: a kind that is not known or cannot be made."""
    miners = load_miners(config.kinds, config.miners)
    settings = dict(as_mapping(config))
    own = {kind: miner.source for kind, miner in miners.items() if isinstance(miner, OwnMiner)}
    if own:
        settings |= {"kinds": sorted(miners, reverse=True), "own_kinds": own}
    return settings


def run_again(out: Path, execution: Execution, progress: Progress, plan: Plan) -> Summary:
    """Runs stages of a folder that was mined, and publishes; reads `mined/` and never Git.

    Raises: as `run`; a UsageError also where `mined/` is gone.
    """

    started = time.monotonic()
    if not out.is_dir():
        raise UsageError(f"{out}: no such folder; give one that `codeflow mine` wrote")
    with session(out, execution, progress) as work:
        index = mined.read(out)
        if index is None:
            raise mined.absent(out)
        _announce(plan, progress)
        with asking(out, plan.asked):
            done = _finished(out, index, plan, progress)
            if done is not None:
                return done
            files.remove_leftovers(out)
            good, total = len(index.good), len(index.repositories)
            progress.add(
                repositories=total, repositories_done=good, repositories_failed=total - good
            )
            return _decide_and_publish(work.job, index, plan, started)


def _announce(plan: Plan, progress: Progress) -> None:
    for line in plan.changes:
        progress.note(line)


def _index(out: Path, progress: Progress) -> MinedIndex | None:
    """What was mined; a damaged index goes, as mining makes it again from what it left."""
    try:
        return mined.read(out)
    except DataError as error:
        progress.note(f"{error}: it does so now")
        files.remove(out / layout.MINED_INDEX)
        return None


def _decide_and_publish(job: Job, index: MinedIndex, plan: Plan, started: float) -> Summary:
    mined.require(job.folder, index)
    stages = _stages(plan, index)
    job.expect(f"{sum(index.kinds.values()):,} triples", sum(index.kinds.values()) * TRIPLE_S)
    cut = parts.cut(job.folder, [(r.repo, r.tables) for r in index.good]) if stages else []
    records = run_stages(job, cut, index.stamp, stages)
    places = workdir.lines_of(job.folder)
    return Publishing(job, index, cut, records).publish(started, places, _hashed(stages))


def _stages(plan: Plan, index: MinedIndex) -> Sequence[Stage]:
    """What to run; without a triple there is nothing to decide."""
    return plan.stages(index) if any(index.kinds.values()) else ()


def _hashed(stages: Sequence[Stage]) -> bool:
    """Whether the command is about publishing: then bytes are compared, not sizes alone."""
    return any(stage.named and stage.name == "split" for stage in stages)


def _finished(out: Path, index: MinedIndex, plan: Plan, progress: Progress) -> Summary | None:
    """The summary of the earlier run, when nothing is left to do, and nothing was lost."""
    summary = stored_summary(out)
    values, _ = manifest.sealed(out)
    if summary is None or values is None:
        return None
    stages = _stages(plan, index)
    stamp = last_stamp(out, index.stamp, stages)
    if stamp is None or values.get("publish_hash") != publish_stamp(stamp):
        return None
    if manifest.faults(out, values, _hashed(stages)):
        return None
    return _complete(summary, out, plan, progress)


def _without_mined(out: Path, plan: Plan, progress: Progress, changed: bool) -> Summary | None:
    """The same where `mined/` was deleted, as it may be: what is published must be all there.

    Args:
        changed: whether other repositories or heads are wanted than were mined.
    """
    values, _ = manifest.sealed(out)
    if values is None or (out / GROWING).exists() or any((out / MINED).glob("*/*.parquet")):
        return None  # mining has not ended, or its index alone is lost
    if changed:
        raise DataError(f"{out}: cannot be added to; mined/ is gone, so {FRESH}")
    faults = [*plan.changes, *map(str, manifest.faults(out, values))]
    summary = stored_summary(out)
    if faults or summary is None:
        what = faults[0] if faults else f"{out / SUMMARY}: is missing"
        raise DataError(f"{what}; mined/ is gone, so {FRESH}")
    return _complete(summary, out, plan, progress)


def _complete(summary: Summary, out: Path, plan: Plan, progress: Progress) -> Summary:
    last = [name for name in STAGES[:-1] if name in plan.asked.stages]
    until = last[-1] if last else "mine"
    more = "" if until == STAGES[-2] else f" until {until}; --until {STAGES[-2]} goes on"
    progress.note(f"{out} is complete{more}; nothing to do (--fresh mines again)")
    return summary
