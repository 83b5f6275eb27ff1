"""Failures that are tried again, and those that stick; whose fault a file is."""

from __future__ import annotations

import errno
import os
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from codeflow.contracts import Unit
from codeflow.errors import CodeflowError, UsageError
from codeflow.execution.failures import Failure
from codeflow.execution.units import find_result, run_unit
from codeflow.storage import files, layout
from hostile import history
from mined_lists import listing_of, mine, stop_before


def test_what_failed_to_open_is_tried_again_until_histories_are_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(tmp_path / "here")
    listing = listing_of(tmp_path, tmp_path / "here", tmp_path / "late")
    out = tmp_path / "out"
    real = files.write_json

    def stop_at_opened(path: Path, value: Any) -> None:
        if path.name == Path(layout.OPENED).name:
            raise KeyboardInterrupt
        real(path, value)

    monkeypatch.setattr("codeflow.storage.files.write_json", stop_at_opened)
    with pytest.raises(KeyboardInterrupt):
        mine(listing, out)
    monkeypatch.undo()
    failed = [p for p in out.glob(".work/done/late-*/acquire.json") if "missing" in p.read_text()]
    assert len(failed) == 1
    history(tmp_path / "late")
    assert mine(listing, out).failed == []

    # the same, but histories had been divided: the failure stays, and so does its row
    shutil.rmtree(tmp_path / "late")
    stop_before(monkeypatch, "mining.driver.Mining.mine_all")
    with pytest.raises(KeyboardInterrupt):
        mine(listing, tmp_path / "after")
    monkeypatch.undo()
    history(tmp_path / "late")
    assert [f.rule for f in mine(listing, tmp_path / "after").failed] == ["missing"]


def test_a_failed_shard_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing is not a repository's: its failure must not stick to the folder."""
    repo, _ = history(tmp_path / "r")
    listing = listing_of(tmp_path, repo.path)

    def fail(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("codeflow.publish.shards.files.link", fail)
    with pytest.raises(Exception, match="memory"):
        mine(listing, tmp_path / "out")
    monkeypatch.undo()
    assert mine(listing, tmp_path / "out").failed == []


@pytest.mark.parametrize(
    ("code", "place", "ours"),
    [
        (errno.ENOENT, "/repository/objects/ab/cd", False),
        (errno.EACCES, "/repository/objects/ab/cd", False),
        (errno.EIO, "/repository/objects/ab/cd", False),
        (errno.ENOSPC, "/tmp/scratch", True),
        (errno.EMFILE, "/repository/objects/ab/cd", True),
        (errno.EACCES, "{out}/mined/r/x.parquet", True),
        (errno.EIO, None, True),  # Arrow names no file, and writes ours
    ],
)
def test_a_file_that_fails_is_the_repositorys_or_the_runs(
    code: int, place: str | None, ours: bool, tmp_path: Path
) -> None:
    """What is wrong with a repository's files quarantines it; with ours, stops the run."""

    def fail(arguments: Any, sink: Any) -> dict[str, Any]:
        if place is None:
            raise OSError(code, os.strerror(code))
        raise OSError(code, os.strerror(code), place.format(out=tmp_path))

    unit = Unit("r/unit", fail, None)
    if ours:
        with pytest.raises(CodeflowError, match="run the same command again"):
            run_unit(unit, tmp_path)
        assert find_result("r/unit", tmp_path) is None, "it runs again"
        return
    found = run_unit(unit, tmp_path)
    assert isinstance(found, Failure)
    assert (found.rule, found.reason) == ("unreadable", f"cd: {os.strerror(code)}")
    assert find_result("r/unit", tmp_path) == found


def test_a_plug_in_that_does_not_load_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint("x", "no_such_module:MINERS", "codeflow.miners")
    monkeypatch.setattr("codeflow.plugins.entry_points.entry_points", lambda group: [broken])
    repo, _ = history(tmp_path / "r")
    with pytest.raises(UsageError, match="plug-in no_such_module:MINERS cannot be loaded"):
        mine(listing_of(tmp_path, repo.path), tmp_path / "out")
