"""What a run looks like while it goes on: live on a terminal, lines in a pipe, JSON for machines.

The driver knows one interface, `Progress`; `make_progress` chooses. A driver reports what was done
and this module does the arithmetic, so that rates and the time left are the same everywhere: rates
over the last seconds, time left from the last units of the current stage (`time_left_s`), "?" while
unknown. A counter is shown where the stage moves it.
Whatever comes from a repository (its name, a reason) passes `one_line` before it is shown: a name
with escape codes must not drive the terminal.

Cost: `add` is a few additions; a live display renders 4 times a second in a thread of rich's (under
1 % of a core). rich is imported only for it. The closing summary is `codeflow.publish.summary`.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, TextIO

from codeflow.execution.progress import Progress
from codeflow.text.escape import one_line
from codeflow.text.numbers import duration, quantity

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_EVERY_S = 10.0
PLAIN_STAGE_S = 2.0  # the end of a shorter stage is not worth a line
JSON_EVERY_S = 1.0
REFRESHES_PER_S = 4
RATE_WINDOW_S = 10.0
RECENT_S = 30.0
GRAIN_S = 0.1
ENDS_KEPT = 4  # however long ago: units may take minutes

Clock = Callable[[], float]


def make_progress(json: bool, stream: TextIO) -> Progress:
    """The display for a stream: JSON lines if asked for, else by whether it is a terminal."""
    if json:
        return JsonProgress(stream)
    return LiveProgress(stream) if is_terminal(stream) else PlainProgress(stream)


@dataclass
class Counts:
    """Totals of the run so far; the keywords of `Progress.add` without `units`."""

    repositories: int = 0
    repositories_done: int = 0
    repositories_failed: int = 0
    commits: int = 0
    triples: int = 0
    bytes: int = 0


class Tally:
    """The arithmetic behind every display: counters, rates, and the time left.

    Args:
        clock: seconds on a clock that never goes back.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.counts = Counts()
        self.name: str | None = None
        self.total: int | None = None
        self.units = 0
        self._started = clock()
        self._ends: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._before = asdict(self.counts)
        self._samples: deque[tuple[float, int, int, int]] = deque([(self._started, 0, 0, 0)])

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        self.name, self.total = name, total
        self.units = done
        self._ends = deque([(self._clock(), done)])
        self._before = asdict(self.counts)

    def add(self, units: int = 0, **counters: int) -> None:
        if units:
            self.units += units
            now = self._clock()
            if len(self._ends) > 1 and now - self._ends[-2][0] < GRAIN_S:
                self._ends.pop()  # one entry for what ends together: units may be tiny
            self._ends.append((now, self.units))
            while len(self._ends) > ENDS_KEPT and self._ends[1][0] <= now - RECENT_S:
                self._ends.popleft()
        for name, count in counters.items():
            setattr(self.counts, name, getattr(self.counts, name) + count)

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._started

    @property
    def left_s(self) -> float | None:
        """Seconds to the end of the stage; None while unknown."""
        return time_left_s(self._ends, self.total, self._clock())

    def moved(self, counter: str) -> bool:
        """Whether the stage has moved a counter."""
        return bool(getattr(self.counts, counter) != self._before[counter])

    def rates(self) -> tuple[float, float, float]:
        """Commits, triples and bytes per second over the last `RATE_WINDOW_S`; takes a sample."""
        now = self._clock()
        counts = self.counts
        self._samples.append((now, counts.commits, counts.triples, counts.bytes))
        # The oldest sample kept is the last one outside the window.
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_WINDOW_S:
            self._samples.popleft()
        then, *before = self._samples[0]
        after = self._samples[-1][1:]
        passed_s = now - then
        commits, triples, size = (
            (b - a) / passed_s if passed_s > 0 else 0.0 for a, b in zip(before, after, strict=True)
        )
        return commits, triples, size


def time_left_s(ends: Sequence[tuple[float, int]], total: int | None, now: float) -> float | None:
    """Seconds to the end of a stage if it goes on as of late; None while nothing tells.

    The speed is that from the first to the last of the given moments: not the mean of the stage,
    whose slow beginning (workers that start, a large first unit) would be felt to its end. What has
    passed since the last unit ended belongs to the next one, so the time runs down in between.

    Args:
        ends: moments when units had ended, with how many there were; the first is the stage's
            begin, or the oldest that still counts.
    """
    if total is None or not ends:
        return None
    (first_s, before), (last_s, done) = ends[0], ends[-1]
    if done <= before or now - first_s < 1:
        return None
    left_s = max(0, total - done) * (last_s - first_s) / (done - before)
    return max(0.0, left_s - (now - last_s))


