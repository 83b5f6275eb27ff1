"""Mining from Python: the same run as `codeflow mine`, quiet, with its summary as the answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow.config import MineConfig, Window, from_mapping, read_toml
from codeflow.errors import UsageError
from codeflow.run import Execution, run
from codeflow.summary import Summary

PathLike = str | os.PathLike[str]


def mine(
    repos: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    kinds: Iterable[str] | None = None,
    window: tuple[float, float] | None = None,
    workers: int = 1,
    config: MineConfig | PathLike | None = None,
) -> Summary:
    """Mines repositories into a dataset folder, or goes on with a run that was stopped.

    A repository that cannot be mined does not raise: it is in `failed` of the summary and in the
    ledger. Read the result with `codeflow.open(out)`. In the main
    thread SIGTERM ends the run as Ctrl-C does.

    Args:
        repos: the path of a list file, or its lines: URLs and paths, each with an optional `@REF`.
        out: the dataset folder, made if it is not there.
        kinds: kinds of triples, `("span", "commit")` by default; before that of `config`.
        window: the part of a project's life in positions, half-open; before that of `config`.
        workers: 1 works in this process, more are Ray tasks on this machine.
        config: what `--config` takes, or its `[mine]` table as a `MineConfig`.

    Raises:
        UsageError: something above is wrong, or `out` holds something else.
        CodeflowError: the disk is full or not writable; the same call goes on afterwards.
        KeyboardInterrupt: stopped; the same call goes on afterwards.
    """
    from codeflow_miners.repositories import parse_sources, read_list

    if isinstance(repos, (str, os.PathLike)):
        sources = read_list(Path(repos))
    else:
        sources = parse_sources((os.fspath(repo) for repo in repos), Path.cwd())
    if workers < 1:
        raise UsageError(f"workers {workers}: give 1 or more")
    if not isinstance(config, MineConfig):
        config = read_config(None if config is None else Path(config))
    config = with_choices(config, kinds, window)
    return run(sources, Path(out), config, Execution(workers), Quiet())


def read_config(path: Path | None) -> MineConfig:
    """The `[mine]` table of a configuration file; without one, the defaults.

    Raises:
        UsageError: names the file and the key that is wrong.
    """
    if path is None:
        return MineConfig()
    tables = read_toml(path)
    for name in tables:
        if name != "mine":
            raise UsageError(f"{path}: unknown table or key {name!r}; known: [mine]")
    values: Any = tables.get("mine", {})
    if not isinstance(values, Mapping):
        raise UsageError(f"{path}: mine must be a table")
    return from_mapping(MineConfig, values, f"{path}: mine")


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
