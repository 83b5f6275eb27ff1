"""Clones that are killed, damaged, locked or shared: no obstacle to the next run."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cloned import refs_of, source
from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head
from gitdag import git
from hostile import history

pytestmark = pytest.mark.timeout(120)


def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    remote, _ = history(tmp_path / "r")
    url = source(f"file://{remote.path}")
    cached = acquire(url, tmp_path / "cache")
    part = cached.with_suffix(".part")
    cached.rename(part)  # killed before the rename
    (part / "HEAD").unlink()
    assert acquire(url, tmp_path / "cache") == cached
    assert not part.exists()
    remote.commit({"new.py": "x\n"})
    for lock in ("HEAD.lock", "packed-refs.lock", "refs/heads/main.lock"):  # killed while updating
        (cached / lock).touch()
    (cached / "kept").touch()
    acquire(url, tmp_path / "cache")
    assert (cached / "kept").exists()  # updated, not cloned again
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert git(f"--git-dir={cached}", "fsck", "--no-dangling") == b""


@pytest.mark.parametrize("harmed", ["HEAD", "packed-refs", "config"])
def test_a_damaged_clone_is_made_anew(harmed: str, tmp_path: Path) -> None:
    remote, _ = history(tmp_path / "r")
    url = source(f"file://{remote.path}")
    cached = acquire(url, tmp_path / "cache")
    (cached / harmed).write_bytes(b"\0garbage\n")
    remote.commit({"newer.py": "x\n"})
    acquire(url, tmp_path / "cache")
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert git(f"--git-dir={cached}", "fsck", "--no-dangling") == b""


def acquire_in_a_process(url: str, cache: Path) -> subprocess.Popen[bytes]:
    program = (
        "import sys; from pathlib import Path; from codeflow_miners.acquire.clone import acquire;"
        "from codeflow_miners.acquire.repositories import parse_sources;"
        "acquire(parse_sources([sys.argv[1]], Path('/'))[0], Path(sys.argv[2]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", program, url, str(cache)], env=env)


@pytest.mark.slow
def test_a_killed_run_takes_its_git_along_and_frees_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ssh = tmp_path / "started", tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho $$ >{started}.new\nmv {started}.new {started}\nsleep 300\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    child = acquire_in_a_process("ssh://h.org/r", tmp_path / "cache")
    while not started.exists():
        time.sleep(0.01)
    child.kill()
    child.wait()
    transport = Path("/proc") / started.read_text().strip()
    while transport.exists():  # the whole group goes; a hang here is the failure
        time.sleep(0.01)
    ssh.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(RepositoryError) as caught:
        acquire(source("ssh://h.org/r"), tmp_path / "cache", timeout_s=60, retries=0)
    assert caught.value.rule == "clone-failed"


def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(RepositoryError, match="clone-failed: the cache"):
        acquire(source(f"file://{tmp_path}/r"), tmp_path / "cache")


def test_a_run_killed_while_cloning(tmp_path: Path) -> None:
    """SIGKILL of the process at arbitrary points; git's orphan keeps the lock until it is done."""
    remote, _ = history(tmp_path / "r", {"big.txt": os.urandom(3 << 20)})
    url, cache = f"file://{remote.path}", tmp_path / "cache"
    for delay in (0.15, 0.2, 0.25, 0.3):
        child = acquire_in_a_process(url, cache)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
    cached = acquire(source(url), cache)
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert git(f"--git-dir={cached}", "fsck", "--no-dangling") == b""
    assert {p.suffix for p in cache.iterdir()} == {"", ".lock"}


def test_concurrent_runs_share_one_entry(tmp_path: Path) -> None:
    remote, ids = history(tmp_path / "r")
    results: list[Path | Exception] = []

    def run(ref: str) -> None:
        try:
            results.append(acquire(source(f"file://{remote.path}@{ref}"), tmp_path / "cache"))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(ref,)) for ref in ("main", "a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert isinstance(results[0], Path)
    assert resolve_head(inspect_git_dir(results[0]), None) == ids[-1]


def test_a_lock_that_is_never_released_is_a_reason(tmp_path: Path) -> None:
    remote, _ = history(tmp_path / "r")
    url = source(f"file://{remote.path}")
    lock = acquire(url, tmp_path / "cache").with_suffix(".lock")
    with open(lock, "wb") as other_run:
        fcntl.flock(other_run, fcntl.LOCK_EX)
        with pytest.raises(LimitExceededError) as caught:
            acquire(url, tmp_path / "cache", timeout_s=0.2)
    assert (caught.value.rule, caught.value.deterministic) == ("busy", False)
