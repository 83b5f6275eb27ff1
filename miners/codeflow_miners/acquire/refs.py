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
                raise _not_a_commit(git_dir, found, name, target, timeout_s)
        others = [name.removeprefix("refs/heads/") for name in _names(git_dir, timeout_s)]
        if ref:
            raise RepositoryError("missing-ref", f"it has no branch, tag or commit {ref!r}")
        head = (git_dir / "HEAD").read_text(errors="replace").strip()
        symbolic = re.match(r"ref:\s*refs/", head)
        if not symbolic:
            raise RepositoryError("damaged", "its HEAD names neither a branch nor a commit")
        branch = head.removeprefix("ref:").strip().removeprefix("refs/heads/")
        hints = ", ".join("@" + other.removeprefix("refs/tags/") for other in others[:4])
        reason = f"its default branch {branch!r} has no commits"
        hint = f"; add {hints} to its line" if hints else ""
        raise RepositoryError("unborn-head", reason + hint)


def tags(found: GitDir, timeout_s: float = 60.0) -> list[tuple[str, str]]:
    """(name, commit id) of every tag that leads to a commit, sorted by name."""
    with stand_in(found) as git_dir:
        names = [os.fsencode(name) for name in _names(git_dir, timeout_s, "refs/tags")]
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


def _names(git_dir: Path, timeout_s: float, *below: str) -> list[str]:
    """Names of the branches and tags, or of the refs below others; of broken ones git only warns.

    Raises:
        RepositoryError: `damaged`: git cannot read the refs at all.
    """
    words = ["for-each-ref", "--format=%(refname)", *(below or ("refs/heads", "refs/tags"))]
    try:
        return os.fsdecode(run_git(words, git_dir=git_dir, timeout_s=timeout_s)).splitlines()
    except GitFailedError as error:
        reason = error.reason.replace(str(git_dir), "").lstrip("/")
        raise RepositoryError("damaged", f"its refs cannot be read: {reason}") from None


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


def _not_a_commit(
    git_dir: Path, found: GitDir, name: str, target: str, timeout_s: float
) -> RepositoryError:
    """Why something that has a name and an id leads to no commit."""
    try:
        kind = run_git(["cat-file", "-t", f"{target}^{{}}"], git_dir=git_dir, timeout_s=timeout_s)
    except GitFailedError:
        reason = f"{name} names {target}, and that object is missing or cannot be read"
        if found.lost:
            reason += "; so is a repository that it borrows from (objects/info/alternates)"
            return RepositoryError("missing-alternate", reason)
        return RepositoryError("damaged", reason)
    return RepositoryError("not-a-commit", f"{name} is a {kind.decode().strip()}, not a commit")
