"""The charts of what is published: where triples lie, how large they are, whose they are.

Each function draws one thing and makes the sentence that its data gives. Names come from
repositories and plug-ins and pass `label`; a chart holds a few dozen rows however large the folder.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from codeflow.terminal.report.charts import COLOURS, Chart, Spec, bars, columns, label
from codeflow.terminal.report.gather import POSITION_BINS, Published
from codeflow.terminal.report.words import count, listing, percent, top

ROWS = 14
MEASURES = ("lines", "files", "bytes", "commits")


def kind_colours(published: Published) -> dict[str, str]:
    """A kind has one colour on the whole page. Kinds beyond the colours are not drawn apart."""
    return dict(zip(sorted(published.kinds), COLOURS, strict=False))


def positions(published: Published, kind: str, colour: str) -> Chart:
    """Where in the projects' lives the triples of a kind start."""
    start, stop = published.window
    hits = published.positions[kind]
    edges = np.linspace(start, stop, POSITION_BINS + 1)
    rows = [
        {
            "from": float(edges[n]),
            "to": float(edges[n + 1]),
            "n": int(hits[n]),
            "label": f"{edges[n]:.2f} to {edges[n + 1]:.2f}: {count(int(hits[n]), 'triple')}",
        }
        for n in range(POSITION_BINS)
    ]
    total = int(hits.sum())
    half = (start + stop) / 2
    late = int(hits[POSITION_BINS // 2 :].sum()) / total if total else 0.0

    def spec(width: int) -> Spec:
        domain = {"domain": [start, stop], "nice": False}
        return {
            "data": {"values": rows},
            "height": 150,
            "mark": {"type": "bar", "color": colour, "binSpacing": 1},
            "encoding": {
                "x": {
                    "field": "from",
                    "type": "quantitative",
                    "bin": {"binned": True, "step": (stop - start) / POSITION_BINS},
                    "scale": domain,
                    "title": f"share of the history, by {', '.join(sorted(published.window_by))}",
                    "axis": {"grid": False, "format": "%", "tickCount": 5},
                },
                "x2": {"field": "to"},
                "y": {"field": "n", "type": "quantitative", "title": None, "axis": _few_ticks()},
                "description": {"field": "label"},
            },
        }

    name = label(kind)
    takeaway = (
        f"{percent(late)} of {total:,} start in the later half of the window, after {half:.0%}."
    )
    return Chart(f"position-{_slug(kind)}", f"Start of {name} triples", takeaway, spec, small=True)


def _few_ticks() -> Spec:
    return {"tickCount": 4, "format": "~s"}


def _slug(name: str) -> str:
    """A name as an anchor: ours, not theirs, where it holds anything but letters and digits."""
    return name if name.isascii() and name.isalnum() else name.encode().hex()[:24]


def lives(published: Published) -> Chart | None:
    """The same by repository, each row on a scale of its own."""
    totals = Counter({repo: int(hits.sum()) for repo, hits in published.by_repo.items()})
    chosen, _ = top(totals, ROWS)
    if len(totals) < 2:
        return None
    start, stop = published.window
    half = POSITION_BINS // 2
    edges = np.linspace(start, stop, half + 1)
    rows, names = [], []
    for number, (repo, total) in enumerate(chosen):
        hits = published.by_repo[repo].reshape(half, 2).sum(axis=1)
        name = label(repo, 28)
        name = name if name not in names else f"{name} ({number + 1})"
        names.append(name)
        rows += [
            {
                "repo": name,
                "from": float(edges[n]),
                "to": float(edges[n + 1]),
                "share": float(hits[n] / max(1, hits.max())),
                "label": f"{name}, {edges[n]:.2f} to {edges[n + 1]:.2f}: "
                f"{int(hits[n]):,} of {total:,}",
            }
            for n in range(half)
        ]

    def spec(width: int) -> Spec:
        return {
            "data": {"values": rows},
            "height": {"step": 22},
            "mark": {"type": "rect", "color": COLOURS[0], "stroke": "var(--paper)"},
            "encoding": {
                "y": {"field": "repo", "type": "nominal", "sort": names, "title": None},
                "x": {
                    "field": "from",
                    "type": "quantitative",
                    "bin": {"binned": True, "step": (stop - start) / half},
                    "scale": {"domain": [start, stop], "nice": False},
                    "title": f"share of the history, by {', '.join(sorted(published.window_by))}",
                    "axis": {"grid": False, "format": "%", "tickCount": 5},
                },
                "x2": {"field": "to"},
                "opacity": {
                    "field": "share",
                    "type": "quantitative",
                    "legend": None,
                    "scale": {"domain": [0, 1], "range": [0.04, 1]},
                },
                "description": {"field": "label"},
            },
        }

    first, most = chosen[0]
    takeaway = (
        f"{label(first)} gives {percent(most / max(1, totals.total()))} of all triples. "
        "Darker is more, on each row’s own scale."
    )
    return Chart("lives", "Where in each project’s life", takeaway, spec)


def _power(n: int) -> str:
    """2 to the n in powers of 1,024, as bins that double are read: 512, 1k, 2k."""
    return f"{2 ** (n % 10)}{' kMGT'[n // 10].strip()}"


def share_chart(key: str, title: str, counts: Counter[str], small: bool = True) -> Chart:
    """Published triples by some name."""
    total = counts.total()
    chosen, rest = top(counts, 8 if small else ROWS)
    pairs = [(label(name, 22), n) for name, n in chosen]
    if rest:
        pairs.append((f"{len(counts) - len(chosen)} others", rest))
    rows = [
        {
            "name": name,
            "value": n / total,
            "shown": percent(n / total),
            "label": f"{name}: {count(n, 'triple')}, {percent(n / total)}",
        }
        for name, n in pairs
    ]
    firsts = [f"{label(name)} {percent(n / total)}" for name, n in chosen[:2]]
    takeaway = ", ".join(firsts) + (f"; {len(counts)} in all." if len(counts) > 2 else ".")
    return Chart(
        key, title, takeaway, lambda width: bars(unique(rows), "share of triples", "%"), small
    )


def sizes(published: Published, measure: str) -> Chart | None:
    """How large triples are, in bins that double."""
    by_kind = published.sizes.get(measure, {})
    if not any(len(values) for values in by_kind.values()):
        return None
    title, axis = {
        "files": ("Changed files", "files"),
        "lines": ("Changed lines", "lines, added and deleted"),
        "bytes": ("Bytes of the patch", "bytes"),
        "commits": ("Commits in a span", "commits"),
    }[measure]
    if measure == "commits":
        by_kind = {kind: values for kind, values in by_kind.items() if values.max(initial=0) > 1}
        if not by_kind:
            return None
    powers = {kind: np.maximum(values, 1) for kind, values in by_kind.items()}
    bins = {kind: np.floor(np.log2(values)).astype(int) for kind, values in powers.items()}
    low = min(int(values.min()) for values in bins.values())
    high = max(int(values.max()) for values in bins.values())
    names = [_power(n) for n in range(low, high + 1)]
    colours = {label(kind): colour for kind, colour in kind_colours(published).items()}
    colours = {kind: colours.get(kind, COLOURS[-1]) for kind in map(label, by_kind)}
    rows = []
    for kind, values in bins.items():
        hits = np.bincount(values - low, minlength=high - low + 1)
        for n, name in enumerate(names):
            span = f"{2 ** (low + n):,} to {2 ** (low + n + 1) - 1:,}" if low + n else "0 or 1"
            text = f"{label(kind)}, {span}: {count(int(hits[n]), 'triple')}"
            share = float(hits[n] / len(values))
            rows.append({"series": label(kind), "bin": name, "value": share, "label": text})
    middle = {label(kind): f"{float(np.median(v)):,.0f}" for kind, v in by_kind.items()}
    takeaway = f"The median is {listing([f'{n} for {kind}' for kind, n in middle.items()])}."
    if len(by_kind) == 1:
        [values] = by_kind.values()
        ninety = float(np.quantile(values, 0.9))
        takeaway = (
            f"The median is {float(np.median(values)):,.0f}, one in ten is above {ninety:,.0f}."
        )

    def spec(width: int) -> Spec:
        return columns(rows, f"{axis}, at least", "share of its kind", names, colours)

    return Chart(f"size-{measure}", title, takeaway, spec, small=True)


def unique(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Names that were cut alike must not fall into one row."""
    seen: Counter[str] = Counter()
    out = []
    for row in rows:
        seen[row["name"]] += 1
        again = seen[row["name"]]
        out.append({**row, "name": row["name"] + (f" ({again})" if again > 1 else "")})
    return out


def origins(published: Published) -> list[Chart]:
    """Whose the triples are: licences, and people against bots."""
    if not published.triples:
        return []
    charts = [share_chart("licences", "Licences", published.licenses)]
    if len(published.authors) > 1:
        charts.append(share_chart("authors", "Authors", published.authors))
    return charts
