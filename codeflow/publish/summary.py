"""The closing words of a run: what was kept, what was left out and why, what to type next.

One text for a terminal (where rich adds colour) and a pipe, 80 columns wide; one JSON object under
`--json`. Names and reasons come from repositories and pass `one_line`.
"""

from __future__ import annotations

import json as json_module
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple, TextIO

from codeflow.terminal.progress import encodable, is_terminal, say
from codeflow.text.escape import one_line
from codeflow.text.numbers import duration, quantity

WIDTH = 80
FAILURES_SHOWN = 10
RULES_SHOWN = 15


class Failure(NamedTuple):
    """A repository of which nothing was mined, as its ledger row says.

    `line` and `spec` are its line of the list: number, and text without comment and credentials;
    None where the list is not known any more.
    """

    repo: str
    rule: str
    reason: str
    line: int | None = None
    spec: str | None = None

    @property
    def where(self) -> str:
        """The line for people, with the name in ledger and manifest where it says another."""
        return place_in_list(self.repo, self.line, self.spec)


def place_in_list(repo: str, line: int | None, spec: str | None) -> str:
    """`line 3: ../path (name)`: which line of the list is meant."""
    if line is None or spec is None:
        return repo
    if spec == f"line-{line}":  # of a line that may hold a secret, nothing is known
        return f"line {line}"
    return f"line {line}: {spec}" + ("" if repo in spec else f" ({repo})")


class LeftOut(NamedTuple):
    """How many ledger rows one rule of one stage has, with its reason in one line."""

    stage: str
    rule: str
    rows: int
    reason: str


class StageCount(NamedTuple):
    """How many triples a stage was given, and how many it kept."""

    stage: str
    given: int
    kept: int


@dataclass(frozen=True)
class Summary:
    """What a run did. Counts are of the whole folder, earlier runs that it resumed included.

    `notes` are lines on what the stages did that their names alone do not say.
    `content_bytes` is the size of the published blobs, `disk_bytes` that of the published files.
    """

    repositories: int
    mined: int
    failed: Sequence[Failure]
    commits_read: int
    triples_by_kind: Mapping[str, int]
    stages: Sequence[StageCount]
    left_out: Sequence[LeftOut]
    blobs: int
    content_bytes: int
    disk_bytes: int
    elapsed_s: float
    out: str
    deterministic: bool
    next_command: str
    notes: Sequence[str] = ()
    triples_by_split: Mapping[str, int] = field(default_factory=dict)


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
