"""The stage `split`: each triple that is left goes to train or to validation, or to neither.

    starts-N   by time: where the triples begin that are left          cuts   where to hold out
    held-N     after dedup: clusters that touch what is held out       touching   all of them
    decide-N   each triple by the cut of its repository and by its cluster

By family, repositories that share a root commit are held out together, by a hash of their key: the
split of one never depends on what else is in the list. By time, the last part of every repository
is held out, of a family of forks that of all together, and what begins before it and ends within it
(`straddles`) is in neither split. In both cases a near-duplicate cluster that touches what is held
out leaves train (`near-validation`): all members count, those that dedup dropped and those that
straddle included. Costs one reading of small columns; the driver holds a line a repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Figures, Flow, Sink
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.context import StageContext
from codeflow.curation.mix.draw import chance
from codeflow.curation.split.held_out import (
    PLACE_COLUMNS,
    STRADDLES,
    TRAIN,
    VALIDATION,
    WHOLE,
    Cut,
    Member,
    by_repository,
    last_part,
    last_part_of_family,
    places,
    with_forks,
)
from codeflow.errors import UsageError
from codeflow.storage.tables import ipc

SPLIT_BY: Final = ("auto", "family", "time")
DEDUP: Final = "dedup"

_REASONS: Final = {
    "straddles": "begins before the held-out part of its repository and ends within it",
    "near-validation": "nearly the same change is held out for validation",
}

_STARTS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("position", pa.float64(), nullable=False),
        # the first commit after the one where the triple begins
        pa.field("first", pa.string(), nullable=False),
    ]
)
_CLUSTERS = pa.schema([pa.field("cluster", pa.string(), nullable=False)])


@dataclass(frozen=True)
class SplitConfig:
    """What is held out for validation.

    Attributes:
        by: `family` for whole families of forks, `time` for the last part of each repository,
            `auto` for whichever suits the number of families; it is settled before the stage runs.
        validation: the share held out, of families or of a repository's triples; 0 for none.
        seed: another seed holds out other families.
    """

    by: str = "auto"
    validation: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in SPLIT_BY:
            raise UsageError(f"split.by = {self.by!r}: choose one of {', '.join(SPLIT_BY)}")
        if not 0 <= self.validation < 1:
            raise UsageError(f"split.validation = {self.validation}: give 0 or more, under 1")


@dataclass(frozen=True)
class PartArguments:
    """A part, the stages that decided before, and the cuts of the part's repositories."""

    folder: Path
    part: Part
    earlier: tuple[str, ...]
    cuts: Mapping[str, Cut]


@dataclass(frozen=True)
class CutsArguments:
    """Tables of starts in the order of the parts, and the families of two or more."""

    folder: Path
    starts: tuple[str, ...]
    share: float
    families: tuple[tuple[Member, ...], ...]


@dataclass(frozen=True)
class DecideArguments:
    """A part, and the file of all clusters that touch validation, where there is one."""

    held: PartArguments
    stage: str
    touching: str | None


