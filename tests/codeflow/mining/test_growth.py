"""A folder that grows holds what a new one would, and mines what is new and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import codeflow
from codeflow.errors import UsageError
from codeflow.execution.progress import Quiet
from codeflow.publish.summary import Summary
from codeflow.storage import files
from faults import published
from gitdag import Repo, git
from small_history import small_history


class Notes(Quiet):
    """Keeps the notes; stops a run at a unit."""

    def __init__(self, stop_at: int = 0) -> None:
        self.notes: list[str] = []
        self._left = stop_at

    def note(self, text: str) -> None:
        self.notes.append(text)

    def add(self, *, units: int = 0, **_: int) -> None:
        self._left -= bool(units)
        if units and self._left == 0:
            raise KeyboardInterrupt


def mine(folder: Path, out: str, names: Sequence[str], **more: Any) -> Summary:
    lines = [f"{folder / name}.git" for name in names]
    common: dict[str, Any] = {"window": "0:1", "filters": ["none"], "validation": 0.2}
    return codeflow.mine(lines, folder / out, cache=folder / "cache", **{**common, **more})


def mined_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of each mined table: another file has another."""
    found = {path: path.stat() for path in folder.glob("mined/*/*.parquet")}
    return {
        str(path.relative_to(folder)): (stat.st_ino, stat.st_mtime_ns)
        for path, stat in found.items()
    }


def ids(folder: Path) -> set[str]:
    return {triple.id for triple in codeflow.open(folder).triples()}


def same(folder: Path, grown: str, fresh: str) -> bool:
    """Whether two folders publish the same bytes; the manifest has the time of its making."""
    one, other = published(folder / grown), published(folder / fresh)
    return one == other and any(name.startswith("triples/") for name in one)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """`a` and `b` have nothing to do with each other; `c` is a fork of `a` that went on."""
    small_history(tmp_path / "a.git", 24)
    other = Repo.create(tmp_path / "b.git")
    for k in range(24):
        other.commit({"b.py": f"b = {k}\n" * (k + 1)}, message=f"Set b to {k} everywhere")
    git("clone", "--quiet", "--bare", str(tmp_path / "a.git"), tmp_path / "c.git")
    return tmp_path


def go_on(folder: Path, name: str, commits: int) -> None:
    """More commits on top of a bare repository."""
    path = folder / f"{name}.git"
    tip = git(f"--git-dir={path}", "rev-parse", "HEAD").decode().strip()
    repo = Repo(path, path, tip, 1_700_000_000)
    for k in range(commits):
        repo.commit(
            {f"{name}_more.py": f"more = {k}\n" * (k + 1)}, message=f"Add more of {name} {k}"
        )


def test_a_line_more_mines_one_repository(world: Path) -> None:
    mine(world, "grown", ["a"])
    before, old = mined_files(world / "grown"), ids(world / "grown")
    notes = Notes()
    mine(world, "grown", ["b", "a"], progress=notes)
    assert "repositories: 1 added" in notes.notes
    after = mined_files(world / "grown")
    assert before.items() <= after.items()
    assert {name.split("/")[1][:2] for name in after.keys() - before.keys()} == {"b-"}
    assert old < ids(world / "grown")
    mine(world, "fresh", ["a", "b"])
    assert same(world, "grown", "fresh")


def test_a_fork_more_mines_its_relatives_again(world: Path) -> None:
    go_on(world, "c", 9)
    mine(world, "grown", ["a", "b"])
    before = mined_files(world / "grown")
    notes = Notes()
    mine(world, "grown", ["a", "b", "c"], progress=notes)
    assert "repositories: 1 added, 1 mined again with their relatives" in notes.notes
    after = mined_files(world / "grown")
    kept = {name for name in before if after.get(name) == before[name]}
    assert {name.split("/")[1][:2] for name in kept} == {"b-"}
    mine(world, "fresh", ["a", "b", "c"])
    assert same(world, "grown", "fresh")


def test_heads_move_when_they_are_asked_to(world: Path) -> None:
    mine(world, "grown", ["a", "b"])
    before = mined_files(world / "grown")
    go_on(world, "a", 12)
    notes = Notes()
    mine(world, "grown", ["a", "b"], progress=notes)
    assert mined_files(world / "grown") == before
    assert any("nothing to do" in note for note in notes.notes)
    mine(world, "grown", ["a", "b"], update=True, progress=notes)
    assert "repositories: 1 changed" in notes.notes
    after = mined_files(world / "grown")
    kept = {name for name in before if after.get(name) == before[name]}
    assert {name.split("/")[1][:2] for name in kept} == {"b-"}
    mine(world, "fresh", ["a", "b"])
    assert same(world, "grown", "fresh")
    notes.notes.clear()
    mine(world, "grown", ["a", "b"], update=True, progress=notes)
    assert mined_files(world / "grown") == after
    assert any("nothing to do" in note for note in notes.notes)


