"""Folders that are no whole repository, not there, or odd and entirely right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gitdag import Repo, git
from hostile_case import Cases, HostileCase, history, write

CASES = Cases()


def _refused(name: str, rule: str, build: Callable[[Path], str | None]) -> None:
    def case(path: Path) -> HostileCase:
        return HostileCase(build(path) or str(path), frozenset({rule}))

    CASES.case(name)(case)


def _source_url(path: Path) -> str:
    repo, _ = history(path.parent / f"{path.name}-source")
    repo.git("config", "uploadpack.allowFilter", "true")
    return f"file://{repo.path}"


def _shallow(path: Path) -> None:
    git("clone", "--quiet", "--bare", "--depth=5", _source_url(path), path)


def _blobless(path: Path) -> None:
    git("clone", "--quiet", "--bare", "--filter=blob:none", _source_url(path), path)


def _sha256(path: Path) -> None:
    git("init", "--quiet", "--object-format=sha256", path)
    git("commit", "--quiet", "--allow-empty", "-m", "x", cwd=path)


def _empty(path: Path) -> None:
    Repo.create(path)


def _unborn(path: Path) -> None:
    history(path)[0].head("gone")


def _no_repository(path: Path) -> None:
    write(path / "notes.txt", "nothing here\n")


def _fifo_for_git_dir(path: Path) -> None:
    path.mkdir(parents=True)
    os.mkfifo(path / ".git")


def _git_dir_loop(path: Path) -> None:
    path.mkdir(parents=True)
    (path / ".git").symlink_to(".git")


def _a_file(path: Path) -> None:
    write(path, "# not a repository\n")


def _missing_ref(path: Path) -> str:
    history(path)
    return f"{path}@no/such-ref"


def _tag_of_a_blob(path: Path) -> str:
    repo, _ = history(path)
    repo.tag("blob", repo.blob("x"), "a blob", kind="blob")
    return f"{path}@blob"


def _head_without_commit(path: Path) -> None:
    repo, ids = history(path)
    repo.loose_path(ids[-1]).unlink()


def _broken_config(path: Path) -> None:
    write(history(path)[0].git_dir / "config", "[core\nbare = = \n")


def _broken_head(path: Path) -> None:
    write(history(path)[0].git_dir / "HEAD", "\0\0garbage")


def _lost_alternate(path: Path) -> None:
    """A shared clone whose original is gone, objects and all."""
    other, _ = history(path.parent / f"{path.name}-other")
    git("clone", "--quiet", "--bare", "--shared", str(other.path), path)
    shutil.rmtree(other.path)


def _future_format(path: Path) -> None:
    history(path)[0].git("config", "core.repositoryformatversion", "99")


def _unknown_extension(path: Path) -> None:
    repo, _ = history(path)
    repo.git("config", "extensions.fromTheFuture", "true")
    repo.git("config", "core.repositoryformatversion", "1")


def _alternates_fifo(path: Path) -> None:
    other = Repo.create(path.parent / f"{path.name}-other")
    os.mkfifo(other.git_dir / "objects/pack/pack-x.pack")
    alternates = history(path)[0].git_dir / "objects/info/alternates"
    write(alternates, f"{other.git_dir}/objects\n")


_refused("shallow", "shallow", _shallow)
_refused("blobless", "partial", _blobless)
_refused("sha256", "sha256", _sha256)
_refused("empty", "empty", _empty)
_refused("unborn-head", "unborn-head", _unborn)
_refused("missing", "missing", lambda path: None)
_refused("no-repository", "not-a-repository", _no_repository)
_refused("fifo-dot-git", "special-file", _fifo_for_git_dir)
_refused("dot-git-loop", "unreadable", _git_dir_loop)
_refused("plain-file", "not-a-repository", _a_file)
_refused("missing-ref", "missing-ref", _missing_ref)
_refused("tag-of-a-blob", "not-a-commit", _tag_of_a_blob)
_refused("head-without-commit", "damaged", _head_without_commit)
_refused("broken-config", "damaged", _broken_config)
_refused("broken-head", "damaged", _broken_head)
_refused("lost-alternate", "missing-alternate", _lost_alternate)
_refused("future-format", "unsupported-format", _future_format)
_refused("unknown-extension", "unsupported-format", _unknown_extension)
_refused("alternate-with-fifo", "special-file", _alternates_fifo)
_refused("forbidden-url", "forbidden-url", lambda path: "ext::sh -c 'touch /nonexistent/x'")


# -- unusual and entirely right


@CASES.case("alternates-cycle")
def _alternates_cycle(path: Path) -> HostileCase:
    """Two repositories that borrow from each other, and the objects lie in the other one."""
    other, _ = history(path.parent / f"{path.name}-other")
    repo = Repo.create(path)
    for a, b in ((repo, other), (other, repo)):
        write(a.git_dir / "objects/info/alternates", f"{b.git_dir}/objects\n")
    repo.branch("main", str(other.tip))
    return HostileCase(str(path))


@CASES.case("alternate-gone")
def _alternate_gone(path: Path) -> HostileCase:
    """An alternate that is there, under a quoted name, after one that is not: git only warns."""
    other, _ = history(path.parent / f'{path.name}-"other"')
    repo = Repo.create(path)
    quoted = str(other.git_dir / "objects").replace('"', '\\"')
    write(repo.git_dir / "objects/info/alternates", f'# two\n/no/such/objects\n"{quoted}"\n')
    repo.branch("main", str(other.tip))
    return HostileCase(str(path))


@CASES.case("ignored-extension")
def _ignored_extension(path: Path) -> HostileCase:
    """At version 0 git passes over extensions that it does not know."""
    history(path)[0].git("config", "extensions.fromTheFuture", "true")
    return HostileCase(str(path))


@CASES.case("commit-without-author")
def _commit_without_author(path: Path) -> HostileCase:
    repo, ids = history(path)
    tree = repo.tree(repo.snapshots[ids[-1]] | {b"new.py": ("100644", repo.blob("x = 1\n"))})
    bare = repo.write("commit", f"tree {tree}\nparent {ids[-1]}\n\nnobody wrote this".encode())
    repo.snapshots[bare] = repo.snapshots[ids[-1]]
    repo.commit({"after.py": "y = 2\n"}, parents=[bare])
    return HostileCase(str(path))


@CASES.case("other-owner")
def _other_owner(path: Path) -> HostileCase:
    """Belongs to somebody else, when the tests may do that (as root); git alone would refuse."""
    history(path, bare=False)
    if os.geteuid() == 0:
        for folder, _, files in os.walk(path):
            for name in [folder, *(os.path.join(folder, f) for f in files)]:
                os.chown(name, 65534, 65534)
    return HostileCase(str(path))


@CASES.case("detached-head")
def _detached_head(path: Path) -> HostileCase:
    repo, ids = history(path)
    repo.head(ids[-2])
    return HostileCase(str(path))


@CASES.case("linked-worktree")
def _linked_worktree(path: Path) -> HostileCase:
    repo, _ = history(path.parent / f"{path.name}-main")
    repo.git("worktree", "add", "--quiet", "-b", "side", str(path))
    return HostileCase(str(path))
