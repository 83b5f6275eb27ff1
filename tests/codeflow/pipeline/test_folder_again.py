"""A run in a folder of before: left alone, gone on with, or refused by name."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import faults
import varied
from codeflow.config import Limits, MineConfig, Window
from codeflow.errors import UsageError
from codeflow.storage import layout, manifest
from codeflow_miners import flow
from hostile import history
from mined_lists import COMMITS_ONLY, WHOLE, ledger, listing_of, mine, stop_before


def test_a_complete_folder_is_left_alone(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    listing, out = undisturbed
    shutil.copytree(out, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.name != "lock"}
    first = mine(listing, tmp_path / "out")
    again = mine(listing, tmp_path / "out", workers=2)  # never starts Ray
    assert first == again
    assert [f.rule for f in again.failed] == ["missing", "too-short"]
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.name != "lock"}
    assert {p: t for p, t in after.items() if p.is_file()} == {
        p: t for p, t in before.items() if p.is_file()
    }
    # the list's order is not part of the question
    assert mine(varied.varied(listing.parent, reverse=True), tmp_path / "out") == first


def test_a_complete_folder_that_moved_says_where_it_is(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing, out = undisturbed
    shutil.copytree(out, tmp_path / "moved")
    assert mine(listing, tmp_path / "moved").out == str(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert mine(listing, Path("moved")).next_command == "codeflow inspect moved"
    os.rename("moved", "moved again")  # the command is there to be copied
    assert mine(listing, Path("moved again")).next_command == "codeflow inspect 'moved again'"


def test_no_folder_of_this_machine_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(tmp_path / "a b")
    repo, _ = history(tmp_path / "gone")
    listing = listing_of(tmp_path, tmp_path / "a b", f"file://{repo.path}")
    read: Any = vars(flow)["plan_contents"]

    def broken(arguments: Any, sink: Any) -> Any:
        if "gone" in sink._repository:
            shutil.rmtree(tmp_path / "cache")  # between two units: the next finds no objects
            return read(arguments, sink)
        raise ValueError(f"{tmp_path}/x cannot be")

    monkeypatch.setattr(flow, "plan_contents", broken)
    mine(listing, tmp_path / "out")
    rows = {row["repo"]: row for row in ledger(tmp_path / "out")}
    assert rows["a b"]["reason"] == "ValueError: x cannot be"
    assert f'File "{Path(__file__).name}", line' in rows["a b"]["detail"]
    assert rows["gone"]["rule"] == "damaged"
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and layout.WORK not in path.parts:
            assert b"/" + os.fsencode(tmp_path.parent.name) not in path.read_bytes()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (replace(WHOLE, kinds=("commit",)), "kinds"),
        (replace(WHOLE, window=Window(0.0, 0.5)), "window.stop"),
        (replace(WHOLE, limits=Limits(min_commits=21)), "limits.min_commits"),
    ],
)
def test_other_keys_are_refused_by_name(
    config: MineConfig, named: str, undisturbed: tuple[Path, Path]
) -> None:
    listing, out = undisturbed
    with pytest.raises(UsageError) as caught:
        mine(listing, out, config)
    assert named in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_another_list_is_refused_and_fresh_starts_over(tmp_path: Path) -> None:
    repo, _ = history(tmp_path / "a")
    history(tmp_path / "b")
    out = tmp_path / "out"
    listing = listing_of(tmp_path, repo.path, tmp_path / "b")
    mine(listing, out, COMMITS_ONLY)
    for lines in ([repo.path], [repo.path, f"{tmp_path / 'b'}@main"]):
        with pytest.raises(UsageError, match="which the list lacks; use --update"):
            mine(listing_of(tmp_path, *lines), out, COMMITS_ONLY)
    listing = listing_of(tmp_path, repo.path)
    (out / "triples/stale.parquet").write_bytes(b"of another run")
    tip = repo.commit({"new.py": "x = 1\n"})
    mine(listing, out, COMMITS_ONLY, fresh=True)
    [entry] = manifest.read(out)["repositories"]
    assert entry["head"] == tip
    mine(listing, tmp_path / "new", COMMITS_ONLY)
    assert faults.published(out) == faults.published(tmp_path / "new")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_somebody_elses_is_not_touched(fresh: bool, tmp_path: Path) -> None:
    repo, _ = history(tmp_path / "r")
    out = tmp_path / "project"
    (out / "blobs").mkdir(parents=True)
    (out / "README.md").write_text("mine\n")
    (out / "blobs/b").write_text("mine\n")
    with pytest.raises(UsageError, match="holds other files"):
        mine(listing_of(tmp_path, repo.path), out, fresh=fresh)
    assert (out / "README.md").read_text() == (out / "blobs/b").read_text() == "mine\n"


def test_heads_stay_pinned_when_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, ids = history(tmp_path / "r")
    listing, out = listing_of(tmp_path, repo.path), tmp_path / "out"
    stop_before(monkeypatch, "mining.driver.Mining.mine_all")
    with pytest.raises(KeyboardInterrupt):
        mine(listing, out)
    monkeypatch.undo()
    repo.commit({"late.py": "x = 1\n"})
    mine(listing, out)
    assert manifest.read(out)["repositories"][0]["head"] == ids[-1]
