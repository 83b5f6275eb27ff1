"""The closing words of a run, as one text for a terminal and a pipe, or as a JSON object.

80 columns wide; on a terminal rich adds colour. Names and reasons come from repositories and pass
`one_line`.
"""

from __future__ import annotations

import json as json_module
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TextIO

from codeflow.publish.summary import Summary
from codeflow.terminal.progress import encodable, is_terminal, say
from codeflow.text.escape import one_line
from codeflow.text.numbers import duration, quantity

WIDTH = 80
FAILURES_SHOWN = 10
RULES_SHOWN = 15


def render_summary(summary: Summary, stream: TextIO, json: bool = False) -> None:
    """Writes the summary: for people, or as the JSON object whose `event` is `summary`."""
    if json:
        record = asdict(summary) | {
            "failed": [failure._asdict() for failure in summary.failed],
            "left_out": [row._asdict() for row in summary.left_out],
            "stages": [row._asdict() for row in summary.stages],
            "triples_by_kind": dict(summary.triples_by_kind),
            "triples_by_split": dict(summary.triples_by_split),
        }
        say(stream, json_module.dumps({"event": "summary", **record}))
    elif is_terminal(stream):
        from rich.console import Console
        from rich.text import Text

        console = Console(file=stream, highlight=False)
        for style, line in _lines(summary):
            console.print(Text(encodable(stream, line), style=style), soft_wrap=True)
    else:
        for _, line in _lines(summary):
            say(stream, line)


def _lines(summary: Summary) -> Iterator[tuple[str, str]]:
    """The text as (style, line); styles are rich's and never carry what the words do not."""
    triples = sum(summary.triples_by_kind.values())
    yield "", ""
    yield (
        "bold",
        f"{triples:,} triples from {summary.mined:,} of {_count(summary.repositories, 'repositor')}"
        f" in {duration(summary.elapsed_s)}",
    )
    kinds = ", ".join(f"{n:,} {one_line(k)}" for k, n in sorted(summary.triples_by_kind.items()))
    splits = ", ".join(f"{n:,} {one_line(split)}" for split, n in summary.triples_by_split.items())
    for name, text in (
        ("kept", kinds or "nothing"),
        ("read", f"{summary.commits_read:,} commits"),
        (
            "stored",
            f"{summary.blobs:,} contents of {quantity(summary.content_bytes, 'B')},"
            f" {quantity(summary.disk_bytes, 'B')} on disk",
        ),
        ("where", one_line(summary.out)),
    ):
        yield "", f"  {name:<8}{text}"
        if name == "kept" and splits:
            yield "", f"  {'split':<8}{splits}"
    yield from _stages(summary)
    for note in summary.notes:
        yield from _hanging("  ", note, 2)
    yield from _left_out(summary)
    yield from _failed(summary)
    if not summary.deterministic:
        yield "", ""
        warning = (
            "Not reproducible: a limit on time or memory was reached, and another machine may not "
            "reach it. The ledger names what it cost."
        )
        for line in textwrap.wrap(warning, WIDTH):
            yield "yellow", line
    yield "", ""
    yield "bold", "Next"
    yield "cyan", f"  {one_line(summary.next_command)}"  # never wrapped: it is there to be copied


def _stages(summary: Summary) -> Iterator[tuple[str, str]]:
    if not summary.stages:
        return
    yield "", ""
    yield "bold", "Stage by stage"
    yield "", f"{summary.stages[0].given:>9,}  mined"
    for stage in summary.stages:
        share = f" ({stage.kept / stage.given:.0%})" if stage.given else ""
        yield "", f"{stage.kept:>9,}  kept by {one_line(stage.stage)}{share}"


def _left_out(summary: Summary) -> Iterator[tuple[str, str]]:
    if not summary.left_out:
        return
    yield "", ""
    yield "bold", "Left out"
    rows = sorted(summary.left_out, key=lambda row: (-row.rows, row.stage, row.rule))
    for row in rows[:RULES_SHOWN]:
        name = _cut(f"{row.stage}/{row.rule}", 40)
        yield from _hanging(f"{row.rows:>9,}  {name}: ", row.reason, 11)
    yield from _more(len(rows) - RULES_SHOWN, "rules", summary.out)


def _failed(summary: Summary) -> Iterator[tuple[str, str]]:
    if not summary.failed:
        return
    yield "", ""
    yield "bold red", f"Not mined: {_count(len(summary.failed), 'repositor')}"
    for failure in summary.failed[:FAILURES_SHOWN]:
        yield from _hanging("  ", failure.where, 2)
        yield from _hanging("    ", f"{failure.rule}: {failure.reason}", 4)
    yield from _more(len(summary.failed) - FAILURES_SHOWN, "repositories", summary.out)


def _more(hidden: int, what: str, out: str) -> Iterator[tuple[str, str]]:
    if hidden > 0:
        yield "", f"  and {hidden:,} more {what}, in {one_line(out).rstrip('/')}/ledger"


def _hanging(start: str, text: str, indent: int) -> Iterator[tuple[str, str]]:
    for line in textwrap.wrap(
        one_line(text), WIDTH, initial_indent=start, subsequent_indent=" " * indent
    ) or [start.rstrip()]:
        yield "", line


def _cut(text: str, width: int) -> str:
    """The text, its middle left out where it is longer than `width` columns."""
    text = one_line(text)
    if len(text) <= width:
        return text
    head = (width - 3) // 2
    return f"{text[:head]}...{text[len(text) - (width - 3 - head) :]}"


def _count(n: int, stem: str) -> str:
    return f"{n:,} {stem}{'y' if n == 1 else 'ies'}"
