"""Charts as SVG text: Vega-Lite, compiled by vl-convert without network or browser.

Why so: its marks are SVG elements that carry a label for screen readers and tooltips, its text
stays text, and a colour may be any CSS, so the page's variables give light, dark and print from one
drawing. (Plotly's script alone is over 4 MB; matplotlib's marks have no labels.) A chart is drawn
for a wide page and, where that would be too small to read, again for a phone.

The SVG is parsed and cleaned of what draws nothing. Charts do not clip: Vega numbers clip paths
through the life of the process, and the same chart would not have the same bytes. Costs about
0.8 s to start the engine and 0.05 s a drawing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from markupsafe import Markup

from codeflow.text.escape import one_line

WIDE: Final = 740
NARROW: Final = 350
COLOURS: Final = tuple(f"var(--c{n})" for n in range(1, 7))
_VEGA_LITE = "6.4"
_SVG = "http://www.w3.org/2000/svg"
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_PLAIN = {"format": "~s", "labelExpr": "datum.value === 0 ? '0' : datum.label"}  # not 0k, not 0M
_FONT = "Liberation Sans"  # vl-convert brings it: text is measured alike on every machine
_DROPPED_ATTRIBUTES = frozenset(
    {"font-family", "pointer-events", "version", "class", "stroke-miterlimit"}
)

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Chart:
    """A drawing with its words.

    Attributes:
        key: unique on the page; the figure's anchor.
        title: what is drawn.
        takeaway: the one thing to see, computed from the data.
        spec: a Vega-Lite view of a given width, without data of its own making.
        small: half the page's width is enough, so one drawing serves phones, too.
    """

    key: str
    title: str
    takeaway: str
    spec: Callable[[int], Spec]
    small: bool = False


def label(text: str | None, most: int = 40) -> str:
    """A stranger's name as one line to draw: no control characters, not too long."""
    shown = one_line(text or "unknown")
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def draw(chart: Chart) -> list[tuple[str, Markup]]:
    """The SVGs of a chart, each with the class that says where it is shown."""
    if chart.small:
        return [("any", _svg(chart, NARROW))]
    return [("wide", _svg(chart, WIDE)), ("narrow", _svg(chart, NARROW))]


def _svg(chart: Chart, width: int) -> Markup:
    import vl_convert

    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": {"left": 2, "right": 8, "top": 4, "bottom": 2},
        "config": _theme(),
        **chart.spec(width),
    }
    text = vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE, allowed_base_urls=[])
    return Markup(_clean(text, chart))


def _theme() -> Spec:
    axis = {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": "var(--rule)",
        "domainColor": "var(--rule)",
        "tickColor": "var(--rule)",
        "labelLimit": 170,
        "titlePadding": 8,
    }
    return {
        "font": _FONT,
        "background": None,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"domain": False, "ticks": False, "labelPadding": 6},
        "axisX": {"labelPadding": 4},
        "legend": {
            "orient": "top",
            "title": None,
            "labelColor": "var(--ink)",
            "labelFontSize": 12,
            "symbolStrokeWidth": 2,
            "labelLimit": 150,
            "symbolOpacity": 1,
            "columnPadding": 14,
            "offset": 8,
        },
        "bar": {"color": COLOURS[0]},
        "line": {"strokeWidth": 2, "strokeJoin": "round"},
        "text": {"color": "var(--ink)", "fontSize": 12},
        "rule": {"color": "var(--muted)"},
    }


def _clean(text: str, chart: Chart) -> str:
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(text)
    _tidy(root)
    del root.attrib["height"]  # follows from the width
    root.set("role", "graphics-document")
    root.set("aria-label", f"{chart.title}. {chart.takeaway}")
    return ElementTree.tostring(root, encoding="unicode")


