"""Displays and the closing summary, in every form a run may be watched in."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.publish.summary import Failure, LeftOut, StageCount, Summary
from codeflow.terminal.progress import (
    JsonProgress,
    LiveProgress,
    PlainProgress,
    Tally,
    make_progress,
)
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
    failed=[Failure(HOSTILE, "missing", "there is no repository here " * 6)],
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


# --- the arithmetic ---------------------------------------------------------------------------


def test_time_left_is_unknown_until_a_unit_is_done_and_then_the_mean_of_the_stage() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.add(units=5)
    clock.now += 50
    tally.stage("content", 10)
    clock.now += 8
    assert tally.left_s is None  # units of the stage before say nothing
    tally.add(units=2)
    assert tally.left_s == pytest.approx(8 * 4)
    tally.add(units=8)
    assert tally.left_s == 0
    tally.stage("write", None)
    clock.now += 5
    tally.add(units=1)
    assert tally.left_s is None


def test_units_found_done_do_not_count_as_speed() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.stage("content", 100, done=90)
    clock.now += 10
    assert tally.left_s is None
    tally.add(units=1)
    assert tally.left_s == pytest.approx(9 * 10)


def test_a_slow_beginning_is_forgotten() -> None:
    """45 s at nothing while workers start, then a unit a second: 12 s before the end it says 12."""
    clock = Clock()
    tally = Tally(clock)
    tally.stage("content", 100)
    clock.now += 45
    assert tally.left_s is None
    for _ in range(88):
        clock.now += 1
        tally.add(units=1)
    assert tally.left_s == pytest.approx(12, rel=0.05)


def test_time_left_runs_down_between_units_and_never_below_nothing() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.stage("filter", 3)
    clock.now += 20
    tally.add(units=1)
    seen = []
    for _ in range(5):
        seen.append(tally.left_s)
        clock.now += 10
    assert seen == [40, 30, 20, 10, 0]
    clock.now += 50
    assert tally.left_s == 0


@given(
    st.floats(min_value=0.01, max_value=100),
    st.integers(min_value=2, max_value=300),
    st.floats(min_value=0, max_value=1e4),
)
def test_at_a_steady_speed_it_is_right_whenever_asked(
    unit_s: float, total: int, start_s: float
) -> None:
    clock = Clock()
    tally = Tally(clock)
    clock.now += start_s
    tally.stage("x", total)
    for done in range(1, total + 1):
        clock.now += unit_s
        tally.add(units=1)
        left = tally.left_s
        if done * unit_s >= 1.1:
            assert left == pytest.approx((total - done) * unit_s, rel=0.02, abs=0.02)


def test_tiny_units_cost_no_memory() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.stage("tokens", 10**6)
    for _ in range(100_000):  # 10 s
        clock.now += 1e-4
        tally.add(units=1)
    assert len(tally._ends) < 250
    assert tally.left_s == pytest.approx(90, rel=0.02)


def test_nothing_that_a_stage_does_not_move_is_shown() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = PlainProgress(stream, clock)
    progress.stage("content", 4)
    clock.now += 20
    progress.add(units=4, repositories=2, repositories_done=2, commits=5, triples=7, bytes=900)
    progress.stage("filter", 2)
    clock.now += 20
    progress.add(units=2)
    progress.close()
    content, *_, last = stream.getvalue().splitlines()
    assert "commits 5" in content
    assert "triples 7" in content
    assert "filter 2/2  repositories 2/2  done" in last
    rerun = io.StringIO()
    progress = PlainProgress(rerun, clock)
    progress.stage("tokens", 2)
    progress.close()
    assert rerun.getvalue() == "0 s  tokens 0/2  stopped\n"


def test_rates_forget_what_is_older_than_the_window() -> None:
    clock = Clock()
    tally = Tally(clock)
    for _ in range(40):  # 20 s at 100 commits a second, sampled twice a second
        clock.now += 0.5
        tally.add(commits=50, bytes=1_000)
        commits, triples, size = tally.rates()
    assert (commits, triples, size) == pytest.approx((100, 0, 2_000))
    seen = []
    for _ in range(20):
        clock.now += 0.5
        seen.append(tally.rates()[0])
    assert seen[9] == pytest.approx(50)  # half of the window is at rest
    assert seen[19] == 0


def test_rates_of_a_display_that_samples_rarely_are_the_mean_since_its_last_sample() -> None:
    clock = Clock()
    tally = Tally(clock)
    clock.now += 60
    tally.rates()
    clock.now += 30
    tally.add(commits=300)
    assert tally.rates()[0] == pytest.approx(10)


# --- hostile names ----------------------------------------------------------------------------


def assert_harmless(output: str) -> None:
    """No control code but newlines (and rich's own colours), no direction override."""
    without_colour = re.sub(r"\x1b\[[0-9;]*m", "", output)
    for line in without_colour.split("\n"):
        assert line.isprintable(), repr(line)
    assert "\\x1b]0;owned\\x07" in output


def test_hostile_names_are_neutralised_in_every_form() -> None:
    assert_harmless(rendered(SUMMARY))
    assert_harmless(rendered(SUMMARY, Terminal()))
    plain = io.StringIO()
    PlainProgress(plain).note(HOSTILE)
    assert_harmless(plain.getvalue())
    assert plain.getvalue().count("\n") == 1
    machine = io.StringIO()
    JsonProgress(machine).note(HOSTILE)
    assert machine.getvalue().removesuffix("\n").isprintable()
    assert json.loads(machine.getvalue())["text"] == HOSTILE


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    failure = Failure("[red]x[/]", "missing", "[bold]no[/bold]")
    assert "[red]x[/]" in rendered(replace(SUMMARY, failed=[failure]), Terminal())
    assert "missing: [bold]no[/bold]" in rendered(replace(SUMMARY, failed=[failure]), Terminal())


# --- plain lines ------------------------------------------------------------------------------


def test_a_short_run_in_a_pipe_says_its_last_line_alone() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = PlainProgress(stream, clock)
    progress.stage("clone", 2)
    clock.now += 3
    progress.add(units=2, repositories=2, repositories_done=2)
    progress.stage("content", 4)
    clock.now += 6
    progress.add(units=4, commits=9_000)
    assert stream.getvalue() == ""
    progress.close()
    progress.close()
    (line,) = stream.getvalue().splitlines()
    assert "content 4/4" in line
    assert "repositories 2/2" in line
    assert "commits 9,000 (1.0k/s)" in line
    assert line.endswith("done")


def test_a_long_run_in_a_pipe_says_a_line_every_ten_seconds_and_at_the_end_of_a_stage() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = PlainProgress(stream, clock)
    progress.stage("history", 50)
    for _ in range(50):
        clock.now += 1
        progress.add(units=1)
    assert len(stream.getvalue().splitlines()) == 5
    assert "left 40 s" in stream.getvalue().splitlines()[0]
    progress.stage("blink", 1)
    clock.now += 1
    progress.add(units=1)
    progress.stage("content", 10)
    clock.now += 1
    progress.add(units=3)
    progress.close()
    ended, last = stream.getvalue().splitlines()[5:]
    assert "history 50/50" in ended
    assert ended.endswith("done")
    assert "content 3/10" in last
    assert last.endswith("stopped")


def test_a_pipe_that_holds_ascii_alone_gets_escapes_and_no_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    PlainProgress(stream).note("naïve 名")
    render_summary(replace(SUMMARY, out="dönnées"), stream)
    assert b"na\\xefve \\u540d\n" in raw.getvalue()
    assert b"d\\xf6nn" in raw.getvalue()


# --- machines ---------------------------------------------------------------------------------


def test_json_is_one_object_a_line_and_at_most_one_a_second() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = JsonProgress(stream, clock)
    progress.stage("content", 1_000)
    for _ in range(1_000):  # 10 s
        clock.now += 0.01
        progress.add(units=1, triples=2, bytes=500)
    progress.note("x")
    progress.close()
    records: list[dict[str, Any]] = [json.loads(line) for line in stream.getvalue().splitlines()]
    events = [record["event"] for record in records]
    assert (events[0], events[-2:]) == ("stage", ["note", "end"])
    assert 8 <= events.count("progress") <= 10
    assert records[-1]["triples"] == 2_000
    assert records[-1]["bytes_per_s"] == pytest.approx(50_000, rel=0.01)
    middle = records[5]
    assert middle["left_s"] == pytest.approx((1_000 - middle["units"]) * 0.01, abs=0.06)


def test_the_summary_as_json_says_all_that_it_was_given() -> None:
    record = json.loads(rendered(SUMMARY, json=True))
    assert record.pop("event") == "summary"
    failed = [Failure(**row) for row in record.pop("failed")]
    left_out = [LeftOut(**row) for row in record.pop("left_out")]
    stages = [StageCount(**row) for row in record.pop("stages")]
    assert Summary(failed=failed, left_out=left_out, stages=stages, **record) == SUMMARY


def test_no_display_knows_a_counter_that_another_does_not() -> None:
    for kind in (PlainProgress, JsonProgress, LiveProgress):
        progress = kind(io.StringIO())
        with pytest.raises(AttributeError):
            progress.add(repositroies=1)
        progress.close()


# --- the summary for people -------------------------------------------------------------------


def test_the_summary_tells_what_was_kept_left_out_and_comes_next_in_80_columns() -> None:
    text = rendered(SUMMARY)
    assert max(map(len, text.splitlines())) <= 80
    assert "4,567 triples from 10 of 12 repositories in 2 min 03 s" in text
    assert "3,210 commit, 1,357 span" in text
    assert "120 MB, 30 MB on disk" in text
    assert text.index("1,234  mine/crosses-projection") < text.index("12  mine/empty")
    assert "missing: there is no repository" in text
    assert text.endswith("\n  codeflow inspect data\n")
    assert "reproducible" not in text
    assert "Not reproducible" in rendered(replace(SUMMARY, deterministic=False))


def test_a_terminal_and_a_pipe_get_the_same_words() -> None:
    coloured = rendered(SUMMARY, Terminal())
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == rendered(SUMMARY)


def test_a_summary_without_failures_has_no_heading_for_them_and_many_are_cut() -> None:
    clean_run = rendered(replace(SUMMARY, failed=[], left_out=[]))
    assert "Not mined" not in clean_run
    assert "Left out" not in clean_run
    many = [Failure(f"r{i}", "empty", "no commits") for i in range(30)]
    text = rendered(replace(SUMMARY, failed=many))
    assert "Not mined: 30 repositories" in text
    assert text.count("no commits") == 10
    assert "20 more repositories, in data/ledger" in text


def test_a_command_to_type_is_never_wrapped() -> None:
    command = "codeflow inspect " + "a" * 100
    for stream in (io.StringIO(), Terminal()):
        assert command in rendered(replace(SUMMARY, next_command=command), stream)


# --- which display, and the live one ----------------------------------------------------------


def test_the_stream_decides_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_progress(True, Terminal()), JsonProgress)
    assert isinstance(make_progress(False, io.StringIO()), PlainProgress)
    live = make_progress(False, Terminal())
    live.close()
    assert isinstance(live, LiveProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress(False, Terminal()), PlainProgress)


