"""Limits of a repository: each has its row in the ledger, and those on time stick."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeflow.config import Limits, MineConfig, Window
from codeflow.storage import manifest
from gitdag import Repo
from hostile import history
from mined_lists import ledger, listing_of, mine, stop_before


def limits_repository(path: Path) -> Repo:
    """30 commits in which one patch is long and one touches many files."""
    repo, _ = history(path)
    repo.commit({"long.txt": "a line of text\n" * 400})
    repo.commit({f"many/f{n}.py": f"x = {n}\n" for n in range(12)})
    for n in range(8):
        repo.commit({"src/app.py": f"y = {n}\n"})
    return repo


@pytest.mark.parametrize(
    ("limits", "stage", "rule", "rows"),
    [
        (Limits(max_patch_bytes=5000), "commit", "max-patch-bytes", 1),
        (Limits(max_triple_files=10), "commit", "max-triple-files", 1),
        (Limits(max_tree_files=5), "mine", "max-tree-files", 1),
        (Limits(min_commits=41), "open", "too-short", 1),
        (Limits(max_commits=39), "open", "max-commits", 1),
        (Limits(unit_seconds=0.0), "mine", "unit-seconds", 1),
    ],
)
def test_each_limit_has_its_row(
    limits: Limits, stage: str, rule: str, rows: int, tmp_path: Path
) -> None:
    repo = limits_repository(tmp_path / "r")
    config = MineConfig(kinds=("commit",), window=Window(0.0, 1.0), limits=limits)
    out = tmp_path / "out"
    summary = mine(listing_of(tmp_path, repo.path), out, config)
    found = [row for row in ledger(out) if row["rule"] == rule]
    assert len(found) == rows
    assert found[0]["stage"] == stage
    key, value = next((k, v) for k, v in vars(limits).items() if v != vars(Limits())[k])
    assert f"limits.{key}" in found[0]["reason"]
    assert f"{value:g}" in found[0]["reason"]
    whole = stage in ("open", "mine")
    assert [f.rule for f in summary.failed] == ([rule] if whole else [])
    assert sum(summary.triples_by_kind.values()) == (0 if whole else 38)
    timed = rule == "unit-seconds"
    assert manifest.read(out)["deterministic"] is not timed


def test_a_limit_one_lower_is_not_reached(tmp_path: Path) -> None:
    repo = limits_repository(tmp_path / "r")
    limits = Limits(max_triple_files=12, max_tree_files=12, min_commits=40, max_commits=40)
    config = MineConfig(kinds=("commit",), window=Window(0.0, 1.0), limits=limits)
    summary = mine(listing_of(tmp_path, repo.path), tmp_path / "out", config)
    assert summary.failed == []
    assert summary.triples_by_kind == {"commit": 39}


def test_a_limit_on_time_sticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was quarantined for its time stays so when the run goes on: bytes must not depend on
    how often it was stopped."""
    repo, _ = history(tmp_path / "r")
    listing, out = listing_of(tmp_path, repo.path), tmp_path / "out"
    config = MineConfig(limits=Limits(unit_seconds=0.0))
    stop_before(monkeypatch, "publish.publisher.Publishing.publish")
    with pytest.raises(KeyboardInterrupt):
        mine(listing, out, config)
    monkeypatch.undo()
    monkeypatch.setattr("codeflow_miners.deadline.Deadline.check", lambda self: None)
    assert [f.rule for f in mine(listing, out, config).failed] == ["unit-seconds"]
