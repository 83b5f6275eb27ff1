"""Cloning into the cache: whole, up to date, and nothing where a path or a pin is enough."""

from pathlib import Path

import pytest

from cloned import refs_of, source
from codeflow.errors import RepositoryError
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head
from gitdag import Repo, git
from hostile import history

pytestmark = pytest.mark.timeout(120)


def test_a_path_is_used_in_place(tmp_path: Path) -> None:
    history(tmp_path / "r")
    assert acquire(source(str(tmp_path / "r")), tmp_path / "cache") == tmp_path / "r"
    assert not (tmp_path / "cache").exists()


def test_a_clone_is_whole_and_an_update_follows_the_remote(tmp_path: Path) -> None:
    remote, ids = history(tmp_path / "r")
    remote.tag("v1", ids[3], "note")
    remote.tag("light", ids[4])
    remote.branch("dev/a", ids[5])
    url = source(f"file://{remote.path}")
    cached = acquire(url, tmp_path / "cache")
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert inspect_git_dir(cached).path == cached
    (cached / "kept").touch()  # tells an update from a new clone

    remote.commit({"new.py": "x\n"}, parents=[ids[10]], message="rewritten")  # main is forced back
    (remote.git_dir / "refs/heads/dev/a").unlink()
    (remote.git_dir / "refs/heads/dev").rmdir()
    remote.branch("dev", ids[6])  # a branch where there was a folder
    remote.tag("v1", ids[7], "moved")
    (remote.git_dir / "refs/tags/light").unlink()
    remote.head("dev")
    assert acquire(url, tmp_path / "cache") == cached
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert resolve_head(inspect_git_dir(cached), None) == ids[6]
    assert (cached / "kept").exists()

    detached = remote.commit({"d.py": "x\n"}, parents=[ids[0]], branch=None)
    remote.head(detached)  # a commit that no branch reaches
    acquire(url, tmp_path / "cache")
    assert resolve_head(inspect_git_dir(cached), None) == detached
    remote.head("main")
    acquire(url, tmp_path / "cache")
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert git(f"--git-dir={cached}", "fsck", "--connectivity-only", "--no-dangling") == b""


def test_a_pinned_commit_needs_no_remote(tmp_path: Path) -> None:
    remote, ids = history(tmp_path / "r")
    url = source(f"file://{remote.path}@main")
    cached = acquire(url, tmp_path / "cache")
    remote.path.rename(tmp_path / "gone")
    assert acquire(url, tmp_path / "cache", pinned=ids[-1]) == cached
    for pinned in (None, "1" * 40):
        with pytest.raises(RepositoryError) as caught:
            acquire(url, tmp_path / "cache", pinned=pinned, retries=0)
        assert caught.value.rule == "missing"
        assert str(tmp_path) not in caught.value.reason


def test_an_empty_repository_with_a_ref_is_empty(tmp_path: Path) -> None:
    Repo.create(tmp_path / "r")
    with pytest.raises(RepositoryError) as caught:
        inspect_git_dir(tmp_path / "r")
    assert caught.value.rule == "empty"
