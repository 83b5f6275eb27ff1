"""Checkpoints as they are saved: named, readable, kept through a full disk, not drawn over."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from codeflow.errors import CodeflowError
from codeflow.train.state import parallel
from training_runs import hash_of, run, small


def test_values_that_are_read_are_not_drawn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 40B every rank would draw for minutes what it overwrites. A fold draws its gates."""
    drawn: list[str] = []
    real: Any = vars(parallel)["draw"]

    def noted(name: str, *arguments: Any) -> None:
        drawn.append(name)
        real(name, *arguments)

    monkeypatch.setattr(parallel, "draw", noted)
    shape = {**small().model.overrides, "loop_num": 1}
    dense = dataclasses.replace(small().model, overrides=shape)
    run(small(4, model=dense), folder, tmp_path / "dense", stop_after=2)
    assert drawn
    drawn.clear()
    run(small(4, model=dense), folder, tmp_path / "dense")
    run(small(2, model=dense, parent={"run": "dense"}), folder, tmp_path / "child")
    assert drawn == []
    run(small(2, parent={"run": "dense", "fold": True}), folder, tmp_path / "loop")
    assert any("gate" in name for name in drawn)


def test_every_checkpoint_is_named_when_it_is_saved(folder: Path, tmp_path: Path) -> None:
    """Under NCCL a lost rank ends the others without another word."""
    said: list[str] = []
    run(small(4, run={"checkpoint_every_steps": 2}), folder, tmp_path / "o", progress=said.append)
    saved = [line for line in said if "saved" in line]
    assert [line.split()[0] for line in saved] == ["step-00000002", "step-00000004"]


def test_a_checkpoint_is_readable_as_the_umask_has_it(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0o026)
    try:
        last = run(small(1), folder, tmp_path / "out").checkpoint
    finally:
        os.umask(before)
    assert last.stat().st_mode & 0o777 == 0o751
    modes = {p.name: p.stat().st_mode & 0o777 for p in last.iterdir()}
    assert modes == {"meta.json": 0o640, "rank-00000.safetensors": 0o640}


def test_full_disk_is_one_line_and_keeps_the_last(folder: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: the write itself fails."""
    out = tmp_path / "out"
    run(small(6), folder, out, stop_after=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
        with pytest.raises(CodeflowError, match="step-00000004: could not be written") as caught:
            run(small(6), folder, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert "step-00000002 is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    run(small(6), folder, out)
    run(small(6), folder, tmp_path / "straight")
    assert hash_of(out) == hash_of(tmp_path / "straight")
