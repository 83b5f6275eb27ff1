"""What a call or a command line says besides the settings of a folder: one meaning for both.

Each `with_` takes the settings of one table and returns them with what is given; None is not given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow.config import MineConfig, Window
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import UsageError
from codeflow.pipeline.session import Execution
from codeflow.pipeline.settings import Settings, read_settings, with_tables

PathLike = str | os.PathLike[str]
Config = Settings | MineConfig | Mapping[str, Any] | PathLike


def settings_of(config: object, before: Settings) -> Settings:
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


def listed(name: str, values: Iterable[Any]) -> list[Any]:
    """The values of an argument that has several."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise UsageError(f"{name} {values!r}: give a list")
    return list(values)


def paths(name: str, values: Iterable[Any]) -> list[str]:
    found = listed(name, values)
    for value in found:
        if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
            raise UsageError(f"{name}: {value!r} is no path or URL; give it as a string or Path")
    return [os.fspath(value) for value in found]


def with_mine(
    config: MineConfig,
    kinds: Iterable[str] | None = None,
    window: str | tuple[float, float] | None = None,
    window_by: str | None = None,
) -> MineConfig:
    """`[mine]` with what a command line or a call says besides."""
    if kinds is not None:
        config = replace(config, kinds=tuple(listed("kinds", kinds)))
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


def with_filter(
    config: FilterConfig,
    names: Iterable[str] | None = None,
    decontaminate: Iterable[PathLike] | None = None,
) -> FilterConfig:
    """`[filter]` with what a command line or a call says besides."""
    if names is not None:
        config = replace(config, filters=tuple(names))
    if decontaminate is not None:
        config = config.decontaminated(paths("decontaminate", decontaminate))
    return config


def with_dedup(config: DedupConfig, threshold: float | None = None) -> DedupConfig:
    """`[dedup]` with what a command line or a call says besides."""
    return config if threshold is None else replace(config, threshold=threshold)


def with_mix(config: MixConfig, sampler: str | None = None, budget: int | None = None) -> MixConfig:
    """`[mix]` with what a command line or a call says besides."""
    if sampler is not None:
        config = replace(config, sampler=sampler)
    return config if budget is None else replace(config, budget_tokens=budget)


def with_split(
    config: SplitConfig, split_by: str | None = None, validation: float | None = None
) -> SplitConfig:
    """`[split]` with what a command line or a call says besides."""
    if split_by is not None:
        config = replace(config, by=split_by)
    return config if validation is None else replace(config, validation=validation)


def execution_of(
    workers: int | None,
    ray_address: str | None = None,
    cache: PathLike | None = None,
    fresh: bool = False,
    update: bool = False,
) -> Execution:
    """How a call is carried out. Raises UsageError for a number of workers that is none."""
    if workers is not None and (type(workers) is not int or workers < 1):
        raise UsageError(f"workers {workers!r}: give a number, 1 or more")
    execution = Execution(workers, ray_address, fresh=fresh, update=update)
    return execution if cache is None else replace(execution, cache=Path(cache))
