"""Training runs from their `metrics.jsonl`: loss curves, speed, and what the loop does.

Reads `DIR/runs/*/metrics.jsonl` as `codeflow.train.metrics` writes it, and nothing of torch. A
torn last line and numbers that are not finite are passed over. A run of a million steps is drawn
with a few hundred points, each the mean of its stretch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from codeflow.storage import layout
from codeflow.terminal.report.charts import COLOURS, Chart, Spec, label, lines
from codeflow.terminal.report.words import listing
from codeflow.text.numbers import quantity

POINTS = 160
DETAILED = 3  # runs with charts of their own
OVERLAID = 6  # runs in the common chart


class Step(NamedTuple):
    step: int
    tokens: float
    loss: float
    grad_norm: float
    tokens_per_s: float


@dataclass
class Run:
    """One run: its steps, and its other events as (step, values)."""

    name: str
    steps: list[Step] = field(default_factory=list)
    validation: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    diagnostics: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    bad_steps: int = 0

    @property
    def final_loss(self) -> float:
        """Mean training loss at the end, over a twentieth of the steps; NaN if none is finite."""
        losses = [step.loss for step in self.steps if math.isfinite(step.loss)]
        return float(np.mean(losses[-max(1, len(self.steps) // 20) :])) if losses else math.nan

    @property
    def best_validation(self) -> float | None:
        found = [value for _, v in self.validation if (value := _number(v.get("loss"))) is not None]
        return min(found, default=None)

    @property
    def tokens_per_s(self) -> float:
        """Median over the steps: the first ones are slow, and a pause is not speed."""
        known = [s.tokens_per_s for s in self.steps if math.isfinite(s.tokens_per_s)]
        return float(np.median(known)) if known else math.nan


def read_runs(folder: Path) -> list[Run]:
    """The runs that have made at least one step, by name."""
    runs = [_read(path) for path in sorted((folder / layout.RUNS).glob("*/metrics.jsonl"))]
    return [run for run in runs if run.steps]


def _read(path: Path) -> Run:
    run = Run(path.parent.name)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                values = json.loads(line)
                event, step = str(values["event"]), int(values["step"])
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill
            if event == "step":
                names = ("tokens", "loss", "grad_norm", "tokens_per_s")
                numbers = (_number(values.get(name)) for name in names)
                run.steps.append(Step(step, *(math.nan if n is None else n for n in numbers)))
                run.bad_steps = max(run.bad_steps, int(_number(values.get("bad_steps")) or 0))
            elif event == "validation":
                run.validation.append((step, values))
            elif event == "diagnostics":
                run.diagnostics.append((step, values))
    return run


def _number(value: object) -> float | None:
    """A finite number; metrics write others as text."""
    good = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]


def _tokens_at(run: Run, step: int) -> float:
    """How many tokens had been read at a step; validation may come before the first."""
    done = [s.tokens for s in run.steps if s.step <= step]
    return done[-1] if done else 0.0


def _thin(points: Iterable[tuple[float, float]], name: str) -> list[dict[str, Any]]:
    """Rows of a line, each the mean of its stretch."""
    good = np.asarray([p for p in points if all(map(math.isfinite, p))], dtype=np.float64)
    parts = np.array_split(good, min(POINTS, len(good))) if len(good) else []
    means = [part.mean(axis=0) for part in parts]
    return [{"x": _round(x), "y": _round(y), "series": name, "label": name} for x, y in means]


def _round(value: float) -> float:
    return float(f"{value:.5g}")


def _marked(points: Iterable[tuple[float, float]], name: str) -> list[dict[str, Any]]:
    """Rows of a line whose points are told one by one."""
    rows = _thin(points, name)
    for row in rows:
        text = f"{name}: {row['y']:.4g} after {quantity(row['x'])} tokens"
        row.update(label=text, point=True)
    return rows


def run_charts(runs: Sequence[Run]) -> list[Chart]:
    """The loss of all runs together; a run without a finite loss has no line."""
    finite = [run for run in runs if any(math.isfinite(step.loss) for step in run.steps)]
    return [_loss(finite[:OVERLAID])] if finite else []


def detail_charts(run: Run, number: int) -> list[Chart]:
    """Everything else of one run; what it did not measure is not drawn."""
    found = [
        _by_label(run, number, "languages", "Validation loss by language"),
        _by_label(run, number, "kinds", "Validation loss by kind of document"),
        _speed(run, number),
        _gradients(run, number),
        _gates(run, number),
        _gate_layers(run, number),
        _change(run, number),
    ]
    return [chart for chart in found if chart is not None]


def _loss(runs: Sequence[Run]) -> Chart:
    names = [label(run.name, 24) for run in runs]
    trained: list[dict[str, Any]] = []
    validated: list[dict[str, Any]] = []
    for run, name in zip(runs, names, strict=True):
        trained += _thin(((s.tokens, s.loss) for s in run.steps), name)
        losses = ((_tokens_at(run, step), _number(v.get("loss"))) for step, v in run.validation)
        validated += _marked(((x, y) for x, y in losses if y is not None), name)
    for row in validated:
        row["label"] = f"validation, {row['label']}"

    def spec(width: int) -> Spec:
        base = lines([*trained, *validated], "tokens read", "loss, nats a token")
        encoding = base["encoding"]
        drawn: list[Spec] = [
            {
                "data": {"values": trained},
                "mark": {"type": "line", "strokeWidth": 1.4},
                "encoding": {"description": {"field": "series"}},
            }
        ]
        if validated:
            dashed = {"type": "line", "strokeDash": [5, 4], "strokeWidth": 1.4, "aria": False}
            point = {"type": "point", "filled": True, "size": 40, "opacity": 1}
            drawn += [
                {"data": {"values": validated}, "mark": dashed},
                {
                    "data": {"values": validated},
                    "mark": point,
                    "encoding": {"description": {"field": "label"}},
                },
            ]
        return {"height": 280 if width > 500 else 230, "encoding": encoding, "layer": drawn}

    return Chart("loss", "Loss", _loss_takeaway(runs) + _DOTS * bool(validated), spec)


_DOTS = " Dots are validation."


def _loss_takeaway(runs: Sequence[Run]) -> str:
    best = [(v, label(run.name, 24)) for run in runs if (v := run.best_validation) is not None]
    if len(best) > 1:
        ranked = listing([f"{name} ({value:.3f})" for value, name in sorted(best)])
        return f"Best validation losses, lowest first: {ranked}."
    run = runs[0]
    start, *_ = [step.loss for step in run.steps if math.isfinite(step.loss)]
    text = f"{label(run.name, 24)} goes from {start:.2f} to {run.final_loss:.2f} nats a token"
    return text + (f"; its best validation loss is {best[0][0]:.2f}." if best else ".")


def _by_label(run: Run, number: int, what: str, title: str) -> Chart | None:
    last = next((v[what] for _, v in reversed(run.validation) if v.get(what)), None)
    if not isinstance(last, dict):
        return None
    known = {name: n for name, value in last.items() if (n := _number(value)) is not None}
    names = sorted(known, key=lambda name: (known[name], name))
    if len(names) > OVERLAID:  # the easiest, the hardest, and what lies evenly between
        picks = np.linspace(0, len(names) - 1, OVERLAID).round().astype(int)
        names = [names[i] for i in picks]
    rows: list[dict[str, Any]] = []
    for name in names:
        points = (
            (_tokens_at(run, step), _number((v.get(what) or {}).get(name)))
            for step, v in run.validation
        )
        rows += _marked(((x, y) for x, y in points if y is not None), label(name, 18))
    if not rows:
        return None
    best, worst = names[0], names[-1]
    takeaway = f"At the end {label(best)} is easiest ({known[best]:.2f})"
    takeaway += f", {label(worst)} hardest ({known[worst]:.2f})." if worst != best else "."
    return Chart(
        f"run{number}-{what}",
        title,
        takeaway,
        lambda width: lines(rows, "tokens read", "nats a token"),
        small=True,
    )


def _speed(run: Run, number: int) -> Chart | None:
    rows = _thin(((s.tokens, s.tokens_per_s) for s in run.steps), "tokens a second")
    if not rows:
        return None
    return Chart(
        f"run{number}-speed",
        "Speed",
        f"The median step reads {quantity(run.tokens_per_s)} tokens a second.",
        lambda width: lines(rows, "tokens read", "tokens a second", "~s", zero=True),
        small=True,
    )


def _gradients(run: Run, number: int) -> Chart | None:
    series = {"pass1_grad_norm": "pass 1", "pass2_grad_norm": "pass 2"}
    rows: list[dict[str, Any]] = []
    last: list[str] = []
    for key, name in series.items():
        points = [(s, n) for s, v in run.diagnostics if (n := _number(v.get(key))) is not None]
        rows += _marked(((_tokens_at(run, step), n) for step, n in points), name)
        last += [f"{points[-1][1]:.2g} at the end of {name}"] if points else []
    if not rows:
        return None
    return Chart(
        f"run{number}-gradients",
        "Gradient norm by pass",
        f"Of the loss by the hidden state: {', '.join(last)} when last measured.",
        lambda width: lines(rows, "tokens read", "gradient norm", "~g", zero=True),
        small=True,
    )


def _gate_values(values: Mapping[str, Any]) -> list[dict[str, float]]:
    """Per layer, in order; layers that lack a figure are left out."""
    gates = values.get("gate")
    if not isinstance(gates, dict):
        return []
    names = ("mean", "std", "below_0.1", "above_0.9")
    order = sorted(gates, key=lambda name: (len(name), name))
    layers = [{n: _number(gates[layer].get(n)) for n in names} for layer in order]
    return [
        {n: v for n, v in layer.items() if v is not None}
        for layer in layers
        if None not in layer.values()
    ]


def _gates(run: Run, number: int) -> Chart | None:
    measured = [
        (_tokens_at(run, step), [layer["mean"] for layer in layers])
        for step, v in run.diagnostics
        if (layers := _gate_values(v))
    ]
    if not measured:
        return None
    rows: list[dict[str, Any]] = []
    for name, pick in (("highest layer", max), ("mean", np.mean), ("lowest layer", min)):
        rows += _marked(((x, float(pick(means))) for x, means in measured), name)
    final = float(np.mean(measured[-1][1]))

    def spec(width: int) -> Spec:
        base = lines(rows, "tokens read", "mean of the gate")
        base["encoding"]["y"]["scale"] = {"domain": [0, 1]}
        return base

    takeaway = f"The mean gate ends at {final:.2f}: the weight of attention over pass 1’s keys."
    return Chart(f"run{number}-gates", "Gate over time", takeaway, spec, small=True)


def _gate_layers(run: Run, number: int) -> Chart | None:
    layers = next((found for _, v in reversed(run.diagnostics) if (found := _gate_values(v))), None)
    if not layers:
        return None
    rows = []
    for n, layer in enumerate(layers):
        mean, std = layer["mean"], layer["std"]
        text = (
            f"layer {n}: mean {mean:.3f}, deviation {std:.3f}, "
            f"{layer['below_0.1']:.0%} below 0.1, {layer['above_0.9']:.0%} above 0.9"
        )
        row = {"layer": n, "mean": mean, "low": max(0.0, mean - std), "high": min(1.0, mean + std)}
        rows.append({**row, "label": text})

    def spec(width: int) -> Spec:
        x: Spec = {"field": "layer", "type": "ordinal", "title": "layer"}
        x["axis"] = {"labelAngle": 0, "labelOverlap": "greedy"}
        y: Spec = {"type": "quantitative", "scale": {"domain": [0, 1]}}
        y["title"] = "gate: mean and deviation"
        about = {"description": {"field": "label"}}
        band = {"type": "bar", "width": {"band": 0.6}, "color": "var(--pale)", "aria": False}
        return {
            "data": {"values": rows},
            "height": 200,
            "encoding": {"x": x},
            "layer": [
                {"mark": band, "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}}},
                {
                    "mark": {"type": "tick", "thickness": 3, "opacity": 1, "color": COLOURS[0]},
                    "encoding": {"y": {**y, "field": "mean"}, **about},
                },
            ],
        }

    means = [(layer["mean"], n) for n, layer in enumerate(layers)]
    (low, lowest), (high, highest) = min(means), max(means)
    takeaway = f"Means go from {low:.2f} in layer {lowest} to {high:.2f} in layer {highest}."
    return Chart(f"run{number}-layers", "Gate by layer", takeaway, spec, small=True)


def _change(run: Run, number: int) -> Chart | None:
    points = [(s, n) for s, v in run.diagnostics if (n := _number(v.get("pass2_change")))]
    rows = _marked(((_tokens_at(run, step), n) for step, n in points), "change")
    if not rows:
        return None
    return Chart(
        f"run{number}-change",
        "What pass 2 changes",
        f"When last measured, it moves the hidden state by {rows[-1]['y']:.0%} of its norm.",
        lambda width: lines(rows, "tokens read", "relative change", "~g", zero=True),
        small=True,
    )