class PlainProgress:
    """A line every 10 s and at the end of a stage that took a while; of a shorter run, its last."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._tally = Tally(clock)
        self._next_s = PLAIN_EVERY_S
        self._began_s = 0.0
        self._open = True

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        tally = self._tally
        took_s = tally.elapsed_s - self._began_s
        if tally.name is not None and tally.elapsed_s >= PLAIN_EVERY_S and took_s >= PLAIN_STAGE_S:
            self._line("done")
        self._began_s = tally.elapsed_s
        tally.stage(name, total, done)

    def add(self, **counters: int) -> None:
        self._tally.add(**counters)
        if self._tally.elapsed_s >= self._next_s:
            self._line(f"left {duration(self._tally.left_s)}")

    def note(self, text: str) -> None:
        say(self._stream, one_line(text))

    def close(self) -> None:
        if self._open and self._tally.name is not None:
            tally = self._tally
            whole = "done" if tally.units == tally.total else "stopped"
            self._line("" if tally.total is None else whole)  # nothing tells
        self._open = False

    def _line(self, end: str) -> None:
        tally, counts = self._tally, self._tally.counts
        self._next_s = tally.elapsed_s + PLAIN_EVERY_S
        commits, _, size = tally.rates()
        failed = f", {counts.repositories_failed} failed" if counts.repositories_failed else ""
        name = tally.name or "starting"
        parts = [f"{duration(tally.elapsed_s)}  {name} {_of(tally.units, tally.total)}"]
        if counts.repositories:
            parts.append(f"repositories {_repositories(counts)}{failed}")
        if tally.moved("commits"):
            parts.append(f"commits {counts.commits:,} ({quantity(commits)}/s)")
        if tally.moved("triples"):
            parts.append(f"triples {counts.triples:,}")
        if tally.moved("bytes"):
            parts.append(f"{quantity(counts.bytes, 'B')} ({quantity(size, 'B')}/s)")
        say(self._stream, "  ".join(filter(None, [*parts, end])))


class JsonProgress:
    """One JSON object a line: `event` is stage, progress (at most one a second), note or end."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._tally = Tally(clock)
        self._next_s = JSON_EVERY_S
        self._open = True

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        self._tally.stage(name, total, done)
        self._emit("stage")

    def add(self, **counters: int) -> None:
        self._tally.add(**counters)
        if self._tally.elapsed_s >= self._next_s:
            self._emit("progress")

    def note(self, text: str) -> None:
        self._emit("note", text=text)

    def close(self) -> None:
        if self._open:
            self._emit("end")
        self._open = False

    def _emit(self, event: str, **more: str) -> None:
        tally = self._tally
        self._next_s = tally.elapsed_s + JSON_EVERY_S
        commits, triples, size = tally.rates()
        record: dict[str, Any] = {
            "event": event,
            **more,
            "elapsed_s": round(tally.elapsed_s, 3),
            "stage": tally.name,
            "units": tally.units,
            "total": tally.total,
            "left_s": None if tally.left_s is None else round(tally.left_s, 1),
            **asdict(tally.counts),
            "commits_per_s": round(commits, 1),
            "triples_per_s": round(triples, 1),
            "bytes_per_s": round(size, 1),
        }
        say(self._stream, json.dumps(record))


class LiveProgress:
    """A small table that is redrawn in place while the run goes on, and gone at its end."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        self._tally = Tally(clock)
        self._live = Live(
            get_renderable=self._table,
            console=Console(file=stream, highlight=False),
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        )
        self._live.start()

    def stage(self, name: str, total: int | None, done: int = 0) -> None:
        self._tally.stage(name, total, done)

    def add(self, **counters: int) -> None:
        self._tally.add(**counters)

    def note(self, text: str) -> None:
        from rich.text import Text

        console = self._live.console
        console.print(Text(encodable(console.file, one_line(text))), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()

    def _table(self) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally, counts = self._tally, self._tally.counts
        commits, triples, size = tally.rates()
        bar = ProgressBar(
            total=tally.total,
            completed=tally.units,
            width=24,
            pulse=tally.total is None,
            animation_time=tally.elapsed_s,
        )
        failed = counts.repositories_failed
        table = Table.grid(padding=(0, 2))
        table.add_column(width=12, no_wrap=True)
        table.add_column(width=24, no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_row(
            Text(one_line(tally.name or "starting"), style="bold"),
            bar,
            f"{_of(tally.units, tally.total)}  left {duration(tally.left_s)}",
        )
        if counts.repositories:
            bad = Text(f"{failed} failed", style="red") if failed else ""
            table.add_row("repositories", _repositories(counts), bad)
        if tally.moved("commits"):
            table.add_row("commits", f"{counts.commits:,}", f"{quantity(commits)}/s")
        if tally.moved("triples"):
            table.add_row("triples", f"{counts.triples:,}", f"{quantity(triples)}/s")
        if tally.moved("bytes"):
            table.add_row("contents", quantity(counts.bytes, "B"), f"{quantity(size, 'B')}/s")
        table.add_row("elapsed", duration(tally.elapsed_s), "")
        return table


# --- words for people, shared with the summary ------------------------------------------------


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal that moves its cursor and shows colour."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def encodable(stream: IO[str], text: str) -> str:
    """The text with what the stream's encoding cannot hold shown as an escape."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(stream: TextIO, line: str) -> None:
    """Writes one line, and flushes: whoever reads a pipe sees it at once."""
    stream.write(encodable(stream, line) + "\n")
    stream.flush()


def _of(done: int, total: int | None) -> str:
    return f"{done:,}/{'?' if total is None else f'{total:,}'}"


def _repositories(counts: Counts) -> str:
    return _of(counts.repositories_done + counts.repositories_failed, counts.repositories or None)
