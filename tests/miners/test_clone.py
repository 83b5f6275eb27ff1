"""Cloning into the cache: updates, kills, locks, retries, secrets; remotes are folders and a daemon."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners import clone
from codeflow_miners.clone import acquire
from codeflow_miners.git import GitFailedError, last_words, run_git
from codeflow_miners.preflight import inspect_git_dir
from codeflow_miners.refs import resolve_head, tags
from codeflow_miners.repositories import Source, parse_sources
from gitdag import ENV, Repo, git
from hostile import HOSTILE, history

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(clone, "_BACK_OFF_S", 0.01)


def source(line: str) -> Source:
    [parsed] = parse_sources([line], Path("/"))
    return parsed


def refs_of(git_dir: Path) -> bytes:
    """Every branch and tag with its id, and HEAD, as the real git lists them."""
    listing = git(f"--git-dir={git_dir}", "for-each-ref", "refs/heads", "refs/tags")
    head = (git_dir / "HEAD").read_bytes()
    return listing + head


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


def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    remote, ids = history(tmp_path / "r")
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
    acquire(url, tmp_path / "cache")
    assert refs_of(cached) == refs_of(remote.git_dir)
    for pack in cached.glob("objects/pack/*"):  # the cached clone itself is damaged
        pack.unlink()
    remote.commit({"newer.py": "x\n"})
    acquire(url, tmp_path / "cache")
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert git(f"--git-dir={cached}", "fsck", "--no-dangling") == b""


def test_a_run_killed_while_cloning(tmp_path: Path) -> None:
    """SIGKILL of the process at arbitrary points; git's orphan keeps the lock until it is done."""
    remote, _ = history(tmp_path / "r", {"big.txt": os.urandom(3 << 20)})
    program = (
        "import sys; from pathlib import Path; from codeflow_miners.clone import acquire;"
        "from codeflow_miners.repositories import parse_sources;"
        "acquire(parse_sources([sys.argv[1]], Path('/'))[0], Path(sys.argv[2]))"
    )
    url, cache = f"file://{remote.path}", tmp_path / "cache"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for delay in (0.15, 0.2, 0.25, 0.3):
        child = subprocess.Popen([sys.executable, "-c", program, url, str(cache)], env=env)
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
    holder = subprocess.Popen(["flock", str(lock), "sleep", "60"], start_new_session=True)
    try:
        while subprocess.run(["flock", "-n", str(lock), "true"]).returncode == 0:
            time.sleep(0.01)
        with pytest.raises(LimitExceededError) as caught:
            acquire(url, tmp_path / "cache", timeout_s=0.2)
        assert (caught.value.rule, caught.value.deterministic) == ("busy", False)
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@pytest.fixture
def daemon(tmp_path: Path, free_port: int) -> Iterator[str]:
    """git's own server for everything below `tmp_path`."""
    server = subprocess.Popen(
        ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]
        + [f"--port={free_port}", f"--base-path={tmp_path}", str(tmp_path)],
        env=ENV,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(500):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", free_port)) == 0:
                    break
            time.sleep(0.02)
        yield f"git://127.0.0.1:{free_port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_the_git_protocol(tmp_path: Path, daemon: str) -> None:
    remote, ids = history(tmp_path / "r.git")
    remote.tag("v1", ids[2], "note")
    cached = acquire(source(f"{daemon}/r.git"), tmp_path / "cache", retries=0)
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert tags(inspect_git_dir(cached)) == [("v1", ids[2])]
    with pytest.raises(RepositoryError) as caught:
        acquire(source(f"{daemon}/none.git"), tmp_path / "cache", retries=0)
    assert caught.value.rule == "missing"