def flow(context: StageContext, config: SplitConfig, families: Mapping[str, str]) -> Flow[Figures]:
    """Splits what the earlier stages kept.

    Args:
        families: key of the family by repository; one that is not in here is its own family.

    Returns:
        `by`, `validation_share`, `families` (in all and held out), and triples in `train`,
        `validation`, `straddles` and `near-validation`.

    Raises:
        UsageError: one of the two splits would be empty.
    """
    assert config.by != "auto", "the caller settles it"
    ordered = sorted(context.parts, key=lambda part: part.number)
    members: dict[str, dict[str, Member]] = {}
    for stretch in (stretch for part in ordered for stretch in part.stretches):
        key = families.get(stretch.repo, stretch.repo)
        members.setdefault(key, {})[stretch.repo] = Member(stretch.repo, stretch.contained)
    cuts: dict[str, Cut] = {}
    if config.by == "family":
        limit = int(config.validation * (1 << 64))
        for key, chains in members.items():
            if chance(config.seed, key) < limit:
                cuts |= dict.fromkeys(chains, WHOLE)
    elif config.validation:
        counted = yield [
            context.unit(f"starts-{part.number:05d}", starts, _arguments(context, part, {}))
            for part in ordered
        ]
        tables = tuple(result.tables["starts"] for result in counted)
        forked = tuple(tuple(chains.values()) for chains in members.values() if len(chains) > 1)
        arguments = CutsArguments(context.folder, tables, config.validation, forked)
        [found] = yield [context.unit("cuts", find_cuts, arguments)]
        cuts = {repo: Cut(at, tuple(ids)) for repo, (at, ids) in found.value["cuts"].items()}
    touching = None
    if DEDUP in context.earlier and cuts:
        looked = yield [
            context.unit(f"held-{part.number:05d}", held, _arguments(context, part, cuts))
            for part in ordered
        ]
        tables = tuple(result.tables["clusters"] for result in looked)
        [merged] = yield [context.unit("touching", merge, tables)]
        touching = merged.tables["clusters"]
    decided = yield [
        context.unit(
            f"decide-{part.number:05d}",
            decide,
            DecideArguments(_arguments(context, part, cuts), context.stage, touching),
        )
        for part in ordered
    ]
    names = ("train", "validation", *_REASONS)
    totals = {name: sum(result.value[name] for result in decided) for name in names}
    held_out = sum(1 for chains in members.values() if chains.keys() & cuts.keys())
    _require_both(config, totals, len(members))
    return {
        "by": config.by,
        "validation_share": config.validation,
        "families": len(members),
        "families_held_out": held_out,
        **totals,
    }


def _arguments(context: StageContext, part: Part, cuts: Mapping[str, Cut]) -> PartArguments:
    own = {stretch.repo: cuts[stretch.repo] for stretch in part.stretches if stretch.repo in cuts}
    return PartArguments(context.folder, part, context.earlier, own)


def _require_both(config: SplitConfig, totals: Mapping[str, int], families: int) -> None:
    """Raises UsageError, with advice, where a split is empty."""
    if not any(totals.values()):
        return  # nothing is left to split: the account of the run says why
    for name, other in (("validation", "train"), ("train", "validation")):
        if totals[name] or (name == "validation" and not config.validation):
            continue
        of = f"{families:,} {'family' if families == 1 else 'families'}"
        count = f"{totals[other]:,} triples of {of} are all in {other}"
        if config.by == "family":
            advice = "with few families use --split-by time"
        else:
            share = min(0.9, 4 * config.validation) if name == "validation" else 0.05
            advice = f"give another share, as in `codeflow publish DIR --validation {share:g}`"
        raise UsageError(
            f"split: no {name} data: at a share of {config.validation:g}, {count}; {advice}"
        )


def starts(arguments: PartArguments, sink: Sink) -> dict[str, Any]:
    """Writes where each triple of a part begins that is left."""
    kept = decisions.kept(arguments.folder, arguments.earlier, arguments.part.name)
    row = 0
    with sink.table("starts", _STARTS) as writer:
        for stretch, table in parts.read(arguments.folder, arguments.part, PLACE_COLUMNS):
            mine = slice(row, row + len(table))
            row = mine.stop
            if kept is not None:
                table = table.filter(pa.array(kept[mine]))
            columns = [
                pa.array([stretch.repo] * len(table), pa.string()),
                table.column("position").combine_chunks(),
                pc.list_element(table.column("commits").combine_chunks(), 0),
            ]
            writer.write(pa.table(columns, schema=_STARTS))
    return {"rows": row}


