"""Runs in processes of their own that are stopped, and what they must end with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import faults
from small_history import SUPPORT

WINDOW = ("--window", "0:1")
FAULTS = pytest.mark.faults


class Reference(NamedTuple):
    """A finished run: its list, its files, and its touches of the disk in order."""

    listing: Path
    files: dict[str, bytes]
    touches: list[str]


def resumes(reference: Reference, out: Path) -> None:
    """The same command once more ends with the same bytes, and leaves no rubbish."""
    done = faults.mine(reference.listing, out, *WINDOW)
    assert done.returncode == 1, done.stderr
    assert faults.published(out) == reference.files
    assert list(out.rglob("*.tmp")) == []
    assert not (out / ".work/parts").exists()


# what a touch of the disk is for, so that the kills of a test cover a run
STAGES: dict[str, Callable[[str], bool]] = {
    "acquire": lambda t: t.endswith("acquire.json") or "codeflow-" in t,
    "families": lambda t: "families/" in t or "opened.json" in t,
    "content": lambda t: ".work/parts" in t or t.startswith("mined/") or t == "a row group",
    "outcome": lambda t: "outcome.json" in t or t.startswith("mined/index.json"),
    "decide": lambda t: t.startswith("decisions/") or ".work/done/dedup-" in t,
    "select": lambda t: "/select-" in t or "/reach-" in t or ".work/parts/publish-" in t,
    "publish": lambda t: t.split("/")[0] in faults.PUBLISHED or "manifest.json" in t,
}


def support_environment() -> dict[str, str]:
    """Child processes find the helpers of the tests, too."""
    folders = [*SUPPORT, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def start(listing: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = faults.mine_arguments(listing, out, *WINDOW, *more)
    return subprocess.Popen(
        [sys.executable, "-m", "codeflow", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 240  # no measure of speed: it ends a test that would wait for ever
    while not condition():
        assert time.monotonic() < end, "it never happened"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def said_that_it_stopped(status: int | None, stderr: str) -> None:
    assert status == 130, stderr
    last = stderr.strip().splitlines()[-1]
    assert last == "codeflow: stopped; the same command goes on from here"
    assert "Traceback" not in stderr
    assert "Exception" not in stderr
