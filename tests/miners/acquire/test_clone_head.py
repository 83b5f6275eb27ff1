"""What a remote's HEAD names is what is mined, whatever the cache held before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeflow.errors import RepositoryError
from codeflow_miners.acquire import clone
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.git import run_git
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head
from codeflow_miners.acquire.repositories import parse_sources
from gitdag import Repo, git
from hostile import history

pytestmark = pytest.mark.timeout(120)


def gone(remote: Repo, ids: list[str]) -> None:
    remote.head("gone")


def renamed(remote: Repo, ids: list[str]) -> None:
    """The default branch is deleted, and HEAD forgotten, as after a rename by hand."""
    (remote.git_dir / "refs/heads/main").rename(remote.git_dir / "refs/heads/trunk")


def renamed_to_master(remote: Repo, ids: list[str]) -> None:
    """What git's own default would be is there, and is not what HEAD names."""
    (remote.git_dir / "refs/heads/main").rename(remote.git_dir / "refs/heads/master")


def other(remote: Repo, ids: list[str]) -> None:
    remote.branch("other", ids[7])
    remote.head("other")


def symbolic(remote: Repo, ids: list[str]) -> None:
    remote.branch("b", ids[8])
    (remote.git_dir / "refs/heads/a").write_text("ref: refs/heads/b\n")
    remote.head("a")


def detached(remote: Repo, ids: list[str]) -> None:
    remote.head(remote.commit({"beside.py": "x\n"}, parents=[ids[2]], branch=None))


def no_branch(remote: Repo, ids: list[str]) -> None:
    """HEAD on a ref that a clone does not bring along."""
    beside = remote.commit({"beside.py": "x\n"}, parents=[ids[2]], branch=None)
    remote.ref("refs/remotes/origin/main", beside)
    (remote.git_dir / "HEAD").write_text("ref: refs/remotes/origin/main\n")


def a_tag(remote: Repo, ids: list[str]) -> None:
    remote.tag("v1", ids[5], "a tag")
    (remote.git_dir / "HEAD").write_text("ref: refs/tags/v1\n")


@pytest.mark.parametrize("protocol", ["0", "2"])
@pytest.mark.parametrize(
    "change",
    [gone, renamed, renamed_to_master, other, symbolic, detached, no_branch, a_tag],
)
def test_the_head_of_a_remote_decides_with_and_without_a_cache(
    change: Callable[[Repo, list[str]], None],
    protocol: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def speak(*args: Any, settings: Any = (), **more: Any) -> bytes:
        return run_git(*args, settings=[*settings, ("protocol.version", protocol)], **more)

    monkeypatch.setattr(clone, "run_git", speak)
    remote, ids = history(tmp_path / "r")
    [source] = parse_sources([f"file://{remote.path}"], tmp_path)
    warm, cold = tmp_path / "warm", tmp_path / "cold"
    found = acquire(source, warm)
    assert resolve_head(inspect_git_dir(found), None) == ids[-1]
    (found / "kept").touch()  # tells an update from a new clone
    change(remote, ids)
    told = git(f"--git-dir={remote.git_dir}", "for-each-ref", "--format=%(refname)").decode()
    outcomes = []
    for cache in (warm, cold, warm):
        git_dir = acquire(source, cache)
        assert not list(cache.glob("*.part"))
        try:
            outcomes.append(resolve_head(inspect_git_dir(git_dir), None))
        except RepositoryError as error:
            outcomes.append(f"{error.rule}: {error.reason}")
    assert (found / "kept").exists()
    assert len(set(outcomes)) == 1, outcomes
    if change in (gone, renamed, renamed_to_master):
        branch = "gone" if change is gone else "main"
        assert outcomes[0].startswith("unborn-head: its default branch ")
        assert repr(branch) in outcomes[0] or protocol == "0"  # which cannot name it
        assert "add @" in outcomes[0]
        assert told
    else:
        wanted = git(f"--git-dir={remote.git_dir}", "rev-parse", "HEAD^{commit}").decode().strip()
        assert outcomes[0] == wanted