def find_cuts(arguments: CutsArguments, sink: Sink) -> dict[str, Any]:
    """Returns `cuts`, (position, entered) by repository; holds the starts of one at a time, and
    those of forks.

    Where the share is less than one triple in every repository, the last one of each is held out,
    of forks the last of all.
    """
    folder, share = arguments.folder, arguments.share
    family = {m.repo: number for number, all_ in enumerate(arguments.families) for m in all_}
    cuts: dict[str, Cut] = {}
    for least in (0, 1):
        tables = (ipc(path) for path in arguments.starts)
        forks: dict[int, dict[str, tuple[Any, list[str]]]] = {}
        for repo, positions, firsts in by_repository(tables):
            if repo in family:
                forks.setdefault(family[repo], {})[repo] = positions, firsts
                continue
            cut = last_part(positions, firsts, share, least)
            if cut is not None:
                cuts[repo] = cut
        for number, found in forks.items():
            members = arguments.families[number]
            cuts |= last_part_of_family(folder, members, found, share, least)
        if cuts:
            break
    return {"cuts": with_forks(folder, cuts, arguments.families)}


def held(arguments: PartArguments, sink: Sink) -> dict[str, Any]:
    """Writes the clusters that have a member in what is held out, or reaching into it."""
    found = _places(arguments)
    column = decisions.read(arguments.folder, DEDUP, arguments.part.name, ["cluster"])
    clusters = column.filter(pa.array(found != TRAIN)).column("cluster")
    distinct = pc.unique(clusters).drop_null()
    with sink.table("clusters", _CLUSTERS) as writer:
        writer.write(pa.table([distinct], schema=_CLUSTERS))
    return {"clusters": len(distinct)}


def merge(paths: tuple[str, ...], sink: Sink) -> dict[str, Any]:
    """Writes the clusters of all tables, each once, sorted."""
    tables = [ipc(path) for path in paths]
    distinct = pc.unique(pa.concat_tables(tables).column("cluster")).sort()
    with sink.table("clusters", _CLUSTERS) as writer:
        writer.write(pa.table([distinct], schema=_CLUSTERS))
    return {"clusters": len(distinct)}


def decide(arguments: DecideArguments, sink: Sink) -> dict[str, Any]:
    """Writes the decisions of a part; returns how many came to what."""
    given = arguments.held
    name = given.part.name
    tables = [table for _, table in parts.read(given.folder, given.part, ["id"])]
    ids = pa.concat_tables(tables).column("id").to_pylist()
    reached = decisions.kept(given.folder, given.earlier, name)
    reached = np.ones(len(ids), np.bool_) if reached is None else reached
    place = _places(given)
    near = np.zeros(len(ids), np.bool_)
    clusters: list[str | None] = [None] * len(ids)
    if arguments.touching is not None:
        column = decisions.read(given.folder, DEDUP, name, ["cluster"]).column("cluster")
        clusters = column.to_pylist()
        known = ipc(arguments.touching).column("cluster").combine_chunks()
        found = pc.is_in(column.combine_chunks(), value_set=known, skip_nulls=True)
        near = found.to_numpy(zero_copy_only=False).astype(np.bool_)
    straddles = reached & (place == STRADDLES)
    near &= reached & (place == TRAIN)
    train = reached & (place == TRAIN) & ~near
    validation = reached & (place == VALIDATION)
    masks = {
        "train": train,
        "validation": validation,
        "straddles": straddles,
        "near-validation": near,
    }
    rule = _named({name: masks[name] for name in _REASONS})
    columns = {
        "id": ids,
        "kept": (train | validation).tolist(),
        "rule": rule,
        "reason": [_REASONS[each] if each else None for each in rule],
        "detail": [cluster if gone else None for cluster, gone in zip(clusters, near, strict=True)],
        "split": _named({"train": train, "validation": validation}),
    }
    decisions.write(given.folder, arguments.stage, name, columns)
    return {name: int(mask.sum()) for name, mask in masks.items()}


def _named(masks: Mapping[str, Any]) -> list[str | None]:
    """The name of the mask that holds in each row."""
    rows = len(next(iter(masks.values())))
    names = np.full(rows, None, object)
    for name, mask in masks.items():
        names[mask] = name
    values: list[str | None] = names.tolist()
    return values


def _places(arguments: PartArguments) -> Any:
    """The place of every triple of a part, dropped ones included."""
    found = [
        places(table, arguments.cuts.get(stretch.repo))
        for stretch, table in parts.read(arguments.folder, arguments.part, PLACE_COLUMNS)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int8)