def test_a_tag_that_moves_is_a_change(world: Path) -> None:
    mine(world, "grown", ["a", "b"])
    git(f"--git-dir={world}/a.git", "tag", "v1", "HEAD~9")
    notes = Notes()
    mine(world, "grown", ["a", "b"], update=True, progress=notes)
    assert "repositories: 1 changed" in notes.notes
    mine(world, "fresh", ["a", "b"])
    assert same(world, "grown", "fresh")
    after = mined_files(world / "grown")
    again = Notes()
    mine(world, "grown", ["a", "b"], update=True, progress=again)
    assert not any("changed" in note for note in again.notes)
    assert mined_files(world / "grown") == after


def test_a_line_less_is_refused_and_with_update_taken_out(world: Path) -> None:
    go_on(world, "c", 9)
    mine(world, "grown", ["a", "b", "c"])
    whole = published(world / "grown")
    with pytest.raises(UsageError, match=r"c\.git, which the list lacks; use --update"):
        mine(world, "grown", ["a", "b"])
    assert published(world / "grown") == whole
    notes = Notes()
    mine(world, "grown", ["a", "b"], update=True, progress=notes)
    assert "repositories: 1 mined again with their relatives, 1 gone" in notes.notes
    mine(world, "fresh", ["a", "b"])
    assert same(world, "grown", "fresh")
    assert {name.split("/")[1][:2] for name in mined_files(world / "grown")} == {"a-", "b-"}


@pytest.mark.parametrize(
    "stop_at", [1, *(pytest.param(at, marks=pytest.mark.slow) for at in (*range(2, 9), 12))]
)
def test_growing_goes_on_where_it_was_stopped(stop_at: int, world: Path) -> None:
    mine(world, "grown", ["a", "b"])
    go_on(world, "b", 12)
    with pytest.raises(KeyboardInterrupt):
        mine(world, "grown", ["a", "b", "c"], update=True, progress=Notes(stop_at))
    mine(world, "grown", ["a", "b", "c"], update=True)
    mine(world, "fresh", ["a", "b", "c"])
    assert same(world, "grown", "fresh")


def test_a_failure_of_the_networks_is_tried_again_and_one_of_its_own_is_not(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codeflow_miners.acquire import clone
    from codeflow_miners.acquire import git as git_command

    lines = [f"file://{world}/a.git", f"file://{world}/b.git", f"file://{world}/none.git"]
    real = git_command.run_git

    def unreachable(args: Sequence[str], **options: Any) -> bytes:
        if any("b.git" in word for word in args):
            raise git_command.GitFailedError("git", "no route to host", "no route to host")
        return real(args, **options)

    common: dict[str, Any] = {"window": "0:1", "filters": ["none"], "validation": 0.2}
    monkeypatch.setattr(clone, "_BACK_OFF_S", 0.0)
    monkeypatch.setattr(clone, "run_git", unreachable)
    for _ in range(2):  # the second finds it unreachable still, and changes nothing
        summary = codeflow.mine(lines, world / "grown", cache=world / "cache", **common)
        assert {f.rule for f in summary.failed} == {"unreachable", "missing"}
    monkeypatch.setattr(clone, "run_git", real)
    small_history(world / "none.git", 24)
    summary = codeflow.mine(lines, world / "grown", cache=world / "cache", **common)
    assert {f.rule for f in summary.failed} == {"missing"}
    summary = codeflow.mine(lines, world / "grown", cache=world / "cache", update=True, **common)
    assert not summary.failed
    codeflow.mine(lines, world / "fresh", cache=world / "other", **common)
    assert same(world, "grown", "fresh")


def test_a_remote_that_cannot_be_asked_keeps_what_it_has(world: Path) -> None:
    lines = [f"file://{world}/a.git", f"file://{world}/b.git"]
    common: dict[str, Any] = {"window": "0:1", "filters": ["none"], "validation": 0.2}
    codeflow.mine(lines, world / "grown", cache=world / "cache", **common)
    whole = published(world / "grown")
    (world / "b.git").rename(world / "away.git")
    notes = Notes()
    codeflow.mine(
        lines, world / "grown", cache=world / "cache", update=True, progress=notes, **common
    )
    assert any(note.endswith("b: stays as it was") for note in notes.notes), notes.notes
    assert published(world / "grown") == whole


def test_without_mined_nothing_can_be_added(world: Path) -> None:
    mine(world, "grown", ["a"])
    files.remove(world / "grown/mined")
    mine(world, "grown", ["a"])
    with pytest.raises(codeflow.CodeflowError, match="cannot be added to; mined/ is gone"):
        mine(world, "grown", ["a", "b"])


def test_dry_run_says_what_would_be_added(world: Path) -> None:
    from codeflow.config import MineConfig
    from codeflow.mining.sources import read_repos
    from codeflow.pipeline.asked import Asked
    from codeflow.pipeline.preview import preview_mine
    from codeflow.pipeline.run import Plan
    from codeflow.pipeline.session import Execution

    mine(world, "grown", ["a"])
    plan = Plan(Asked((), {}), (), lambda index: ())
    config = replace(MineConfig(), window=codeflow_window())
    sources = read_repos([world / "a.git", world / "b.git"])
    found = preview_mine(sources, world / "grown", config, Execution(), plan)
    assert any(line.endswith("; 1 to add") for line in found.lines), found.lines


def codeflow_window() -> Any:
    from codeflow.config import Window

    return Window(0.0, 1.0)
