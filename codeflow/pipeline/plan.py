"""From settings to the stages of a run: which run, with what, and which are left as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from codeflow.config import as_mapping
from codeflow.contracts import Figures, Flow
from codeflow.curation.chain import Stage, stored
from codeflow.curation.context import StageContext
from codeflow.curation.dedup import stage as deduplicating
from codeflow.curation.filter import stage as filtering
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mix import stage as mixing
from codeflow.curation.split import stage as splitting
from codeflow.errors import DataError, UsageError
from codeflow.mining.index import MinedIndex
from codeflow.pipeline import workdir
from codeflow.pipeline.asked import TABLES, Asked, asked_of, changes, differences, kept_rules
from codeflow.pipeline.run import Plan
from codeflow.pipeline.settings import Settings, with_tables
from codeflow.plugins.entry_points import LoadedFilter, Spec, load_filters
from codeflow.storage.damage import damaged
from codeflow.storage.layout import ASKED, RUN, STAGES

UNTIL: Final = ("mine", "filter", "dedup", "mix", "tokens")
UNTIL_BY_DEFAULT: Final = "mix"
FAMILIES_WANTED: Final = 40
"""From so many families on, `split.by = "auto"` holds out whole families: at the default share
there are then two or more of them nearly always."""


def asked_settings(folder: Path) -> Settings:
    """What a folder was last asked for; the defaults where it was not asked for anything.

    Raises:
        DataError: what it was asked for is damaged.
    """
    mined, asked = workdir.stored(folder), asked_of(folder)
    settings = Settings()
    mine = {} if mined is None else dict(mined.config)
    mine.pop("own_kinds", None)  # what is in the files of one's own kinds, and no setting
    for name, tables in (
        (ASKED, {} if asked is None else asked.tables),
        (RUN, {} if mined is None else {"mine": mine}),
    ):
        try:
            settings = with_tables(settings, tables, "it")
        except UsageError as error:
            raise damaged(folder / name, f"is not what codeflow writes: {error}") from None
    return settings


def plan(
    folder: Path,
    settings: Settings,
    until: str | None = None,
    filters: Sequence[Spec] | None = None,
    before: Settings | None = None,
) -> Plan:
    """The stages of a whole run.

    Args:
        until: the last stage to run, one of `UNTIL`; the split is part of publishing. By default
            the stages that the folder was last asked for, and those that are given settings now.
        filters: in place of those of the settings; functions may be among them.
        before: what the folder was asked for, of which `settings` differ in the tables that are
            given now; None for a folder that is made anew.

    Raises:
        UsageError: a filter that is not known or cannot be made.
    """
    if until is not None and until not in UNTIL:
        raise UsageError(f"until {until!r}: choose one of {', '.join(UNTIL)}")
    base = Settings() if before is None else before
    given = {name for name in TABLES if getattr(settings, name) is not getattr(base, name)}
    if filters is not None:
        given.add("filter")
        settings = replace(settings, filter=_named(settings.filter, filters))
    earlier, mined = _earlier(folder, forget=before is None)
    chain = _chain(until, earlier if before is not None else None, given)
    made: dict[str, Stage] = {}
    again: list[str] = []
    if "filter" in chain:
        config = settings.filter
        specs = config.filters if filters is None else filters
        made["filter"] = _filter_of(folder, config, specs, "filter" in given)
        again = _other_code(folder, made["filter"]) if before is not None else []
    asked = Asked(tuple(chain), {name: as_mapping(getattr(settings, name)) for name in TABLES})
    found = _changes(earlier, asked, made.get("filter"), again)
    if before is None and mined is not None:
        found = [*differences("mine", mined.config, as_mapping(settings.mine)), *found]

    def stages(index: MinedIndex) -> list[Stage]:
        return [
            made[name] if name in made else _stage(name, getattr(settings, name), index)
            for name in chain
        ]

    return Plan(asked, tuple(found), stages)


def _earlier(folder: Path, forget: bool) -> tuple[Asked | None, workdir.Run | None]:
    """What a folder was asked for and mined with; damage is no matter where it is forgotten."""
    try:
        return asked_of(folder), workdir.stored(folder)
    except DataError:
        if not forget:
            raise
        return None, None


def _chain(until: str | None, earlier: Asked | None, given: Set[str]) -> list[str]:
    """Names of the stages to run, in order."""
    if until is None and earlier is not None:
        wanted = {*earlier.stages, *(given & {*STAGES[:-1]})}
    else:
        last = UNTIL_BY_DEFAULT if until in (None, "tokens") else str(until)
        wanted = set() if last == "mine" else {*STAGES[: STAGES.index(last) + 1]}
    return [name for name in STAGES if name in wanted or (wanted and name == "split")]


def _filter_of(folder: Path, config: FilterConfig, specs: Sequence[Spec], given: bool) -> Stage:
    """The stage `filter`; as it is where its filters were functions of a program that is gone."""
    try:
        return filter_stage(config, load_filters(specs, config.rules))
    except UsageError as error:
        if given:
            raise
        known = stored(folder, "filter")
        if known is not None and known.complete:
            return Stage("filter", {}, None)
        raise UsageError(
            f"{error}: {folder} was asked for it before; run the program that has this filter, or "
            "give --filter"
        ) from None


def _other_code(folder: Path, stage: Stage) -> list[str]:
    """A line for each filter of the same name as before whose code, files or defaults differ."""
    try:
        known = stored(folder, "filter")
    except DataError:
        return []  # the run says so, and decides again
    if known is None or stage.flow is None:
        return []
    before = dict(known.settings.get("filters", ()))
    return [
        f"runs filter {name} again: its code, its parameters or a file that it reads changed"
        for name, identity in stage.settings["filters"]
        if name in before and before[name] != identity
    ]


def _changes(
    earlier: Asked | None, asked: Asked, filtering: Stage | None, again: Sequence[str]
) -> list[str]:
    """What a plan changes of what a folder was asked for, and what it keeps unexpectedly."""
    if earlier is None:
        return []
    running = [name for name, _ in filtering.settings.get("filters", ())] if filtering else []
    found = changes(earlier, asked)
    found += kept_rules(earlier, asked, running)
    return found or list(again)


def _named(config: FilterConfig, filters: Sequence[Spec]) -> FilterConfig:
    """The settings with these filters; a folder knows functions by their names."""
    names = (s if isinstance(s, str) else getattr(s, "__name__", repr(s)) for s in filters)
    return replace(config, filters=tuple(names))


def plan_again(
    folder: Path, changed: str, config: Any, filters: Sequence[Spec] | None = None
) -> Plan:
    """Runs one stage with other settings: the ones before it stay, the ones after it follow.

    Only stages that the last run asked for are among them.

    Args:
        changed: name of the stage.
        config: its settings.
        filters: of the stage `filter`, in place of those of its settings, as of `plan`.
    """
    earlier = asked_of(folder)
    if filters is not None:
        config = _named(config, filters)
    settings = replace(asked_settings(folder), **{changed: config})
    wanted = {changed, "split", *(earlier.stages if earlier is not None else ())}
    chain = [name for name in STAGES if name in wanted]
    first = (
        filter_stage(config, load_filters(filters or config.filters, config.rules))
        if changed == "filter"
        else None
    )

    def stages(index: MinedIndex) -> list[Stage]:
        found: list[Stage] = []
        for name in chain:
            if STAGES.index(name) < STAGES.index(changed):
                found.append(Stage(name, {}, None))
            else:
                stage = first if name == "filter" and first else None
                stage = stage or _stage(name, getattr(settings, name), index)
                found.append(stage._replace(named=name == changed))
        return found

    asked = Asked(tuple(chain), {name: as_mapping(getattr(settings, name)) for name in TABLES})
    again = _other_code(folder, first) if first else []
    return Plan(asked, tuple(_changes(earlier, asked, first, again)), stages)


def stored_config(folder: Path, name: str) -> Any:
    """The settings that a stage of a folder was last asked with; the defaults where it was not."""
    return getattr(asked_settings(folder), name)


def filter_stage(config: FilterConfig, filters: Sequence[LoadedFilter]) -> Stage:
    """The stage `filter` with these filters."""
    settings = {
        "max_error_share": config.max_error_share,
        "max_seconds": config.max_seconds,
        "filters": [[loaded.name, _plain(loaded.identity)] for loaded in filters],
    }
    return Stage(
        "filter",
        settings,
        lambda context: filtering.flow(context, filters, config),
        as_mapping(config),
    )


def _plain(values: Mapping[str, Any]) -> Any:
    """JSON values of an identity; sets in order, and what JSON does not know by its repr."""

    def other(value: Any) -> Any:
        return sorted(value) if isinstance(value, (set, frozenset)) else repr(value)

    return json.loads(json.dumps(values, default=other, sort_keys=True))


def _stage(name: str, config: Any, index: MinedIndex) -> Stage:
    """A stage after filtering."""
    flow: Callable[[StageContext], Flow[Figures]]
    if name == "split":
        families = {r.repo: r.family or r.repo for r in index.good}
        if config.by == "auto":
            many = len(set(families.values())) >= FAMILIES_WANTED
            config = replace(config, by="family" if many else "time")

        def flow(context: StageContext) -> Flow[Figures]:
            return splitting.flow(context, config, families)

    elif name == "dedup":

        def flow(context: StageContext) -> Flow[Figures]:
            return deduplicating.flow(context, config)

    else:

        def flow(context: StageContext) -> Flow[Figures]:
            return mixing.flow(context, config)

    return Stage(name, as_mapping(config), flow)
