"""The stage `mix`: some triples of a language go, or all of them weigh more, until shares are met.

    count-N    histograms of patch bytes by language and by the hash of the id; a triple that
               earlier stages gave a weight counts for as much of its bytes
    plan       all histograms → what each language is asked for, and where its ids are cut
    decide-N   each triple by its language and its id

What goes has the rule `over-share`; what counts more than once has a `weight` above 1, never
copied rows; that weight multiplies the earlier ones. Costs one reading of the patches; the driver
sees a line a language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Figures, Flow, Sink
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.context import StageContext
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.mix.draw import BUCKETS, Draw, buckets, draw
from codeflow.curation.mix.estimate import bytes_per_token, group
from codeflow.curation.mix.samplers import mix
from codeflow.records import table_of
from codeflow.storage import tables

OVER_SHARE = "over-share"
_REASON = "its language has more than its share of the mix"

_COUNTS = pa.schema(
    [
        pa.field("language", pa.string(), nullable=False),
        pa.field("bucket", pa.int16(), nullable=False),
        pa.field("triples", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class CountArguments:
    """A part, and the stages that decided before."""

    folder: Path
    part: Part
    earlier: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class PlanArguments:
    """The tables of all counts, in any order."""

    counts: tuple[str, ...]
    config: MixConfig


@dataclass(frozen=True)
class DecideArguments:
    """A part, and what happens to each language: (stop, weight) of a `Draw`."""

    folder: Path
    part: Part
    earlier: tuple[str, ...]
    stage: str
    seed: int
    draws: Mapping[str, tuple[int, float]]


def flow(context: StageContext, config: MixConfig) -> Flow[Figures]:
    """Mixes what the earlier stages kept.

    Returns:
        `sampler` and its parameters, `budget_tokens`, and in `languages` a line each (see `plan`);
        `optima` for the samplers of the paper; `absent`, languages of `shares` that are not there.

    Raises:
        UsageError: the sampler has nothing to go by in the languages that are there.
    """
    counted = yield [
        context.unit(
            f"count-{part.number:05d}",
            count,
            CountArguments(context.folder, part, context.earlier, config.seed),
        )
        for part in context.parts
    ]
    counts = tuple(result.tables["counts"] for result in counted)
    [planned] = yield [context.unit("plan", plan, PlanArguments(counts, config))]
    figures = dict(planned.value)
    draws = {name: tuple(pair) for name, pair in figures.pop("draws").items()}
    yield [
        context.unit(
            f"decide-{part.number:05d}",
            decide,
            DecideArguments(
                context.folder, part, context.earlier, context.stage, config.seed, draws
            ),
        )
        for part in context.parts
    ]
    return figures


def count(arguments: CountArguments, sink: Sink) -> dict[str, Any]:
    """Counts what is kept of a part, and its weighted bytes of patch, by language and bucket."""
    kept = decisions.kept(arguments.folder, arguments.earlier, arguments.part.name)
    weights = decisions.weights(arguments.folder, arguments.earlier, arguments.part.name)
    totals: dict[tuple[str, int], list[int]] = {}
    start = 0
    for _, table in parts.read(arguments.folder, arguments.part, ["id", "language", "patch"]):
        stop = start + len(table)
        sizes = pc.binary_length(table.column("patch")).to_numpy()
        if weights is not None:
            sizes = np.rint(sizes * weights[start:stop]).astype(np.int64)
        if kept is not None:
            table = table.filter(pa.array(kept[start:stop]))
            sizes = sizes[kept[start:stop]]
        start = stop
        sizes = sizes.tolist()
        places = buckets(arguments.seed, table.column("id").to_pylist()).tolist()
        languages = table.column("language").to_pylist()
        for language, place, size in zip(languages, places, sizes, strict=True):
            total = totals.setdefault((group(language), place), [0, 0])
            total[0] += 1
            total[1] += size
    rows = [(*key, *total) for key, total in sorted(totals.items())]
    with sink.table("counts", _COUNTS) as writer:
        writer.write(table_of(rows, _COUNTS))
    return {"languages": len({language for language, _ in totals})}


def plan(arguments: PlanArguments, sink: Sink) -> dict[str, Any]:
    """Decides the mix.

    Returns:
        The figures of the stage, and `draws`, (stop, weight) by language. Of each language:
        `triples` and `tokens` that were there, with `bytes_per_token` behind the estimate;
        `target_share`; `kept` triples, their `weight`, and the `tokens_after` they count for;
        `short_tokens`, what the target asked for and the cap on repeats did not give.
    """
    config = arguments.config
    triples, sizes = _histograms(arguments.counts)
    rates = {name: bytes_per_token(name, config.bytes_per_token) for name in sorted(sizes)}
    there = {name: int(sizes[name].sum()) / rate for name, rate in rates.items()}
    there = {name: tokens for name, tokens in there.items() if tokens}
    mixed = mix(config, there)
    draws = {name: draw(sizes[name], mixed.tokens[name] / there[name]) for name in there}
    languages = {}
    for name in there:
        stop, weight = draws[name]
        wanted = mixed.budget * mixed.targets[name]
        languages[name] = {
            "bytes_per_token": rates[name],
            "triples": int(triples[name].sum()),
            "tokens": round(there[name]),
            "target_share": round(mixed.targets[name], 6),
            "kept": int(triples[name][:stop].sum()),
            "weight": weight,
            "tokens_after": round(int(sizes[name][:stop].sum()) / rates[name] * weight),
            "short_tokens": round(max(0.0, wanted - mixed.tokens[name])),
        }
    return {
        "sampler": config.sampler,
        "seed": config.seed,
        "max_repeats": config.max_repeats,
        "budget_tokens": round(mixed.budget),
        "languages": languages,
        "optima": {
            law: {name: round(share, 6) for name, share in shares.items()}
            for law, shares in mixed.optima.items()
        },
        "absent": sorted(set(config.shares) - set(there)),
        "draws": draws,
    }


def decide(arguments: DecideArguments, sink: Sink) -> dict[str, Any]:
    """Writes the decisions of a part."""
    kept = decisions.kept(arguments.folder, arguments.earlier, arguments.part.name)
    ids: list[str] = []
    languages: list[str] = []
    for _, table in parts.read(arguments.folder, arguments.part, ["id", "language"]):
        ids += table.column("id").to_pylist()
        languages += [group(language) for language in table.column("language").to_pylist()]
    reached = [True] * len(ids) if kept is None else kept.tolist()
    places = buckets(arguments.seed, ids).tolist()
    nothing = Draw(BUCKETS, 1.0)  # of a language of which nothing reached this stage, or no bytes
    draws = [Draw(*arguments.draws.get(language, nothing)) for language in languages]
    inside = [place < each.stop for place, each in zip(places, draws, strict=True)]
    stays = [a and b for a, b in zip(reached, inside, strict=True)]
    over = [a and not b for a, b in zip(reached, inside, strict=True)]
    columns = {
        "id": ids,
        "kept": stays,
        "rule": [OVER_SHARE if gone else None for gone in over],
        "reason": [_REASON if gone else None for gone in over],
        "detail": [name if gone else None for gone, name in zip(over, languages, strict=True)],
        "weight": [d.weight if stay else 1.0 for stay, d in zip(stays, draws, strict=True)],
    }
    decisions.write(arguments.folder, arguments.stage, arguments.part.name, columns)
    return {"kept": sum(stays), OVER_SHARE: sum(over)}


def _histograms(
    paths: tuple[str, ...],
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[str, npt.NDArray[np.int64]]]:
    """Triples and bytes by language, (BUCKETS,) each; one table in memory at a time."""
    triples: dict[str, npt.NDArray[np.int64]] = {}
    sizes: dict[str, npt.NDArray[np.int64]] = {}
    for path in paths:
        table = tables.ipc(path)
        places = table.column("bucket").to_numpy()
        names = np.array(table.column("language").to_pylist(), object)
        for name in sorted(set(names.tolist())):
            mine = names == name
            for into, column in ((triples, "triples"), (sizes, "bytes")):
                sums = into.setdefault(name, np.zeros(BUCKETS, np.int64))
                np.add.at(sums, places[mine], table.column(column).to_numpy()[mine])
    return triples, sizes
