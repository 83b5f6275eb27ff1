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

from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.acquire.answers import read_answer
from codeflow_miners.acquire.complaints import explained, is_transient
from codeflow_miners.acquire.git import GitFailedError, run_git
from codeflow_miners.acquire.hosts import Host
from codeflow_miners.acquire.partial import absent_in, filter_for
from codeflow_miners.acquire.repositories import Source, folder_name

_BACK_OFF_S: Final = 1.0  # doubled with each attempt
_UNKNOWN_BRANCH: Final = "(unknown)"
_REFS: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

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
    max_file_bytes: int | None = None,
) -> Path:
    """The folder to mine `source` from, to be inspected before it is read.

    Args:
        cache_dir: folder of the clones; made when needed.
        timeout_s: the longest one attempt may take, and the longest wait for another run.
        retries: further attempts after an error that may pass (network, server).
        pinned: commit that a resumed run needs; a clone that has it is used as it is.
        max_file_bytes: larger blobs need not be brought; None brings all.

    Raises:
        RepositoryError: `forbidden-url`, `missing`, `no-access`, `unreachable`, `stalled`,
            `rate-limited`, `timeout`, `busy` or `clone-failed`, without credentials in the reason.
        OSError: the disk of the cache is full.
    """
    if source.problem:
        raise RepositoryError("forbidden-url", source.problem)
    if source.is_path:
        return Path(source.location)
    try:
        return _acquire_clone(
            source, cache_dir.absolute(), timeout_s, retries, pinned, max_file_bytes
        )
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # no fault of this repository: the run must stop
        reason = f"the cache cannot be used: {error.strerror}"
        raise RepositoryError("clone-failed", reason) from error


def _acquire_clone(
    source: Source,
    cache_dir: Path,
    timeout_s: float,
    retries: int,
    pinned: str | None,
    max_file_bytes: int | None,
) -> Path:
    cache_dir.mkdir(parents=True, exist_ok=True)
    entry = cache_dir / folder_name(source.url, source.location)
    with _locked(entry.with_suffix(".lock"), timeout_s) as lock:
        remote = _Remote(source, timeout_s, lock, entry.with_suffix(".answers"))
        host = Host(cache_dir, source.location, timeout_s)
        if pinned and _has_commit(entry, pinned):
            return entry
        try:
            if entry.is_dir() and _has_files(entry, max_file_bytes):
                try:
                    _persist(lambda: _update(remote, entry), retries, remote, host)
                    return entry
                except RepositoryError as error:
                    if error.rule != "clone-failed":
                        raise
                    # no fault of the remote: the clone itself is damaged, so it is made anew
            _persist(lambda: _clone(remote, entry, max_file_bytes), retries, remote, host)
        finally:
            remote.trace.unlink(missing_ok=True)
    return entry


class _Remote:
    """git commands that talk to one remote, with what they need to get in."""

    def __init__(self, source: Source, timeout_s: float, lock: int, trace: Path) -> None:
        self.source = source
        self.url = source.location
        self.trace = trace
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
        """Runs one; what a web server said to it stays in `trace` where it failed."""
        self.trace.unlink(missing_ok=True)  # git appends
        said = {"GIT_TRACE_CURL": str(self.trace), "GIT_TRACE_CURL_NO_DATA": "1"}
        return run_git(
            args,
            git_dir=git_dir,
            timeout_s=self.timeout_s,
            settings=self.settings,
            env={**self.env, **said},
            pass_fds=[self.lock],
            leashed=True,
        )


def _clone(remote: _Remote, entry: Path, max_file_bytes: int | None) -> None:
    with _part(entry) as part:
        _clone_into(remote, part, *([] if max_file_bytes is None else [filter_for(max_file_bytes)]))
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


def _has_files(entry: Path, max_file_bytes: int | None) -> bool:
    """Whether a clone has all blobs up to a size; one that was made for less may not."""
    absent = absent_in(entry)
    return absent is None or (max_file_bytes is not None and absent > max_file_bytes)


def _has_commit(entry: Path, commit: str) -> bool:
    try:
        run_git(["cat-file", "-e", f"{commit}^{{commit}}"], git_dir=entry)
    except GitFailedError:
        return False
    return True


def _persist(action: Callable[[], None], retries: int, remote: _Remote, host: Host) -> None:
    """Does it, again and again while the error may pass, with growing and uneven pauses.

    A server that says when it wants to be asked again is asked then, however often, for as long as
    one attempt may take.
    """
    attempts, held_off_s = 0, 0.0
    while True:
        with host.turn():
            try:
                return action()
            except GitFailedError as failed:
                error = failed
        answer = read_answer(remote.trace, error.stderr, time.time())
        if answer.wait_s is not None:
            held_off_s += max(answer.wait_s, _BACK_OFF_S)
            if held_off_s > remote.timeout_s:
                raise explained(error, answer, remote.source)
            host.hold_off(answer.wait_s)
        elif attempts == retries or not is_transient(error):
            raise explained(error, answer, remote.source)
        else:
            time.sleep(_BACK_OFF_S * 2**attempts * random.uniform(0.5, 1.5))
            attempts += 1


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
