"""Ctrl-C once and twice while a run is on Ray or in one process, as a terminal sends it.

Each run is a process group of its own, and the whole group gets the signal. Afterwards: status 130,
one line of ours, no traceback of anybody's, no process left, and a folder that goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from small_history import codeflow, environment, small_history

GOES_ON = "codeflow: stopped; the same command goes on from here"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two repositories, and what a run gives that is left alone."""
    folder = tmp_path_factory.mktemp("interrupts")
    for name in ("one.git", "two.git"):
        small_history(folder / name, 120)
    done = codeflow(*mine("whole", 1), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def mine(out: str, workers: int) -> list[str]:
    repos = ["--repos", "one.git", "two.git"]
    return ["mine", *repos, "--out", out, "--workers", str(workers), "--window", "0:1"]


def published(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("*/*.parquet")}


def alive(session: int) -> list[str]:
    """Processes of a session that still run; one that only waits to be buried does not."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, _, _, its_session = rest.split()[:4]
        if int(its_session) == session and state not in "ZX":
            found.append(name)
    return found


def ray_begins(out: Path, process: subprocess.Popen[str]) -> bool:
    return any("gcs_server" in name for name in alive(process.pid))


def ray_is_up(out: Path, process: subprocess.Popen[str]) -> bool:
    """Its first unit has ended."""
    return any(out.glob(".work/done/*/acquire.json"))


def locked(out: Path, process: subprocess.Popen[str]) -> bool:
    return (out / ".work" / "lock").exists()


def history_read(out: Path, process: subprocess.Popen[str]) -> bool:
    return any(out.glob(".work/done/*/history.json"))


def mined(out: Path, process: subprocess.Popen[str]) -> bool:
    return (out / "mined" / "index.json").exists()


Moment = Callable[[Path, "subprocess.Popen[str]"], bool]
CASES = [
    pytest.param(2, ray_begins, (0.3,), marks=pytest.mark.slow),
    pytest.param(2, ray_is_up, (0.02,), marks=pytest.mark.slow),
    (1, history_read, (0.0,)),
    (1, mined, (0.1,)),
]
MORE: list[tuple[int, Moment, tuple[float, ...]]] = [
    (workers, moment, gaps)
    for workers, moments in (
        (2, (locked, ray_begins, ray_is_up, history_read, mined)),
        (1, (locked, history_read, mined)),
    )
    for moment in moments
    for gaps in ((), (0.0,), (0.1,), (0.5,), (0.2, 0.2))
]


@pytest.mark.parametrize(("workers", "moment", "gaps"), CASES)
def test_asked_twice_a_run_ends_with_130_and_one_line(
    workers: int, moment: Moment, gaps: tuple[float, ...], work: Path, tmp_path: Path
) -> None:
    ends_cleanly(workers, moment, gaps, work, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize(("workers", "moment", "gaps"), MORE)
def test_asked_at_any_moment_and_any_number_of_times(
    workers: int, moment: Moment, gaps: tuple[float, ...], work: Path, tmp_path: Path
) -> None:
    ends_cleanly(workers, moment, gaps, work, tmp_path)


def ends_cleanly(
    workers: int, moment: Moment, gaps: tuple[float, ...], work: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "codeflow", *mine(str(out), workers)],
        cwd=work,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not moment(out, process):
            assert process.poll() is None, "it ended before"
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        for gap in gaps:
            time.sleep(gap)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert [line for line in stderr.splitlines() if "codeflow:" in line] == [GOES_ON]
    assert stderr.splitlines()[-1] == GOES_ON
    deadline = time.monotonic() + 240
    while alive(process.pid):
        assert time.monotonic() < deadline, alive(process.pid)
        time.sleep(0.05)
    again = codeflow(*mine(str(out), 1), cwd=work)
    assert again.returncode == 0, again.stderr
    assert published(out) == published(work / "whole")
