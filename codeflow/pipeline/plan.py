"""From settings to the stages of a run: which run, with what, and which are left as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from codeflow.config import as_mapping, from_mapping
from codeflow.contracts import Flow
from codeflow.curation.chain import NAMES, Stage, chain_of, stored
from codeflow.curation.context import StageContext
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import UsageError
from codeflow.mining.index import MinedIndex
from codeflow.pipeline.run import Plan
from codeflow.pipeline.settings import Settings
from codeflow.plugins.entry_points import LoadedFilter, Spec, load_filters

UNTIL: Final = ("mine", "filter", "dedup", "mix", "tokens")
FAMILIES_WANTED: Final = 40
"""From so many families on, `split.by = "auto"` holds out whole families: at the default share
there are then two or more of them nearly always."""

_CONFIGS: Final[Mapping[str, type]] = {"dedup": DedupConfig, "mix": MixConfig, "split": SplitConfig}


def plan(
    settings: Settings, until: str = "mix", filters: Sequence[Spec] | None = None
) -> Plan | None:
    """The stages of a whole run; None where mining is all.

    Args:
        until: the last stage to run, one of `UNTIL`; the split is part of publishing.
        filters: in place of those of the settings; functions may be among them.

    Raises:
        UsageError: a filter that is not known or cannot be made.
    """
    if until not in UNTIL:
        raise UsageError(f"until {until!r}: choose one of {', '.join(UNTIL)}")
    if until == "mine":
        return None
    if filters is not None:
        names = tuple(s if isinstance(s, str) else getattr(s, "__name__", repr(s)) for s in filters)
        settings = replace(settings, filter=replace(settings.filter, filters=names))
    loaded = load_filters(
        settings.filter.filters if filters is None else filters, settings.filter.rules
    )
    wanted = NAMES[: NAMES.index("mix" if until == "tokens" else until) + 1]

    def stages(index: MinedIndex) -> list[Stage]:
        made = {"filter": filter_stage(settings.filter, loaded)}
        for name in ("dedup", "mix", "split"):
            made[name] = _stage(name, getattr(settings, name), index)
        return [made[name] for name in (*wanted, "split")]

    return stages


def plan_again(folder: Path, changed: str, config: Any) -> Plan:
    """Runs one stage with other settings: the ones before it stay, the ones after it follow.

    Only stages that the last run asked for are among them.

    Args:
        changed: name of the stage.
        config: its settings.
    """
    asked = chain_of(folder)
    first = (
        filter_stage(config, load_filters(config.filters, config.rules))
        if changed == "filter"
        else None
    )

    def stages(index: MinedIndex) -> list[Stage]:
        found: list[Stage] = []
        for name in NAMES:
            if name == changed:
                found.append(first or _stage(name, config, index))
            elif NAMES.index(name) < NAMES.index(changed):
                if name in asked:
                    found.append(Stage(name, {}, None))
            elif name in asked or name == "split":
                found.append(_stage(name, stored_config(folder, name), index))
        return found

    return stages


def stored_config(folder: Path, name: str) -> Any:
    """The settings that a stage of a folder was last run with; the defaults where it was not."""
    cls = FilterConfig if name == "filter" else _CONFIGS[name]
    record = stored(folder, name)
    asked = None if record is None else record.last_asked
    return cls() if asked is None else from_mapping(cls, asked, name)


def filter_stage(config: FilterConfig, filters: Sequence[LoadedFilter]) -> Stage:
    """The stage `filter` with these filters."""
    from codeflow.curation.filter.stage import flow

    settings = {
        "max_error_share": config.max_error_share,
        "max_seconds": config.max_seconds,
        "filters": [[loaded.name, _plain(loaded.identity)] for loaded in filters],
    }
    return Stage(
        "filter", settings, lambda context: flow(context, filters, config), as_mapping(config)
    )


def _plain(values: Mapping[str, Any]) -> Any:
    """JSON values of an identity; sets in order, and what JSON does not know by its repr."""
    import json

    def other(value: Any) -> Any:
        return sorted(value) if isinstance(value, (set, frozenset)) else repr(value)

    return json.loads(json.dumps(values, default=other, sort_keys=True))


def _stage(name: str, config: Any, index: MinedIndex) -> Stage:
    """A stage after filtering."""
    flow: Callable[[StageContext], Flow]
    if name == "split":
        families = {r.repo: r.family or r.repo for r in index.good}
        if config.by == "auto":
            many = len(set(families.values())) >= FAMILIES_WANTED
            config = replace(config, by="family" if many else "time")

        def flow(context: StageContext) -> Flow:
            from codeflow.curation.split import stage as split

            return split.flow(context, config, families)

    elif name == "dedup":

        def flow(context: StageContext) -> Flow:
            from codeflow.curation.dedup import stage as dedup

            return dedup.flow(context, config)

    else:

        def flow(context: StageContext) -> Flow:
            from codeflow.curation.mix import stage as mix

            return mix.flow(context, config)

    return Stage(name, as_mapping(config), flow)
