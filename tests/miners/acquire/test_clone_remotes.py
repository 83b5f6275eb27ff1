"""Remotes over the network: retries, logins, and what may not be used or trusted."""

import base64
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloned import refs_of, source
from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.acquire import clone
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.git import GitFailedError, last_words, run_git
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head, tags
from codeflow_miners.acquire.repositories import Source
from gitdag import ENV, git
from hostile import HOSTILE, history

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """git's own server for everything below `tmp_path`."""
    if not (Path(git("--exec-path").decode().strip()) / "git-daemon").exists():
        pytest.skip("this git comes without its daemon")
    command = ["git", "daemon", "--inetd", "--export-all", f"--base-path={tmp_path}", str(tmp_path)]
    with socket.create_server(("127.0.0.1", 0)) as server:  # a port of ours from the first moment

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    subprocess.run(
                        command,
                        env=ENV,
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=subprocess.DEVNULL,
                    )

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"git://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


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
    tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    fake = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic, time=time.time)
    monkeypatch.setattr(clone, "time", fake)
    with pytest.raises(RepositoryError) as caught:
        acquire(source(f"git://127.0.0.1:{closed_port}/r"), tmp_path / "cache", retries=3)
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
        ("error: RPC failed; HTTP 503 error: 503\nfatal: early EOF", "unreachable", True),
        ("fatal: unable to access 'U': The requested URL returned error: 429", "unreachable", True),
        ("fatal: unable to access 'U': Empty reply from server", "unreachable", True),
        ("error: RPC failed; curl 18 transfer closed with outstanding read data remaining",
         "unreachable", True),
        ("error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec transferred the "
         "last 60 seconds", "stalled", True),
        ("fatal: unable to access 'U': HTTP/2 stream 1 was not closed cleanly", "unreachable",
         True),
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


class _Web(ThreadingHTTPServer):
    """Asks for a login and then knows nothing; or sends everybody to another server."""

    def __init__(self, elsewhere: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.elsewhere = elsewhere
        self.logins: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: _Web

    def do_GET(self) -> None:
        login = self.headers.get("Authorization", "")
        self.server.logins.append(login)
        if self.server.elsewhere:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere + self.path)
        else:
            self.send_response(404 if login else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Web, _Web]]:
    """A server, and another that redirects to it; plain http, for want of certificates."""
    monkeypatch.setattr("codeflow_miners.acquire.git.PROTOCOLS", "http")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    first = _Web()
    second = _Web(elsewhere=first.url)
    yield first, second
    for server in (first, second):
        server.shutdown()
        server.server_close()


def over_http(line: str, url: str) -> Source:
    parsed = source(line)
    return replace(parsed, location=f"{url}/a/b", url=f"{url}/a/b", problem="")


def test_a_login_reaches_its_host_and_nothing_else(
    web: tuple[_Web, _Web], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[object] = []
    popen = subprocess.Popen

    def spy(command: Any, **options: Any) -> object:
        commands.append(command)
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    server, redirect = web
    for target, rule, sent in ((server, "missing", True), (redirect, "no-access", False)):
        server.logins.clear()
        parsed = over_http("https://me:SECRET%2F1@h.org/a/b", target.url)
        with pytest.raises(RepositoryError) as caught:
            acquire(parsed, tmp_path / "cache", retries=0)
        assert caught.value.rule == rule
        expected = "Basic " + base64.b64encode(b"me:SECRET/1").decode()
        assert (expected in server.logins) is sent
        shown = repr(commands) + repr(caught.value) + repr(parsed)
        for path in (tmp_path / "cache").rglob("*"):
            shown += path.read_text(errors="replace") if path.is_file() else path.name
        assert "SECRET" not in shown


def test_without_a_login_nothing_is_asked(web: tuple[_Web, _Web], tmp_path: Path) -> None:
    with pytest.raises(RepositoryError) as caught:
        acquire(over_http("https://h.org/a/b", web[0].url), tmp_path / "cache", retries=2)
    assert caught.value.rule == "no-access"
    assert web[0].logins == [""]


def test_of_the_users_settings_only_the_way_to_a_host_is_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[include]\n\tpath = more\n[user]\n\tname = Ada\n[credential]\n\thelper = store\n"
        '[credential "https://h.org"]\n\tusername = ada\n[core]\n\tautocrlf = true\n'
    )
    (home / "more").write_text("[http]\n\tproxy = http://proxy.example:3128\n")
    assert clone._user_settings("http|credential") == [
        ("http.proxy", "http://proxy.example:3128"),
        ("credential.helper", "store"),
        ("credential.https://h.org.username", "ada"),
    ]


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


@pytest.mark.parametrize(
    "name", ["shallow", "sha256", "empty", "unborn-head", "missing-ref", "tag-of-a-blob"]
)
def test_a_remote_that_cannot_be_mined_says_why(name: str, tmp_path: Path) -> None:
    case = HOSTILE[name](tmp_path)
    url = source(f"file://{case.line}")
    for _ in range(2):  # cloned, then updated
        with pytest.raises(RepositoryError) as caught:
            resolve_head(inspect_git_dir(acquire(url, tmp_path / "cache", retries=0)), url.ref)
        assert caught.value.rule in case.expect


@pytest.mark.slow
def test_a_timeout_kills_everything_that_git_started() -> None:
    reader, writer = os.pipe()
    hang = "alias.hang=!sleep 60 & sleep 60"
    with pytest.raises(LimitExceededError):
        run_git(["-c", hang, "hang"], timeout_s=1, pass_fds=[writer])
    os.close(writer)
    ended, _, _ = select.select([reader], [], [], 30)
    assert ended  # the pipe ends with the last process that holds it
    os.close(reader)


def test_only_allowed_transports_start(tmp_path: Path) -> None:
    for url in (f"ext::touch {tmp_path}/canary", "http://127.0.0.1:9/x"):
        with pytest.raises(GitFailedError, match="not allowed"):
            run_git(["ls-remote", "--", url])
    assert not (tmp_path / "canary").exists()
