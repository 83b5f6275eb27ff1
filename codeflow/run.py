"""A run: mining, the stages that decide, and publishing, in one folder that can be resumed.

Mining reads Git, once. Every later stage works on what was mined and can be run again with other
parameters. What is done is found done: the same command goes on where a run stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from codeflow import files, manifest, mined, workdir
from codeflow.account import stored_summary
from codeflow.config import MineConfig, as_mapping
from codeflow.errors import UsageError
from codeflow.job import Job
from codeflow.mined import MinedIndex
from codeflow.plugins import load_miners
from codeflow.pools import Pool, make_pool
from codeflow.process import stopped_by_sigterm
from codeflow.progress import Progress
from codeflow.publishing import Publishing, publish_stamp
from codeflow.stages import parts
from codeflow.stages.chain import Stage, last_stamp, run_stages
from codeflow.summary import Summary
from codeflow.units import disk_error

TRIPLE_S: Final = 3e-4
"""What one process takes to judge, dedup, mix and publish a triple, on the whole."""

Plan = Callable[[MinedIndex], Sequence[Stage]]
"""The stages to run once it is known what was mined; none publishes all of it."""


@dataclass(frozen=True)
class Execution:
    """How a run is carried out; nothing in here changes a published byte.

    `workers` None: as many as end the work first (`codeflow.pools.SizedPool`).
    """

    workers: int | None = 1
    ray_address: str | None = None
    cache: Path = Path("~/.cache/codeflow/repositories")
    fresh: bool = False


def run(
    sources: Sequence[Any],
    out: Path,
    config: MineConfig,
    execution: Execution,
    progress: Progress,
    plan: Plan | None = None,
) -> Summary:
    """Mines sources into `out`, or goes on with it, runs the stages of the plan, and publishes.

    Raises:
        UsageError: the folder belongs to another run or question; Ray does not answer.
        CodeflowError: the disk is full. KeyboardInterrupt: stopped; the folder can be resumed.
    """

    started = time.monotonic()
    settings = as_mapping(config)
    miners = load_miners(config.kinds, config.miners)

    def work(job: Callable[[], Job]) -> Summary:
        listed = [{"repo": s.repo, "location": s.location, "ref": s.ref} for s in sources]
        workdir.begin(out, settings, listed, execution.fresh)
        index = mined.read(out)
        summary = index and _finished(out, index, plan, progress)
        if summary:
            return summary
        workdir.remove_leftovers(out)
        from codeflow.mining import Mining
        from codeflow_miners.flow import MiningContext

        cache = str(execution.cache.expanduser().absolute())
        context = MiningContext(config, cache, miners)
        index = Mining(job(), sources, context).mine(settings)
        return _decide_and_publish(job(), index, plan, started)

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; give another folder") from None
    return _guarded(out, execution, progress, work)


def run_again(out: Path, execution: Execution, progress: Progress, plan: Plan) -> Summary:
    """Runs stages of a folder that was mined, and publishes; reads `mined/` and never Git.

    Raises: as `run`; a UsageError also where `mined/` is gone.
    """

    def work(job: Callable[[], Job]) -> Summary:
        started = time.monotonic()
        index = mined.read(out)
        if index is None:
            raise UsageError(f"{out}: holds no {mined.INDEX}; mine first, with `codeflow mine`")
        summary = _finished(out, index, plan, progress)
        if summary:
            return summary
        workdir.remove_leftovers(out)
        good, total = len(index.good), len(index.repositories)
        job().progress.add(
            repositories=total, repositories_done=good, repositories_failed=total - good
        )
        return _decide_and_publish(job(), index, plan, started)

    if not out.is_dir():
        raise UsageError(f"{out}: no such folder; give one that `codeflow mine` wrote")
    return _guarded(out, execution, progress, work)


def _guarded(
    out: Path,
    execution: Execution,
    progress: Progress,
    work: Callable[[Callable[[], Job]], Summary],
) -> Summary:
    """Does the work with the folder locked and a pool that starts when it is first asked for."""
    try:
        with stopped_by_sigterm(), workdir.locked(out), _job(out, execution, progress) as job:
            return work(job)
    except BrokenPipeError:  # of the display
        raise
    except OSError as error:
        raise disk_error(error, out) from error


@contextmanager
def _job(out: Path, execution: Execution, progress: Progress) -> Iterator[Callable[[], Job]]:
    pools: list[Pool] = []
    jobs: list[Job] = []

    def job() -> Job:
        if not jobs:
            how = (execution.workers, execution.ray_address, progress.note)
            pools.append(make_pool(out.absolute(), *how))
            jobs.append(Job(out, pools[0], progress))
        return jobs[0]

    try:
        yield job
    finally:
        for pool in pools:
            pool.close()


def _decide_and_publish(job: Job, index: MinedIndex, plan: Plan | None, started: float) -> Summary:
    stages = _stages(plan, index)
    job.expect(f"{sum(index.kinds.values()):,} triples", sum(index.kinds.values()) * TRIPLE_S)
    cut = parts.cut(job.folder, [(r.repo, r.tables) for r in index.good]) if stages else []
    records = run_stages(job, cut, index.stamp, stages)
    return Publishing(job, index, cut, records).publish(started)


def _stages(plan: Plan | None, index: MinedIndex) -> Sequence[Stage]:
    """What to run; without a triple there is nothing to decide."""
    return plan(index) if plan and any(index.kinds.values()) else ()


def _finished(
    out: Path, index: MinedIndex, plan: Plan | None, progress: Progress
) -> Summary | None:
    """The summary of the earlier run, when nothing is left to do."""
    summary = files.read_json(out / workdir.SUMMARY)
    values = files.read_json(out / manifest.NAME)
    if summary is None or values is None:
        return None
    stages = _stages(plan, index)
    stamp = last_stamp(out, index.stamp, stages)
    if stamp is None or values.get("publish_hash") != publish_stamp(stamp):
        return None
    progress.note(f"{out} is complete; nothing to do (--fresh mines again)")
    return stored_summary(summary, out)
