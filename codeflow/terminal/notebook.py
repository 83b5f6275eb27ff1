"""A dataset and a triple in a notebook: what `inspect` prints, as HTML that stays small.

A notebook shows the value of a cell without being asked, so this must be cheap and must end: a
dataset reads no data, only its manifest and footers; of a triple the first lines are shown and the
rest is counted. Texts of repositories are hostile: control characters are made visible, markup is
escaped.
"""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING

from codeflow.terminal.inspect import show_triple
from codeflow.text.escape import one_line
from codeflow.text.numbers import quantity
from codeflow.triple import Triple

if TYPE_CHECKING:
    from codeflow.dataset.reader import Dataset

_MOST = 80  # commits, files, and lines of the diff
_COLUMNS = 110
_PRE = '<pre style="white-space: pre; overflow-x: auto; line-height: 1.35">{code}</pre>'


def triple_html(triple: Triple) -> str:
    """A triple: what it is, its commits, its files, and the beginning of the diff."""
    from rich.console import Console

    console = Console(file=io.StringIO(), record=True, width=_COLUMNS, force_jupyter=False)
    try:
        show_triple(triple, console, most=_MOST)
    except AttributeError:  # read with some of its columns only
        return f"<code>{escape(one_line(repr(triple)))}</code>"
    return console.export_html(inline_styles=True, code_format=_PRE)


def dataset_html(dataset: Dataset) -> str:
    """A dataset: its triples by split and by kind, and how large it is."""
    splits = {
        split: sum(group.rows for group in shards.groups)
        for split, shards in dataset.triple_shards.items()
    }
    kinds = dataset.manifest.get("triples") or {}
    rows = {
        "triples": f"{len(dataset):,} ({_counts(splits)})",
        "kinds": _counts(kinds),
        "repositories": f"{len(dataset.manifest.get('repositories') or ()):,}",
        "contents": f"{sum(group.rows for group in dataset.blob_shards.groups):,}",
        "on disk": quantity(sum(file.bytes for file in dataset.listed), "B"),
    }
    cells = "".join(
        f"<tr><th style='text-align: left'>{name}</th>"
        f"<td style='text-align: left'>{escape(one_line(value))}</td></tr>"
        for name, value in rows.items()
        if value
    )
    return f"<b>{escape(one_line(str(dataset.folder)))}</b><table>{cells}</table>"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
