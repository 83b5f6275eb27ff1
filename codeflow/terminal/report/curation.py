"""The charts of what curation did: the funnel, drops by rule, the mix, near-duplicates.

Each function returns None where the folder does not hold what it draws: a folder mined with
`--until mine` has no stages, and a stage may not have every figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from codeflow.terminal.report.charts import COLOURS, Chart, Spec, bars, label
from codeflow.terminal.report.figures import ROWS, share_chart, unique
from codeflow.terminal.report.gather import Published
from codeflow.terminal.report.stages import Ledger, StageShown
from codeflow.terminal.report.words import count, percent
from codeflow.text.numbers import quantity

_NEGLIGIBLE = 0.0005
_STAGES = {
    "filter": "the filters",
    "dedup": "deduplication",
    "mix": "the language mix",
    "split": "the split",
}


def funnel(published: Published, stages: Sequence[StageShown], ledger: Ledger) -> Chart | None:
    """What every stage was given and left; a pair is what a miner chose."""
    lost = ledger.dropped("mine")
    mined = mined_triples(published, stages)
    if not mined + lost:
        return None
    steps = [("pairs chosen", mined + lost, 0), ("mined exactly", mined, lost)]
    losses = [(lost, "mining")]
    for stage in stages:
        if stage.given is not None and stage.kept is not None:
            where = _STAGES.get(stage.name, label(stage.name))
            name = f"after {where.removeprefix('the ')}"
            steps.append((name, stage.kept, stage.given - stage.kept))
            losses.append((stage.given - stage.kept, where))
    if published.triples != steps[-1][1]:
        steps.append(("published", published.triples, max(0, steps[-1][1] - published.triples)))
    rows: list[dict[str, Any]] = []
    for name, left, gone in steps:
        shown = f"{left:,}" + (f"  −{gone:,}" if gone else "")
        text = f"{name}: {count(left, 'triple')}" + (f", {gone:,} fewer" if gone else "")
        rows.append({"name": label(name), "left": left, "gone": left + gone, "shown": shown})
        rows[-1]["label"] = text
    most = max(row["gone"] for row in rows)

    def spec(width: int) -> Spec:
        names = [row["name"] for row in rows]
        room = 1.22 if width > 500 else 1.6
        x = {"type": "quantitative", "title": None, "axis": None}
        y = {"field": "name", "type": "nominal", "sort": names, "title": None}
        value = {**x, "field": "left", "scale": {"domain": [0, most * room]}}
        bar = {"type": "bar", "height": {"band": 0.74}}
        return {
            "data": {"values": rows},
            "height": {"step": 34},
            "encoding": {"y": {**y, "axis": {"labelFontSize": 13, "labelColor": "var(--ink)"}}},
            "layer": [
                {
                    "mark": {**bar, "color": "var(--pale)", "aria": False},
                    "encoding": {"x": {**value, "field": "gone"}},
                },
                {
                    "mark": {**bar, "color": COLOURS[0]},
                    "encoding": {"x": value, "description": {"field": "label"}},
                },
                {
                    "mark": {"type": "text", "align": "left", "dx": 6, "aria": False},
                    "encoding": {"x": {**value, "field": "gone"}, "text": {"field": "shown"}},
                },
            ],
        }

    share = published.triples / (mined + lost)
    takeaway = f"{published.triples:,} of {mined + lost:,} are published: {percent(share)}."
    gone, where = max(losses)
    if gone:
        takeaway += f" The largest loss, {gone:,}, is in {where}."
    return Chart("funnel", "From pairs to published triples", takeaway, spec)


def mined_triples(published: Published, stages: Sequence[StageShown]) -> int:
    """What the first stage was given; without stages all that was mined is published."""
    given = next((s.given for s in stages if s.given is not None), None)
    return published.triples if given is None else given


def drops(ledger: Ledger) -> Chart | None:
    """The rules that dropped most."""
    if not ledger.triples:
        return None
    total = sum(rule.rows for rule in ledger.triples)
    rows = [
        {
            "name": label(rule.name, 34),
            "value": rule.rows,
            "shown": f"{rule.rows:,}",
            "label": label(f"{rule.name}: {count(rule.rows, 'drop')}", 120),
        }
        for rule in ledger.triples[:ROWS]
    ]
    first = ledger.triples[0]
    takeaway = (
        f"{label(first.name)} accounts for {percent(first.rows / total)} of {count(total, 'drop')}"
        f" by {count(len(ledger.triples), 'rule')}."
    )
    if len(ledger.triples) > ROWS:
        takeaway += f" The {ROWS} most frequent are drawn."
    return Chart(
        "drops", "Drops by reason", takeaway, lambda width: bars(unique(rows), "dropped triples")
    )


def weighed(stages: Sequence[StageShown]) -> Chart | None:
    """The rules by which kept triples count for more or less than one."""
    found = next((s.figures.get("weighed") for s in stages if s.name == "filter"), None)
    if not isinstance(found, dict) or not found:
        return None
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        {
            "name": label(rule, 34),
            "value": n,
            "shown": f"{n:,}",
            "label": label(f"{rule}: {count(n, 'triple')}", 120),
        }
        for rule, n in ordered[:ROWS]
    ]
    rule, most = ordered[0]
    takeaway = f"{label(rule)} weighs most: {count(most, 'triple')} that the filters keep."
    return Chart(
        "weighed", "Kept, and weighed", takeaway, lambda width: bars(unique(rows), "triples")
    )


def languages(published: Published, stages: Sequence[StageShown]) -> Chart | None:
    """Tokens before and after the mix against the target; without a mix, published triples."""
    mix = next((s.figures.get("languages") for s in stages if s.name == "mix"), None)
    if isinstance(mix, dict) and mix:
        return _mixed({str(k): v for k, v in mix.items() if isinstance(v, dict)})
    if not published.triples:
        return None
    return share_chart("languages", "Languages", published.languages, small=False)


def _mixed(mix: dict[str, dict[str, Any]]) -> Chart:
    names = ("tokens", "tokens_after", "target_share")
    values = {n: {k: float(v.get(n) or 0) for k, v in mix.items()} for n in names}
    before, after, target = (_shares(values[n]) for n in names)
    order = sorted(mix, key=lambda k: (-max(before[k], after[k], target[k]), k))[:ROWS]
    rows = []
    for name in order:
        text = f"{percent(before[name])} before, {percent(after[name])} after the mix"
        if any(target.values()):
            text += f", target {percent(target[name])}"
        tokens = quantity(values["tokens_after"][name])
        row = {"name": label(name, 24), "label": f"{label(name)}: {text}; {tokens} tokens after"}
        rows.append({**row, "before": before[name], "after": after[name], "target": target[name]})

    def spec(width: int) -> Spec:
        x = {"type": "quantitative", "title": "share of tokens"}
        axis = {"axis": {"format": "%", "tickCount": 5}}
        series = {"domain": ["before", "after", "target"]}
        series["range"] = ["var(--pale)", COLOURS[0], COLOURS[1]]

        def named(name: str) -> Spec:
            return {"datum": name, "type": "nominal", "scale": series}

        y = {
            "field": "name",
            "type": "nominal",
            "sort": [row["name"] for row in rows],
            "title": None,
        }
        layers: list[Spec] = [
            {
                "mark": {"type": "bar", "height": {"band": 0.84}, "aria": False},
                "encoding": {"x": {**x, **axis, "field": "before"}, "color": named("before")},
            },
            {
                "mark": {"type": "bar", "height": {"band": 0.42}},
                "encoding": {
                    "x": {**x, **axis, "field": "after"},
                    "color": named("after"),
                    "description": {"field": "label"},
                },
            },
        ]
        if any(target.values()):
            tick: Spec = {"type": "tick", "thickness": 3, "opacity": 1, "height": {"band": 0.84}}
            at = {"x": {**x, **axis, "field": "target"}, "color": named("target")}
            layers.append({"mark": tick, "encoding": {**at, "description": {"field": "label"}}})
        return {
            "data": {"values": rows},
            "height": {"step": 28},
            "encoding": {"y": y},
            "layer": layers,
        }

    away = sum(abs(after[k] - target[k]) for k in mix) / 2
    was = sum(abs(before[k] - target[k]) for k in mix) / 2
    total = quantity(sum(values["tokens_after"].values()))
    takeaway = f"{total} tokens, as estimated."
    if any(target.values()) and max(was, away) < _NEGLIGIBLE:
        takeaway += " Their shares were the target, and are."
    elif any(target.values()):
        takeaway += (
            f" {percent(was)} of them were of the wrong language before, measured by the target, "
            f"and {percent(away)} are after."
        )
    return Chart("languages", "Languages before and after the mix", takeaway, spec)


def _shares(values: dict[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {name: value / total if total else 0.0 for name, value in values.items()}


def clusters(stages: Sequence[StageShown]) -> Chart | None:
    """Clusters of duplicates by size."""
    found = next((s.figures.get("clusters") for s in stages if s.name == "dedup"), None)
    if not isinstance(found, dict) or not found:
        return None
    sizes = Counter({int(size): int(number) for size, number in found.items()})
    bins = {"2": (2, 2), "3": (3, 3), "4": (4, 4), "5–9": (5, 9), "10–19": (10, 19)}
    bins |= {"20–99": (20, 99), "100+": (100, 1 << 62)}
    rows = []
    for name, (low, high) in bins.items():
        n = sum(c for size, c in sizes.items() if low <= size <= high)
        text = f"{count(n, 'cluster')} of {name} triples"
        rows.append({"name": name, "value": n, "shown": f"{n:,}", "label": text})
    while not rows[-1]["value"]:
        rows.pop()
    members = sum(size * c for size, c in sizes.items())
    takeaway = (
        f"{count(sizes.total(), 'cluster')} hold {members:,} triples, of which one each stays; "
        f"the largest holds {max(sizes):,}."
    )
    return Chart(
        "clusters",
        "Clusters by size",
        takeaway,
        lambda width: bars(rows, "clusters"),
        small=True,
    )


def detection(stages: Sequence[StageShown]) -> Chart | None:
    """The chance that the bands find a pair, by its similarity."""
    dedup = next((s for s in stages if s.name == "dedup"), None)
    curve = dedup.figures.get("curve") if dedup is not None else None
    if dedup is None or not curve:
        return None
    rows: list[dict[str, Any]] = [
        {"x": float(s), "y": float(p), "label": f"similarity {s:.2f}: found with {p:.1%}"}
        for s, p in curve
    ]
    threshold = dedup.settings.get("threshold")
    threshold = float(threshold) if isinstance(threshold, (int, float)) else None
    xs, ys = [row["x"] for row in rows], [row["y"] for row in rows]
    half = min(rows, key=lambda row: abs(row["y"] - 0.5))
    takeaway = f"Half of all pairs at similarity {half['x']:.2f} are found."
    if threshold is not None:
        beyond = float(np.interp(threshold + 0.1, xs, ys))
        takeaway = (
            f"{percent(beyond)} of pairs a tenth above the threshold of {threshold:g} are found."
        )

    def spec(width: int) -> Spec:
        x: Spec = {"field": "x", "type": "quantitative", "title": "Jaccard similarity"}
        y: Spec = {"field": "y", "type": "quantitative", "title": "probability of detection"}
        x |= {"axis": {"grid": False, "tickCount": 5}, "scale": {"domain": [0, 1]}}
        y |= {"axis": {"format": "%", "tickCount": 5}, "scale": {"domain": [0, 1]}}
        about = {"description": {"value": takeaway}}
        hover = {"description": {"field": "label"}}
        layers: list[Spec] = [
            {"mark": {"type": "line", "color": COLOURS[0]}, "encoding": {"x": x, "y": y, **about}},
            {
                "mark": {"type": "point", "size": 90, "opacity": 0, "filled": True},
                "encoding": {"x": x, "y": y, **hover},
            },
        ]
        if threshold is not None:
            text = f"threshold {threshold:g}"
            layers.append(
                {
                    "data": {"values": [{"x": threshold, "label": text}]},
                    "mark": {"type": "rule", "strokeDash": [4, 4], "color": COLOURS[1]},
                    "encoding": {"x": x, **hover},
                }
            )
        return {"data": {"values": rows}, "height": 190, "layer": layers}

    return Chart("detection", "What deduplication detects", takeaway, spec, small=True)
