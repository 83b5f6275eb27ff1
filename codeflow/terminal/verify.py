"""`codeflow verify` for people: how far it is on a terminal, then what was checked and found.

Problems name files and ids that come from the data, so they pass `one_line` as names do elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from codeflow.dataset.verify import Tell
from codeflow.dataset.verify_report import Report
from codeflow.terminal.progress import is_terminal, say
from codeflow.text.escape import one_line
from codeflow.text.numbers import quantity

_STAGES = {
    "files": "bytes of files hashed",
    "objects": "contents and directories hashed",
    "triples": "triples replayed",
}


@contextmanager
def verify_progress(stream: TextIO) -> Iterator[Tell | None]:
    """What to give `verify`: a bar for each pass on a terminal, None elsewhere."""
    if not is_terminal(stream):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(file=stream), transient=True) as bars:
        tasks = {name: bars.add_task(text, total=None) for name, text in _STAGES.items()}

        def tell(stage: str, done: int, total: int) -> None:
            bars.update(tasks[stage], completed=done, total=total)

        yield tell


def show_report(report: Report, stream: TextIO) -> None:
    """Writes what was checked, and each problem and remark on a line of its own."""
    for problem in report.problems:
        say(stream, f"  {one_line(str(problem))}")
    hidden = report.problem_count - len(report.problems)
    if hidden > 0:
        say(stream, f"  and {hidden:,} more")
    for remark in report.remarks:
        say(stream, f"  remark: {one_line(str(remark))}")
    if report.remark_count > len(report.remarks):
        say(stream, f"  and {report.remark_count - len(report.remarks):,} more remarks")
    checked = f"{report.files:,} files of {quantity(report.bytes, 'B')}"
    if report.blobs or report.trees or report.triples:
        checked += f", {report.blobs:,} contents, {report.trees:,} directories"
        checked += f", {report.triples:,} triples replayed"
        checked += f", and their {report.steps:,} steps" if report.steps else ""
    if report.ok:
        say(stream, f"sound: {checked}")
        return
    plural = "" if report.problem_count == 1 else "s"
    say(stream, f"{report.problem_count:,} problem{plural} in {checked}")
    if not report.replayed:
        say(stream, "What is damaged is not safe to decode, so the triples were not replayed.")