def test_rich_is_not_loaded_for_a_pipe() -> None:
    code = (
        "import io, sys, codeflow.publish.summary, codeflow.terminal.progress as p;"
        "p.make_progress(False, io.StringIO()); p.make_progress(True, io.StringIO());"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


RUN = """
import sys, time
from codeflow.terminal.progress import make_progress
progress = make_progress(False, sys.stdout)
progress.stage("content", 10)
progress.add(units=3, commits=1234, bytes=10, repositories=7, repositories_failed=1)
progress.note("failed [red]a\\x1b[2Jb: missing")
try:
    time.sleep(float(sys.argv[1]))
finally:
    progress.close()
"""


def on_a_terminal(seconds: str, until: bytes = b"") -> tuple[bytes, int]:
    """What RUN writes on a terminal of its own, and its status; Ctrl-C once `until` is seen."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, seconds],
        stdout=slave,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(slave)
    seen = b""
    try:
        while True:
            try:
                chunk = os.read(master, 65_536)
            except OSError:  # how Linux tells the end of a terminal
                break
            if not chunk:
                break
            seen += chunk
            if until and until in seen:
                child.send_signal(signal.SIGINT)
                until = b""
        status = child.wait()
    finally:
        child.kill()
        os.close(master)
    return seen, status


def test_the_live_display_shows_the_run_and_cleans_up() -> None:
    seen, status = on_a_terminal("0.6")
    assert status == 0
    assert b"3/10" in seen
    assert b"1,234" in seen
    assert b"1/7" in seen
    assert b"1 failed" in seen
    assert b"commits" in seen
    assert b"contents" in seen
    assert b"triples" not in seen  # none yet
    assert b"failed [red]a\\x1b[2Jb: missing" in seen
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0


def test_ctrl_c_gives_the_cursor_back() -> None:
    seen, status = on_a_terminal("60", until=b"1,234")
    assert status == -signal.SIGINT
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0
