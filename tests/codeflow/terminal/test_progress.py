"""Displays of a run in every form that it may be watched in; names that mean harm, in all."""

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

from codeflow.publish.summary import FailedRepository
from codeflow.terminal.progress import JsonProgress, LiveProgress, PlainProgress, make_progress
from codeflow.terminal.summary import render_summary
from displays import HOSTILE, SUMMARY, Clock, Terminal, rendered

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
    failure = FailedRepository("[red]x[/]", "missing", "[bold]no[/bold]")
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


def test_no_display_knows_a_counter_that_another_does_not() -> None:
    for kind in (PlainProgress, JsonProgress, LiveProgress):
        progress = kind(io.StringIO())
        with pytest.raises(AttributeError):
            progress.add(repositroies=1)
        progress.close()


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
