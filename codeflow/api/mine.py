"""Mining from Python: the same run as `codeflow mine`, with its summary as the answer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from codeflow.api.choices import (
    Config,
    PathLike,
    execution_of,
    listed,
    paths,
    settings_of,
    with_filter,
    with_mine,
    with_split,
)
from codeflow.api.display import displayed
from codeflow.api.tokens import tokenize_all
from codeflow.errors import UsageError
from codeflow.execution.progress import Progress
from codeflow.mining.sources import parse_sources, read_repos
from codeflow.pipeline.destination import send
from codeflow.pipeline.plan import asked_settings, plan
from codeflow.pipeline.run import run
from codeflow.pipeline.settings import Settings
from codeflow.plugins.entry_points import Spec
from codeflow.publish.summary import Summary
from codeflow.storage.place import place_of


def mine(
    repos: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    kinds: Iterable[str] | None = None,
    window: str | tuple[float, float] | None = None,
    window_by: str | None = None,
    config: Config | None = None,
    until: str | None = None,
    filters: Iterable[Spec] | None = None,
    decontaminate: Iterable[PathLike] | None = None,
    split_by: str | None = None,
    validation: float | None = None,
    workers: int | None = 1,
    ray_address: str | None = None,
    cache: PathLike | None = None,
    work: PathLike | None = None,
    fresh: bool = False,
    update: bool = False,
    progress: Progress | bool | None = None,
) -> Summary:
    """Mines repositories into a dataset folder, or goes on with a run that was stopped.

    What is not given is as the folder was last asked for, or the default in a new one.
    A repository that cannot be mined does not raise: it is in `failed` of the summary and in the
    ledger. Read the result with `codeflow.open(out)`. In the main
    thread SIGTERM ends the run as Ctrl-C does.

    Args:
        repos: a repository or the path of a list file, as `--repos` takes it; or the lines of a
            list: URLs and paths, each with an optional `@REF`.
        out: the dataset folder, made if it is not there; or a URL of fsspec to send it to.
        kinds: kinds of triples, `("span", "commit")` by default; before that of `config`.
        window: the part of a project's life in positions, half-open, as `(0.4, 0.8)` or
            `"0.4:0.8"`; before that of `config`.
        window_by: what that life is measured by: `commits`, the default, `time` or `changes`.
        config: what `--config` takes, its tables as a dict, all of it as `Settings`, or its
            `[mine]` table as a `MineConfig`.
        until: the last stage to run: `mine`, `filter`, `dedup`, `mix`, the default, or `tokens`,
            which writes the token folders of `[tokens]`, too.
        filters: names of filters and profiles, `module:attr`, `file.py:attr`, and functions
            `Triple -> Verdict`; `["default"]` by default; before those of `config`.
        decontaminate: files of benchmark instances, JSON lines; what would give them away goes.
        split_by: `family`, `time` or `auto`, the default.
        validation: the share to hold out, 0.05 by default; 0 for none.
        workers: 1 works in this process, more are Ray workers; None for as many as end it first.
        ray_address: a Ray cluster, or `auto`.
        cache: where clones of URLs are kept, `~/.cache/codeflow/repositories` by default.
        work: where `out` is a URL: the folder to work in, by default one in the cache.
        fresh: whether to forget what `out` holds and was asked for, and resolve heads again.
        update: whether to move heads to where they are now, and to take out what `repos` lacks.
        progress: whether to show on standard error how far it is; by default on a terminal and in
            a notebook. Or a `codeflow.execution.progress.Progress` of one's own, which is told all
            of it.

    Raises:
        UsageError: something above is wrong, or `out` holds something else.
        CodeflowError: the disk is full or not writable; the same call goes on afterwards.
        KeyboardInterrupt: stopped; the same call goes on afterwards.
    """
    if isinstance(repos, (str, os.PathLike)):
        sources = read_repos([repos])
    else:
        sources = parse_sources(paths("repos", repos), Path.cwd())
    execution = execution_of(workers, ray_address, cache, fresh, update)
    if until is not None and not isinstance(until, str):
        raise UsageError(f"until {until!r}: give the name of a stage")
    paths("out", [out])
    folder, url = place_of(out, None if work is None else Path(work))
    before = None if fresh else asked_settings(folder)
    settings = settings_of(config, before or Settings())
    chosen = None if filters is None else listed("filters", filters)
    if chosen is not None and decontaminate is not None and "decontaminate" not in chosen:
        chosen.append("decontaminate")
    settings = replace(
        settings,
        mine=with_mine(settings.mine, kinds, window, window_by),
        filter=with_filter(settings.filter, None, decontaminate),
        split=with_split(settings.split, split_by, validation),
    )
    stages = plan(folder, settings, until, chosen, before)
    with displayed(progress) as display:
        summary = run(sources, folder, settings.mine, execution, display, stages)
        if url is not None:
            summary = send(summary, folder, url, display)
    if until == "tokens":
        for _ in tokenize_all(folder, settings.tokens, progress):
            pass
    return summary