def test_an_error_that_may_pass_is_tried_again(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(RepositoryError) as caught:
        acquire(source(f"git://127.0.0.1:{free_port}/r"), tmp_path / "cache", retries=3)
    assert caught.value.rule == "unreachable"
    assert len(pauses) == 3
    assert all(0.5 <= pause / (0.01 * 2**n) <= 1.5 for n, pause in enumerate(pauses))
    pauses.clear()
    with pytest.raises(RepositoryError) as caught:
        acquire(source(f"file://{tmp_path}/none"), tmp_path / "cache", retries=3)
    assert caught.value.rule == "missing"
    assert pauses == []


@pytest.mark.parametrize(
    ("stderr", "rule", "again"),
    [
        ("fatal: unable to access 'U': Could not resolve host: h.org", "unreachable", True),
        ("error: RPC failed; HTTP 503 curl 22 ... error: 503\nfatal: early EOF", "unreachable", True),
        ("fatal: unable to access 'U': The requested URL returned error: 429", "unreachable", True),
        ("ssh: connect to host h port 22: Connection timed out\nfatal: Could not read from remote "
         "repository.\n\nPlease make sure you have the correct access rights\n"
         "and the repository exists.", "unreachable", True),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
         "no-access", False),
        ("fatal: could not read Username for 'https://h.org': terminal prompts disabled",
         "no-access", False),
        ("remote: Repository not found.\nfatal: repository 'https://h.org/a/' not found",
         "missing", False),
        ("fatal: the disk is full", "clone-failed", False),
    ],
)  # fmt: skip
def test_what_git_says_is_understood(
    stderr: str, rule: str, again: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def fail(*_: object, **__: object) -> bytes:
        calls.append(1)
        raise GitFailedError("git", last_words(stderr), stderr)

    monkeypatch.setattr(clone, "run_git", fail)
    with pytest.raises(RepositoryError) as caught:
        acquire(source("https://h.org/a"), tmp_path, retries=2)
    assert (caught.value.rule, len(calls)) == (rule, 3 if again else 1)
    assert "make sure" not in caught.value.reason


class _Https(BaseHTTPRequestHandler):
    """Plain HTTP under an https URL would need a certificate: the test lets git speak http."""

    seen: list[str]

    def do_GET(self) -> None:
        type(self).seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def locked_server() -> Iterator[str]:
    _Https.seen = []
    server = HTTPServer(("127.0.0.1", 0), _Https)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("login", ["", "me:SECRET%2F1@"])
def test_a_login_reaches_its_host_and_nothing_else(
    login: str, locked_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No question is asked, and the password is not in the reason, an argument, or the cache."""
    commands: list[list[str]] = []
    popen = subprocess.Popen

    def spy(command: list[str], **options: object) -> object:
        commands.append(command)
        return popen(command, **options)  # type: ignore[call-overload]

    home = tmp_path / "home"
    home.mkdir()
    # the user's own http settings count, as a proxy would; here they turn TLS off
    secure = f"https://{locked_server}/"
    (home / ".gitconfig").write_text(
        f'[http]\n\tproxy = ""\n[url "http://{locked_server}/"]\n\tinsteadOf = {secure}\n'
    )
    monkeypatch.setattr(subprocess, "Popen", spy)
    settings = clone._user_settings("http|url")
    monkeypatch.setattr(clone, "_user_settings", lambda _: settings)
    monkeypatch.setattr("codeflow_miners.git.PROTOCOLS", "http")
    parsed = source(f"https://{login}{locked_server}/a/b")
    if parsed.login:  # the helper is bound to the host of the URL, which the test rewrites
        monkeypatch.setattr(clone, "_LOGIN_HELPER", clone._LOGIN_HELPER)
    with pytest.raises(RepositoryError) as caught:
        acquire(parsed, tmp_path / "cache", retries=0)
    assert caught.value.rule == "no-access"
    shown = repr(commands) + repr(caught.value) + repr(parsed)
    for path in (tmp_path / "cache").rglob("*"):
        shown += path.read_text(errors="replace") if path.is_file() else path.name
    assert "SECRET" not in shown
    assert _Https.seen[0] == ""


def test_a_hostile_remote_folder_runs_nothing_and_cannot_hold_us(tmp_path: Path) -> None:
    case = HOSTILE["executable-config"](tmp_path)
    assert case.canaries is not None
    cached = acquire(source(f"file://{case.line}"), tmp_path / "cache")
    acquire(source(f"file://{case.line}"), tmp_path / "cache")
    assert resolve_head(inspect_git_dir(cached), "main")
    assert list(case.canaries.iterdir()) == []
    fifo = HOSTILE["fifo-packed-refs"](tmp_path)
    with pytest.raises(LimitExceededError) as caught:
        acquire(source(f"file://{fifo.line}"), tmp_path / "cache", timeout_s=1)
    assert caught.value.rule == "timeout"


def test_somebody_elses_remote_folder(tmp_path: Path) -> None:
    case = HOSTILE["other-owner"](tmp_path)
    cached = acquire(source(f"file://{case.line}"), tmp_path / "cache")
    assert resolve_head(inspect_git_dir(cached), None)


@pytest.mark.parametrize("name", ["shallow", "sha256", "empty", "unborn-head"])
def test_a_remote_that_cannot_be_mined_says_why(name: str, tmp_path: Path) -> None:
    case = HOSTILE[name](tmp_path)
    url = source(f"file://{case.line}")
    for _ in range(2):  # cloned, then updated
        with pytest.raises(RepositoryError) as caught:
            resolve_head(inspect_git_dir(acquire(url, tmp_path / "cache", retries=0)), None)
        assert caught.value.rule in case.expect


def test_a_timeout_kills_everything_that_git_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(LimitExceededError):
        run_git(
            ["-c", f"alias.hang=!sleep 60 & echo $! > {pid}; wait", "hang"],
            timeout_s=1,
        )
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid.read_text()], capture_output=True)
        if state.stdout.strip()[:1] in (b"", b"Z"):
            break
        time.sleep(0.02)
    else:
        pytest.fail("a child of git outlived the timeout")


def test_only_allowed_transports_start(tmp_path: Path) -> None:
    for url in (f"ext::touch {tmp_path}/canary", "http://127.0.0.1:9/x"):
        with pytest.raises(GitFailedError, match="not allowed"):
            run_git(["ls-remote", "--", url])
    assert not (tmp_path / "canary").exists()


def test_an_empty_repository_with_a_ref_is_empty(tmp_path: Path) -> None:
    Repo.create(tmp_path / "r")
    with pytest.raises(RepositoryError) as caught:
        inspect_git_dir(tmp_path / "r")
    assert caught.value.rule == "empty"
