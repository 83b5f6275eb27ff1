"""Mining from Python: the same run as `codeflow mine`, with its summary as the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from codeflow.config import MineConfig, Window
from codeflow.curate import plan
from codeflow.destination import place_of, send
from codeflow.errors import UsageError
from codeflow.plugins import Spec
from codeflow.progress import Progress, make_progress
from codeflow.run import Execution, run
from codeflow.settings import Settings, read_settings
from codeflow.summary import Summary

PathLike = str | os.PathLike[str]


def mine(
    repos: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    kinds: Iterable[str] | None = None,
    window: tuple[float, float] | None = None,
    filters: Sequence[Spec] | None = None,
    until: str = "mix",
    workers: int = 1,
    config: Settings | MineConfig | PathLike | None = None,
    progress: Progress | bool | None = None,
) -> Summary:
    """Mines repositories into a dataset folder, or goes on with a run that was stopped.

    A repository that cannot be mined does not raise: it is in `failed` of the summary and in the
    ledger. Read the result with `codeflow.open(out)`. In the main
    thread SIGTERM ends the run as Ctrl-C does.

    Args:
        repos: a repository or the path of a list file, as `--repos` takes it; or the lines of a
            list: URLs and paths, each with an optional `@REF`.
        out: the dataset folder, made if it is not there; or a URL of fsspec to send it to.
        kinds: kinds of triples, `("span", "commit")` by default; before that of `config`.
        window: the part of a project's life in positions, half-open; before that of `config`.
        filters: names of filters and profiles, `module:attr`, `file.py:attr`, and functions
            `Triple -> Verdict`; `["default"]` by default; before those of `config`.
        until: the last stage to run: `mine`, `filter`, `dedup` or `mix`.
        workers: 1 works in this process, more are Ray tasks on this machine.
        config: what `--config` takes, or it as `Settings`, or its `[mine]` table as a
            `MineConfig`.
        progress: whether to show on standard error how far it is; by default on a terminal and in
            a notebook. Or a `codeflow.progress.Progress` of one's own, which is told all of it.

    Raises:
        UsageError: something above is wrong, or `out` holds something else.
        CodeflowError: the disk is full or not writable; the same call goes on afterwards.
        KeyboardInterrupt: stopped; the same call goes on afterwards.
    """
    from codeflow_miners.given import read_repos
    from codeflow_miners.repositories import parse_sources

    if isinstance(repos, (str, os.PathLike)):
        sources = read_repos([repos])
    else:
        sources = parse_sources((os.fspath(repo) for repo in repos), Path.cwd())
    if workers < 1:
        raise UsageError(f"workers {workers}: give 1 or more")
    if until == "tokens":
        raise UsageError("until 'tokens': call codeflow.tokens.stage.tokenize afterwards")
    if isinstance(filters, str):
        raise UsageError(f"filters {filters!r}: give a list")
    settings = _settings(config)
    stages = plan(settings, until, filters)
    mining = with_choices(settings.mine, kinds, window)
    folder, url = place_of(out)
    display = _display(progress)
    try:
        summary = run(sources, folder, mining, Execution(workers), display, stages)
        return summary if url is None else send(summary, folder, url, display)
    finally:
        if display is not progress:  # one's own is one's own to close
            display.close()


def _display(progress: Progress | bool | None) -> Progress:
    if progress is None:  # a notebook shows lines, and says that it is no terminal
        progress = sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if isinstance(progress, bool):
        return make_progress(False, sys.stderr) if progress else Quiet()
    return progress


def _settings(config: Settings | MineConfig | PathLike | None) -> Settings:
    if isinstance(config, Settings):
        return config
    if isinstance(config, MineConfig):
        return Settings(mine=config)
    return read_settings(None if config is None else Path(config))


def with_choices(
    config: MineConfig,
    kinds: Iterable[str] | None = None,
    window: tuple[float, float] | None = None,
    window_by: str | None = None,
) -> MineConfig:
    """The configuration with what a command line or a call says besides."""
    if isinstance(kinds, str):
        raise UsageError(f"kinds {kinds!r}: give a list of names")
    if kinds is not None:
        config = replace(config, kinds=tuple(dict.fromkeys(kinds)))
    chosen: Window = config.window
    if window is not None:
        start, stop = window
        chosen = replace(chosen, start=float(start), stop=float(stop))
    if window_by is not None:
        chosen = replace(chosen, by=window_by)
    return replace(config, window=chosen)


class Quiet:
    """A `codeflow.progress.Progress` that shows nothing."""

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        """Nothing."""

    def add(self, **counts: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing: what failed is in the summary."""

    def close(self) -> None:
        """Nothing."""
