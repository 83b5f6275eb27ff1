"""Mining from Python: the same run as `codeflow mine`, with its summary as the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow.config import MineConfig, Window
from codeflow.errors import UsageError
from codeflow.execution.progress import Progress, Quiet
from codeflow.mining.sources import parse_sources, read_repos
from codeflow.pipeline.destination import send
from codeflow.pipeline.plan import asked_settings, plan
from codeflow.pipeline.run import Execution, run
from codeflow.pipeline.settings import Settings, read_settings, with_tables
from codeflow.plugins.entry_points import Spec
from codeflow.publish.summary import Summary
from codeflow.storage.place import place_of
from codeflow.terminal.progress import make_progress

PathLike = str | os.PathLike[str]


def mine(
    repos: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    kinds: Iterable[str] | None = None,
    window: str | tuple[float, float] | None = None,
    filters: Iterable[Spec] | None = None,
    until: str | None = None,
    workers: int = 1,
    config: Settings | MineConfig | Mapping[str, Any] | PathLike | None = None,
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
        filters: names of filters and profiles, `module:attr`, `file.py:attr`, and functions
            `Triple -> Verdict`; `["default"]` by default; before those of `config`.
        until: the last stage to run: `mine`, `filter`, `dedup` or `mix`, the default.
        workers: 1 works in this process, more are Ray tasks on this machine.
        config: what `--config` takes, its tables as a dict, all of it as `Settings`, or its
            `[mine]` table as a `MineConfig`.
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
        sources = parse_sources(_paths("repos", repos), Path.cwd())
    if type(workers) is not int or workers < 1:
        raise UsageError(f"workers {workers!r}: give a number, 1 or more")
    if until == "tokens":
        raise UsageError("until 'tokens': call codeflow.tokens.stage.tokenize afterwards")
    if until is not None and not isinstance(until, str):
        raise UsageError(f"until {until!r}: give the name of a stage")
    _paths("out", [out])
    folder, url = place_of(out)
    before = asked_settings(folder)
    settings = _settings(config, before)
    given = None if filters is None else _listed("filters", filters)
    settings = replace(settings, mine=with_choices(settings.mine, kinds, window))
    stages = plan(folder, settings, until, given, before)
    display = _display(progress)
    try:
        summary = run(sources, folder, settings.mine, Execution(workers), display, stages)
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


def _settings(config: object, before: Settings) -> Settings:
    """The settings of a folder, with what a call gives in their place."""
    if config is None:
        return before
    if isinstance(config, Settings):
        return config
    if isinstance(config, MineConfig):
        return replace(before, mine=config)
    if isinstance(config, Mapping):
        return with_tables(before, config, "config")
    if isinstance(config, (str, os.PathLike)):
        return read_settings(Path(config), before)
    raise UsageError(f"config {config!r}: give a file, its tables as a dict, or Settings")


def _listed(name: str, values: Iterable[Any]) -> list[Any]:
    """The values of an argument that has several."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise UsageError(f"{name} {values!r}: give a list")
    return list(values)


def _paths(name: str, values: Iterable[Any]) -> list[str]:
    found = _listed(name, values)
    for value in found:
        if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
            raise UsageError(f"{name}: {value!r} is no path or URL; give it as a string or Path")
    return [os.fspath(value) for value in found]


def with_choices(
    config: MineConfig,
    kinds: Iterable[str] | None = None,
    window: str | tuple[float, float] | None = None,
    window_by: str | None = None,
) -> MineConfig:
    """The configuration with what a command line or a call says besides."""
    if kinds is not None:
        config = replace(config, kinds=tuple(_listed("kinds", kinds)))
    chosen: Window = config.window
    if window is not None:
        start, stop = _window(window)
        chosen = replace(chosen, start=start, stop=stop)
    if window_by is not None:
        chosen = replace(chosen, by=window_by)
    return replace(config, window=chosen)


def _window(given: object) -> tuple[float, float]:
    """A window from `(0.4, 0.8)`, or as people type it: `0.4:0.8`."""
    ends: Any = given.split(":") if isinstance(given, str) else given
    try:
        start, stop = ends
        return float(start), float(stop)
    except (TypeError, ValueError):
        raise UsageError(f"window {given}: write it as 0.4:0.8") from None
