"""One stage again from Python, as `codeflow filter`, `dedup`, `mix` and `publish`: Git is not read.

`publish` is `republish` here, since `codeflow.publish` is the package that publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.api.choices import (
    Config,
    PathLike,
    execution_of,
    listed,
    settings_of,
    with_dedup,
    with_filter,
    with_mix,
    with_split,
)
from codeflow.api.display import displayed
from codeflow.execution.progress import Progress
from codeflow.pipeline.destination import send
from codeflow.pipeline.plan import asked_settings, plan_again
from codeflow.pipeline.run import run_again
from codeflow.pipeline.session import Execution
from codeflow.plugins.entry_points import Spec
from codeflow.publish.summary import Summary
from codeflow.storage.place import mined_at


def filter(
    folder: PathLike,
    filters: Iterable[Spec] | None = None,
    *,
    decontaminate: Iterable[PathLike] | None = None,
    config: Config | None = None,
    workers: int | None = 1,
    ray_address: str | None = None,
    work: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Summary:
    """Chooses triples by other filters.

    What is not given stays as the folder was last asked for. The stages after it follow.

    Args:
        folder: a dataset folder that was mined, or the URL that a run here was sent to.
        filters: names of filters and profiles, `module:attr`, `file.py:attr`, and functions
            `Triple -> Verdict`.
        decontaminate: files of benchmark instances, JSON lines; what would give them away goes.
        config: what `--config` takes, its tables as a dict, or all of it as `Settings`; the table
            `[filter]` counts, and what is given besides wins.
        workers: 1 works in this process, more are Ray workers; None for as many as end it first.
        ray_address: a Ray cluster, or `auto`.
        work: where `folder` is a URL: the folder that its run worked in.
        progress: as of `codeflow.mine`.

    Raises:
        UsageError: something above is wrong, or `folder` has no `mined/`.
        CodeflowError: the disk is full or not writable, or what was mined is damaged.
    """
    chosen = None if filters is None else listed("filters", filters)
    if chosen is not None and decontaminate is not None and "decontaminate" not in chosen:
        chosen.append("decontaminate")
    how = _How(config, execution_of(workers, ray_address), work, progress)
    return _again(folder, "filter", lambda c: with_filter(c, None, decontaminate), how, chosen)


def dedup(
    folder: PathLike,
    *,
    threshold: float | None = None,
    config: Config | None = None,
    workers: int | None = 1,
    ray_address: str | None = None,
    work: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Summary:
    """Finds duplicates by another measure.

    What is not given stays as the folder was last asked for. The stages after it follow.

    Args:
        folder: a dataset folder that was mined, or the URL that a run here was sent to.
        threshold: Jaccard similarity, from 0 to 1, from which on changes are near-duplicates.
        config: as of `filter`; the table `[dedup]` counts.
        workers: as of `filter`.
        ray_address: as of `filter`.
        work: as of `filter`.
        progress: as of `filter`.

    Raises:
        UsageError, CodeflowError: as `filter`.
    """
    how = _How(config, execution_of(workers, ray_address), work, progress)
    return _again(folder, "dedup", lambda c: with_dedup(c, threshold), how)


def mix(
    folder: PathLike,
    *,
    sampler: str | None = None,
    budget: int | None = None,
    config: Config | None = None,
    workers: int | None = 1,
    ray_address: str | None = None,
    work: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Summary:
    """Mixes languages another way.

    What is not given stays as the folder was last asked for. The stages after it follow.

    Args:
        folder: a dataset folder that was mined, or the URL that a run here was sent to.
        sampler: `natural`, `temperature`, `uniform`, `shares`, `guided` or `optimal`.
        budget: tokens in all, estimated; 0 for as many as there are.
        config: as of `filter`; the table `[mix]` counts.
        workers: as of `filter`.
        ray_address: as of `filter`.
        work: as of `filter`.
        progress: as of `filter`.

    Raises:
        UsageError, CodeflowError: as `filter`.
    """
    how = _How(config, execution_of(workers, ray_address), work, progress)
    return _again(folder, "mix", lambda c: with_mix(c, sampler, budget), how)


def republish(
    folder: PathLike,
    *,
    split_by: str | None = None,
    validation: float | None = None,
    config: Config | None = None,
    workers: int | None = 1,
    ray_address: str | None = None,
    work: PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Summary:
    """Splits and publishes another way.

    What is not given stays as the folder was last asked for. The stages after it follow.

    Args:
        folder: a dataset folder that was mined, or the URL that a run here was sent to.
        split_by: hold out whole families of forks (`family`), the latest part of each repository
            (`time`), or whichever suits their number (`auto`).
        validation: the share to hold out, 0 or more, under 1.
        config: as of `filter`; the table `[split]` counts.
        workers: as of `filter`.
        ray_address: as of `filter`.
        work: as of `filter`.
        progress: as of `filter`.

    Raises:
        UsageError, CodeflowError: as `filter`.
    """
    how = _How(config, execution_of(workers, ray_address), work, progress)
    return _again(folder, "split", lambda c: with_split(c, split_by, validation), how)


@dataclass(frozen=True)
class _How:
    """What all of them take."""

    config: Config | None
    execution: Execution
    work: PathLike | None
    progress: Progress | bool | None


def _again(
    place: PathLike,
    stage: str,
    change: Callable[[Any], Any],
    how: _How,
    filters: list[Spec] | None = None,
) -> Summary:
    folder, url = mined_at(place, None if how.work is None else Path(how.work))
    settings = settings_of(how.config, asked_settings(folder))
    plan = plan_again(folder, stage, change(getattr(settings, stage)), filters)
    with displayed(how.progress) as display:
        summary = run_again(folder, how.execution, display, plan)
        return summary if url is None else send(summary, folder, url, display)
