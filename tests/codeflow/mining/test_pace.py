"""How far mining has come: seen to move within a repository, and exact at its end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

import codeflow
from codeflow.mining.pace import Pace
from codeflow.terminal.progress import JsonProgress
from small_history import codeflow as command
from small_history import small_history

FLOW: list[tuple[str, dict[str, Any]]] = [
    ("steps-0000", {"steps": 600}),
    ("steps-0001", {"steps": 400}),
    ("plan", {"units": 3}),
    ("content-0000", {}),
    ("content-0001", {}),
    ("content-0002", {}),
    ("choose", {"units": 1}),
    ("pairs-0000", {}),
    ("snapshots", {"buckets": [1, 2]}),
    ("assemble-0000", {}),
    ("assemble-0001", {}),
]


def test_a_repository_moves_with_its_units_and_is_whole_at_its_end() -> None:
    pace = Pace({"r": 1000, "other": 50})
    seen = [pace.ended(f"r/{unit}", value) for unit, value in FLOW]
    assert all(more >= 0 for more in seen)
    assert max(seen) < 200  # no unit is a jump
    assert sum(more > 0 for more in seen) >= 8
    assert sum(seen) < 1000
    assert sum(seen) + pace.rest("r") == 1000
    assert pace.rest("r") == 0
    assert pace.rest("other") == 50  # failed, or found done
    assert pace.ended("families/x", {}) == 0


def test_the_stage_content_ends_at_its_total(tmp_path: Path) -> None:
    small_history(tmp_path / "one.git", 60)
    said = io.StringIO()
    codeflow.mine(tmp_path / "one.git", tmp_path / "out", progress=JsonProgress(said))
    events = [json.loads(line) for line in said.getvalue().splitlines()]
    stages = [event for event in events if event["event"] == "stage"]
    content = next(n for n, event in enumerate(stages) if event["stage"] == "content")
    total = stages[content]["total"]
    assert total == 24  # of 60 commits those with a successor in 0.4:0.8
    units = [e["units"] for e in events if e["stage"] == "content"]
    assert units == sorted(units)
    assert max(units, default=0) <= total


@pytest.mark.parametrize("shown", [True, False, None])
def test_python_shows_progress_where_it_is_asked_to(
    shown: bool | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard error is no terminal here, so that nothing is shown by default."""
    small_history(tmp_path / "one.git")
    codeflow.mine(tmp_path / "one.git", tmp_path / "out", until="mine", progress=shown)
    said = capsys.readouterr()
    assert said.out == ""
    assert ("commits of 1 repository to mine" in said.err) == bool(shown)


def test_tokenizing_says_how_far_it_is(tmp_path: Path) -> None:
    small_history(tmp_path / "one.git", 60)
    words = ("mine", "--repos", "one.git", "--out", "data", "--workers", "1", "--filter", "none")
    assert command(*words, cwd=tmp_path).returncode == 0
    count = len(codeflow.open(tmp_path / "data"))
    tokenize = ("tokenize", "data", "--render", "diff", "--length", "1024", "--vocab", "600")
    done = command(*tokenize, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [line] = done.stderr.splitlines()  # of a short run the last line alone
    assert f"tokens {count}/{count}  done" in line
