"""Resolves branches, tags and abbreviated commits of a repository that is not trusted.

Ref storage is git's business, so git reads it; but git would also read the repository's `config`,
and that can name programs. Therefore git is shown a *stand-in*: a fresh bare repository of ours,
with our configuration, whose `refs`, `packed-refs` and `objects` are symbolic links to the real
ones. No key has to be neutralised one by one, the owner of the repository does not matter, and
grafts, replace refs and attributes stay out. Costs a temporary folder and a process a question.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.git import GitFailedError, run_git
from codeflow_miners.acquire.preflight import GitDir, read_small

_ID: Final = re.compile(r"[0-9a-f]{40}")


@contextmanager
def stand_in(found: GitDir) -> Iterator[Path]:
    """A bare repository with the refs and objects of `found`, and nothing else of it."""
    with tempfile.TemporaryDirectory(prefix="codeflow-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        (path / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        head = found.path / "HEAD"
        if head.is_symlink() and os.readlink(head).startswith("refs/"):
            text = f"ref: {os.readlink(head)}"  # the oldest form of a symbolic ref
        else:
            text = read_small(head)
        (path / "HEAD").write_bytes(os.fsencode(text) + b"\n")
        for part in ("objects", "refs", "packed-refs"):
            if os.path.exists(found.common / part):
                (path / part).symlink_to(found.common / part)
        (path / "refs").mkdir(exist_ok=True)
        yield path


def resolve_head(found: GitDir, ref: str | None, timeout_s: float = 60.0) -> str:
    """The full id of the commit that a ref, or HEAD, names now.

    Args:
        ref: a branch, a tag (peeled), a commit, full or abbreviated, or the name of a branch of
            `origin`; git's own order of precedence. None for the default branch.

    Raises:
        RepositoryError: `missing-ref`, `not-a-commit`, `unborn-head` or `damaged`.
    """
    with stand_in(found) as git_dir:
        for name in [ref, f"refs/remotes/origin/{ref}"] if ref else ["HEAD"]:
            commit = _rev_parse(git_dir, f"{name}^{{commit}}", timeout_s)
            if commit:
                return commit
            target = _rev_parse(git_dir, name, timeout_s)
            if target and not (target == ref and not _exists(git_dir, target, timeout_s)):
                raise _not_a_commit(git_dir, name, target, timeout_s)
        if ref:
            raise RepositoryError("missing-ref", f"it has no branch, tag or commit {ref!r}")
        head = (git_dir / "HEAD").read_text(errors="replace").strip()
        if not head.startswith("ref: "):
            raise RepositoryError("damaged", "its HEAD names neither a branch nor a commit")
        branch = head.removeprefix("ref: ").removeprefix("refs/heads/")
        listing = run_git(
            ["for-each-ref", "--count=4", "--format=%(refname:strip=2)", "refs/heads", "refs/tags"],
            git_dir=git_dir,
            timeout_s=timeout_s,
        )
        others = ", ".join("@" + name for name in listing.decode(errors="replace").split())
        reason = f"its default branch {branch!r} has no commits"
        hint = f"; add {others} to its line" if others else ""
        raise RepositoryError("unborn-head", reason + hint)


def tags(found: GitDir, timeout_s: float = 60.0) -> list[tuple[str, str]]:
    """(name, commit id) of every tag that leads to a commit, sorted by name."""
    with stand_in(found) as git_dir:
        listing = run_git(
            ["for-each-ref", "--format=%(refname)", "refs/tags"],
            git_dir=git_dir,
            timeout_s=timeout_s,
        )
        names = listing.splitlines()
        answers = run_git(
            ["cat-file", "--batch-check=%(objectname)"],
            git_dir=git_dir,
            timeout_s=timeout_s,
            input=b"".join(name + b"^{commit}\n" for name in names),
        ).splitlines()
    pairs = zip(names, answers, strict=True)
    return sorted(
        (name.removeprefix(b"refs/tags/").decode("utf-8", "replace"), commit.decode())
        for name, commit in pairs
        if _ID.fullmatch(commit.decode("utf-8", "replace"))
    )


def _rev_parse(git_dir: Path, name: str, timeout_s: float) -> str | None:
    try:
        answer = run_git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", name],
            git_dir=git_dir,
            timeout_s=timeout_s,
        )
    except GitFailedError:
        return None
    text = answer.decode("utf-8", "replace").strip()
    return text if _ID.fullmatch(text) else None


def _exists(git_dir: Path, target: str, timeout_s: float) -> bool:
    try:
        run_git(["cat-file", "-e", target], git_dir=git_dir, timeout_s=timeout_s)
    except GitFailedError:
        return False
    return True


def _not_a_commit(git_dir: Path, name: str, target: str, timeout_s: float) -> RepositoryError:
    """Why something that has a name and an id leads to no commit."""
    try:
        kind = run_git(["cat-file", "-t", f"{target}^{{}}"], git_dir=git_dir, timeout_s=timeout_s)
    except GitFailedError:
        reason = f"{name} names {target}, and that object is missing or cannot be read"
        return RepositoryError("damaged", reason)
    return RepositoryError("not-a-commit", f"{name} is a {kind.decode().strip()}, not a commit")