def _tidy(element: ElementTree.Element) -> None:
    """Takes away what draws nothing, and rounds numbers."""
    for name, value in list(element.attrib.items()):
        local = name.rpartition("}")[2]
        if local in _DROPPED_ATTRIBUTES or (local, value) == ("opacity", "1"):
            del element.attrib[name]
        elif local in ("d", "transform") or local[:1] in "xy":
            element.attrib[name] = _LONG_NUMBER.sub(_rounded, value)
    for child in list(element):
        _tidy(child)
        hidden = child.get("display") == "none" or (
            child.get("aria-hidden") == "true" and "fill" not in child.attrib and not len(child)
        )
        empty = child.tag == f"{{{_SVG}}}g" and not len(child)
        if (hidden and "stroke" not in child.attrib) or empty:
            element.remove(child)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".")


# -- shapes that several charts share --------------------------------------------------------------


def bars(rows: Rows, title: str, unit: str = "", colour: str = COLOURS[0]) -> Spec:
    """Horizontal bars, in the order given, with their figure behind them.

    Args:
        rows: `name`, `value`, `shown` (behind the bar), `label` (read aloud and in the tooltip).
        unit: `%` for an axis of shares.
    """
    names = [row["name"] for row in rows]
    most = max((row["value"] for row in rows), default=0) or 1
    x: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0, most * 1.18]},
        "axis": {"tickCount": 4, **({"format": "%"} if unit == "%" else _PLAIN)},
    }
    y = {"field": "name", "type": "nominal", "sort": names, "title": None}
    return {
        "data": {"values": list(rows)},
        "height": {"step": 24},
        "encoding": {"y": y, "x": x},
        "layer": [
            {
                "mark": {"type": "bar", "height": {"band": 0.72}, "color": colour},
                "encoding": {"description": {"field": "label"}},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 5, "aria": False},
                "encoding": {"text": {"field": "shown"}},
            },
        ],
    }


def columns(
    rows: Rows, x_title: str, y_title: str, domain: Sequence[str], colours: Mapping[str, str]
) -> Spec:
    """Columns side by side by `series` over the ordered names `bin`; `value` is a share.

    Args:
        colours: of every series that is drawn.
    """
    series = list(colours)
    encoding: Spec = {
        "x": {
            "field": "bin",
            "type": "ordinal",
            "sort": list(domain),
            "title": x_title,
            "axis": {"labelAngle": 0, "labelOverlap": "parity", "labelSeparation": 4},
            "scale": {"domain": list(domain), "paddingInner": 0.18},
        },
        "y": {
            "field": "value",
            "type": "quantitative",
            "title": y_title,
            "axis": {"format": "%", "tickCount": 4},
        },
        "description": {"field": "label"},
        "color": {
            "field": "series",
            "type": "nominal",
            "scale": {"domain": series, "range": list(colours.values())},
            **({"legend": None} if len(series) == 1 else {}),
        },
        "xOffset": {"field": "series", "sort": series},
    }
    return {
        "data": {"values": list(rows)},
        "height": 190,
        "mark": {"type": "bar"},
        "encoding": encoding,
    }


def lines(rows: Rows, x_title: str, y_title: str, y_format: str = "~g", zero: bool = False) -> Spec:
    """Lines by `series` over `x`; rows with `point` true are also marked.

    Args:
        rows: `x`, `y`, `series`, `label`, and `point` for marked ones.
    """
    series = list(dict.fromkeys(row["series"] for row in rows))
    encoding: Spec = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "title": x_title,
            "axis": {"grid": False, "tickCount": 5, **_PLAIN},
        },
        "y": {
            "field": "y",
            "type": "quantitative",
            "title": y_title,
            "scale": {"zero": zero},
            "axis": {**_PLAIN, "format": y_format, "tickCount": 5},
        },
        "color": {
            "field": "series",
            "type": "nominal",
            "scale": {"domain": series, "range": list(COLOURS)},
            **({"legend": None} if len(series) == 1 else {"legend": {"columns": 3}}),
        },
    }
    return {
        "data": {"values": list(rows)},
        "height": 200,
        "encoding": encoding,
        "layer": [
            {
                "mark": {"type": "line", "interpolate": "monotone"},
                "encoding": {"description": {"field": "series"}},
            },
            {
                "transform": [{"filter": "datum.point"}],
                "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
                "encoding": {"description": {"field": "label"}},
            },
        ],
    }
