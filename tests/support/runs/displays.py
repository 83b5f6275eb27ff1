"""A clock that is turned by hand, a terminal of no size, and a summary to show on them."""

from __future__ import annotations

import io

from codeflow.publish.summary import FailedRepository, LeftOut, StageCount, Summary
from codeflow.terminal.summary import render_summary

HOSTILE = "https://example.org/\x1b]0;owned\x07\x1b[2J\r\n\u202eevil\x9b31m\udcff"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


SUMMARY = Summary(
    repositories=12,
    mined=10,
    failed=[FailedRepository(HOSTILE, "missing", "there is no repository here " * 6)],
    commits_read=12_345,
    triples_by_kind={"span": 1_357, "commit": 3_210},
    stages=[StageCount("filter", 6_000, 5_000), StageCount("dedup[bold]", 5_000, 4_567)],
    left_out=[
        LeftOut("mine", "empty", 12, "the change projects to nothing"),
        LeftOut("mine", "crosses-projection", 1_234, "a path is seen on one side alone " * 4),
    ],
    blobs=8_912,
    content_bytes=120_300_000,
    disk_bytes=30_100_000,
    elapsed_s=123.4,
    out="data",
    deterministic=True,
    next_command="codeflow inspect data",
    notes=[],
)


def rendered(summary: Summary, stream: io.StringIO | None = None, json: bool = False) -> str:
    stream = stream or io.StringIO()
    render_summary(summary, stream, json)
    return stream.getvalue()
