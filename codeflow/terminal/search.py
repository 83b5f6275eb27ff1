"""`codeflow inspect --list` as a table, and what `codeflow inspect --json` prints."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeflow.dataset.reader import Dataset
from codeflow.dataset.search import Found, as_row, subject_of
from codeflow.dataset.statistics import Statistics
from codeflow.records import TRIPLES
from codeflow.terminal.progress import say
from codeflow.text.escape import one_line
from codeflow.triple import Triple


def show_found(found: Found, console: Console) -> None:
    """Prints a line a match: which, when, what, how much, and what it says."""
    if not found.triples:
        console.print("no triple matches")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    several = len({triple.repo for triple in found.triples}) > 1
    for name in ("id", "authored", *(("repository",) if several else ()), "kind", "+", "-"):
        table.add_column(name, justify="right" if name in "+-" else "left", no_wrap=True)
    table.add_column("subject", overflow="fold")
    for triple in found.triples:
        repo = (Text(one_line(triple.repo)),) if several else ()
        merge = " (merge)" if triple.is_merge else ""
        table.add_row(
            triple.id[:12],
            f"{triple.authored_at:%Y-%m-%d}",
            *repo,
            Text(one_line(triple.kind) + merge),
            f"{triple.additions:,}",
            f"{triple.deletions:,}",
            Text(one_line(subject_of(triple))),
        )
    console.print(table)
    count = f"{len(found.triples):,} of {found.total:,}"
    more = "; --limit 0 shows all" if len(found.triples) < found.total else ""
    console.print(Text(f"{count}{more}", style="dim"))


def write_found(found: Found, stream: TextIO) -> None:
    """A JSON object a match, a line each."""
    for triple in found.triples:
        say(stream, json.dumps(as_row(triple)))


def write_triple(triple: Triple, stream: TextIO) -> None:
    """All columns of a triple as one JSON object; times as ISO 8601."""
    row = {name: getattr(triple, name) for name in TRIPLES.names}
    row["files"] = [change._asdict() for change in triple.files]
    say(stream, json.dumps(row, default=_plain))


def write_dataset(dataset: Dataset, stream: TextIO) -> None:
    """What a dataset holds as one JSON object; what is counted by two names is nested."""
    say(stream, json.dumps(_summary(dataset.statistics())))


def _summary(statistics: Statistics) -> dict[str, Any]:
    values = statistics._asdict()
    for name, value in values.items():
        if isinstance(value, Counter):
            values[name] = _nested(value)
        elif isinstance(value, dict):
            values[name] = {key: quantiles._asdict() for key, quantiles in value.items()}
    return values


def _nested(counts: Counter[Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, count in sorted(counts.items(), key=lambda item: str(item[0])):
        if isinstance(key, tuple):
            nested.setdefault(key[0], {})[key[1]] = count
        else:
            nested["unknown" if key is None else str(key)] = count
    return nested


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else dict(value)
