"""Brings a source onto this machine: paths are used where they are, URLs are cloned into a cache.

A clone is bare, has the tags, and appears in the cache by one rename, so a run that was killed
leaves nothing half done. Later runs update it: branches and tags follow the remote even where they
were rewritten or removed, and so does the default branch, even to one that has no commits: what is
mined does not depend on what the cache held before. One lock an entry lets several runs share
a cache; git itself holds it too, so that an orphan of a killed run cannot write beside the next.

git asks no questions. For https it uses the login in the URL, if any, and else the `credential.*`
and `http.*` settings of the user's own git configuration (helpers, proxies, certificates); ssh uses
the user's keys and agent. Nothing else of that configuration is read.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.acquire.git import GitFailedError, run_git
from codeflow_miners.acquire.repositories import Source, folder_name

_BACK_OFF_S: Final = 1.0  # doubled with each attempt
_UNKNOWN_BRANCH: Final = "(unknown)"
_REFS: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

_TRANSIENT = re.compile(
    r"could ?n[o']t resolve host|temporary failure in name resolution|failed to connect"
    r"|connection (?:was )?(?:refused|reset|closed|timed out)|operation timed out|timed? ?out"
    r"|unexpected disconnect|early eof|hung up unexpectedly|rpc failed|operation too slow"
    r"|network is unreachable|no route to host|error: (?:429|5\d\d)|gnutls"
    r"|ssl_(?:read|connect|err)",
    re.IGNORECASE,
)
_NO_SPACE: Final = "No space left on device"
_NO_ACCESS = re.compile(
    r"could not read (?:username|password)|authentication failed|permission denied"
    r"|error: 40[13]|host key verification",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"repository .*not found|does not (?:exist|appear to be a git repository)|error: 404"
    r"|access denied or repository not exported",
    re.IGNORECASE,
)
# a helper that knows one login for one host, whatever a redirect may lead to
_LOGIN_HELPER: Final = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$CODEFLOW_GIT_USER" "$CODEFLOW_GIT_PASSWORD"; }; f'
)


def acquire(
    source: Source,
    cache_dir: Path,
    *,
    timeout_s: float = 3600.0,
    retries: int = 3,
    pinned: str | None = None,
) -> Path:
    """The folder to mine `source` from, to be inspected before it is read.

    Args:
        cache_dir: folder of the clones; made when needed.
        timeout_s: the longest one attempt may take, and the longest wait for another run.
        retries: further attempts after an error that may pass (network, server).
        pinned: commit that a resumed run needs; a clone that has it is used as it is.

    Raises:
        RepositoryError: `forbidden-url`, `missing`, `no-access`, `unreachable`, `timeout`, `busy`
            or `clone-failed`, without credentials in the reason.
        OSError: the disk of the cache is full.
    """
    if source.problem:
        raise RepositoryError("forbidden-url", source.problem)
    if source.is_path:
        return Path(source.location)
    try:
        return _acquire_clone(source, cache_dir.absolute(), timeout_s, retries, pinned)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # no fault of this repository: the run must stop
        reason = f"the cache cannot be used: {error.strerror}"
        raise RepositoryError("clone-failed", reason) from error


def _acquire_clone(
    source: Source, cache_dir: Path, timeout_s: float, retries: int, pinned: str | None
) -> Path:
    cache_dir.mkdir(parents=True, exist_ok=True)
    entry = cache_dir / folder_name(source.url, source.location)
    with _locked(entry.with_suffix(".lock"), timeout_s) as lock:
        remote = _Remote(source, timeout_s, lock)
        if pinned and _has_commit(entry, pinned):
            return entry
        if entry.is_dir():
            try:
                _persist(lambda: _update(remote, entry), retries, source)
                return entry
            except RepositoryError as error:
                if error.rule != "clone-failed":
                    raise
                # no fault of the remote: the clone itself is damaged, so it is made anew
        _persist(lambda: _clone(remote, entry), retries, source)
    return entry


class _Remote:
    """git commands that talk to one remote, with what they need to get in."""

    def __init__(self, source: Source, timeout_s: float, lock: int) -> None:
        self.url = source.location
        self.timeout_s = timeout_s
        self.lock = lock
        self.env: dict[str, str] = {}
        if source.login:
            host = re.sub(r"(://[^/]*).*", r"\1", source.url)
            # the empty value forgets the helpers of the user
            self.settings = [
                *_user_settings("http"),
                ("credential.helper", ""),
                (f"credential.{host}.helper", _LOGIN_HELPER),
            ]
            user, password = source.login
            self.env = {"CODEFLOW_GIT_USER": user, "CODEFLOW_GIT_PASSWORD": password}
        elif source.location.startswith("https:"):
            self.settings = _user_settings("http|credential")
        else:
            self.settings = []

    def git(self, *args: str, git_dir: Path | None = None) -> bytes:
        return run_git(
            args,
            git_dir=git_dir,
            timeout_s=self.timeout_s,
            settings=self.settings,
            env=self.env,
            pass_fds=[self.lock],
            leashed=True,
        )


def _clone(remote: _Remote, entry: Path) -> None:
    with _part(entry) as part:
        _clone_into(remote, part)
        shutil.rmtree(entry, ignore_errors=True)
        os.replace(part, entry)


@contextmanager
def _part(entry: Path) -> Iterator[Path]:
    """A name beside an entry for what becomes one, or helps it; nothing is left of it."""
    part = entry.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed: we hold the lock
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _clone_into(remote: _Remote, folder: Path, *options: str) -> None:
    # a server too old to name a default branch without commits must not leave us on one that has
    unknown = ("-c", f"init.defaultBranch={_UNKNOWN_BRANCH}")
    options = ("--bare", "--quiet", "--template=", *options)
    remote.git(*unknown, "clone", *options, "--", remote.url, str(folder))


def _update(remote: _Remote, entry: Path) -> None:
    """Makes branches, tags and HEAD those of the remote. A killed update is simply done again."""
    for stale in [*entry.glob("*.lock"), *entry.glob("refs/**/*.lock")]:
        stale.unlink(missing_ok=True)
    head = _remote_head(remote)
    # `HEAD` alone brings the commit of a HEAD that no branch may reach
    wanted = [*_REFS, *(["HEAD"] if head.commit else [])]
    fetch = ("fetch", "--quiet", "--prune", "--no-tags")
    remote.git(*fetch, "--", remote.url, *wanted, git_dir=entry)
    if head.commit:
        commit = f"{head.commit}^{{commit}}"
        remote.git("update-ref", "--no-deref", "HEAD", commit, git_dir=entry)
        return
    branch = head.branch
    if not branch:  # it has no commits: a clone of HEAD alone is told its name, and brings nothing
        with _part(entry) as part:
            _clone_into(remote, part, "--single-branch", "--no-tags")
            branch = (part / "HEAD").read_text().strip().removeprefix("ref: ")
    remote.git("symbolic-ref", "HEAD", branch, git_dir=entry)


class _Head(NamedTuple):
    """HEAD of a remote: on a branch that has commits, or at a commit; neither where unborn."""

    branch: str = ""
    commit: str = ""


def _remote_head(remote: _Remote) -> _Head:
    listing = remote.git("ls-remote", "--symref", "--quiet", "--", remote.url, "HEAD")
    branch = commit = ""
    for line in listing.decode("utf-8", "replace").splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            branch = value.removeprefix("ref: ")
        elif name == "HEAD":
            commit = value
    # as `git clone`: HEAD on a ref that is no branch, and so is not fetched, is a commit
    return _Head(branch) if branch.startswith("refs/heads/") and commit else _Head(commit=commit)


def _has_commit(entry: Path, commit: str) -> bool:
    try:
        run_git(["cat-file", "-e", f"{commit}^{{commit}}"], git_dir=entry)
    except GitFailedError:
        return False
    return True


def _persist(action: Callable[[], None], retries: int, source: Source) -> None:
    """Does it, again and again while the error may pass, with growing and uneven pauses."""
    for attempt in range(retries + 1):
        try:
            return action()
        except GitFailedError as error:
            if attempt == retries or not _is_transient(error):
                raise _explained(error, source) from None
        time.sleep(_BACK_OFF_S * 2**attempt * random.uniform(0.5, 1.5))
    return None


def _is_transient(error: GitFailedError) -> bool:
    text = error.stderr
    return bool(_TRANSIENT.search(text)) and not (_NO_ACCESS.search(text) or _MISSING.search(text))


def _explained(error: GitFailedError, source: Source) -> RepositoryError:
    """The error as a rule and a reason that may be stored: no secrets, no paths of this machine."""
    if _NO_SPACE in error.stderr:
        raise OSError(errno.ENOSPC, _NO_SPACE)
    reason = error.reason.replace(source.location, source.url)
    if source.location.startswith("file://"):
        reason = reason.replace(unquote(source.location.removeprefix("file://")), source.url)
    if _NO_ACCESS.search(error.stderr):
        return RepositoryError("no-access", f"it does not exist or needs a login ({reason})")
    if _MISSING.search(error.stderr):
        return RepositoryError("missing", f"there is no repository at this URL ({reason})")
    if _TRANSIENT.search(error.stderr):
        return RepositoryError("unreachable", reason)
    return RepositoryError("clone-failed", reason)


@contextmanager
def _locked(path: Path, timeout_s: float) -> Iterator[int]:
    """Holds an exclusive lock; gives its descriptor, for children to hold it as well."""
    with open(path, "wb") as file:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    reason = "another run has been cloning it for too long; try again later"
                    raise LimitExceededError("busy", reason, deterministic=False) from None
                time.sleep(0.1)
        yield file.fileno()


def _user_settings(sections: str) -> list[tuple[str, str]]:
    """The user's own settings of these sections, from their global and system configuration."""
    env = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_CONFIG")}
    listing = subprocess.run(
        ["git", "config", "--includes", "--null", "--get-regexp", rf"^({sections})\."],
        cwd="/",
        env=env,
        capture_output=True,
        timeout=60,
    ).stdout.decode("utf-8", "replace")
    pairs = (item.partition("\n") for item in listing.split("\0") if item)
    return [(key, value) for key, _, value in pairs]
