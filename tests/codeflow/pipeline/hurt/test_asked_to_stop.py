"""A run that is asked to stop says so, takes along what it started, and goes on later."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import faults
from codeflow.storage.lock import locked
from hostile import history
from resumed import STAGES, WINDOW, Reference, resumes, said_that_it_stopped, start, wait_for


@pytest.mark.parametrize(
    ("signum", "stage"),
    [(signal.SIGINT, "content"), pytest.param(signal.SIGTERM, "acquire", marks=pytest.mark.slow)],
)
def test_a_run_that_is_asked_to_stop_says_so_and_goes_on(
    signum: int, stage: str, reference: Reference, tmp_path: Path
) -> None:
    moments = [n for n, touch in enumerate(reference.touches, 1) if STAGES[stage](touch)]
    moment = random.Random(signum).choice(moments[len(moments) // 2 :])
    done = faults.hurt(signum, moment, reference.listing, tmp_path / "out", *WINDOW)
    said_that_it_stopped(done.returncode, done.stderr)
    resumes(reference, tmp_path / "out")


@pytest.fixture
def silent_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A git:// URL whose server takes connections and never says a word."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connections.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"git://127.0.0.1:{server.getsockname()[1]}/repository", connections
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGINT,
        *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGKILL)),
    ],
)
def test_a_clone_ends_with_the_run(
    signum: int, silent_server: tuple[str, list[socket.socket]], tmp_path: Path
) -> None:
    """Stopping does not wait for a server, and leaves no git behind that would lock the cache."""
    url, connections = silent_server
    history(tmp_path / "r")
    listing = tmp_path / "list.txt"
    listing.write_text(f"{tmp_path}/r\n{url}\n")
    process = start(listing, tmp_path / "out", "--workers", "1")
    wait_for(lambda: bool(connections), process)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=240)
    if signum == signal.SIGKILL:
        assert process.returncode == -signum
    else:
        said_that_it_stopped(process.returncode, stderr)
    connections[0].settimeout(240)
    while connections[0].recv(4096):  # the request, then the end: git is gone
        pass


@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_cluster_that_is_up_is_used_and_left_alone(
    signum: int, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle its tasks are gone; the next run on it ends with the same bytes."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # newer Rays ask for a token
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    head = ("start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false")
    node = subprocess.Popen(
        [*ray, *head, "--block", f"--temp-dir=/tmp/rt{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address, out = f"127.0.0.1:{port}", tmp_path / "out"
        wait_for(lambda: listens(port))
        time.sleep(5)
        process = start(reference.listing, out, "--ray-address", address)
        wait_for(lambda: len(list(out.glob(".work/done/*/history.json"))) > 0, process)
        process.send_signal(signum)
        _, stderr = process.communicate(timeout=240)
        said_that_it_stopped(process.returncode, stderr)
        time.sleep(2)
        before = sorted(out.glob(".work/done/**/*.json"))
        time.sleep(1)
        assert sorted(out.glob(".work/done/**/*.json")) == before, "something works on"
        arguments = faults.mine_arguments(reference.listing, out, *WINDOW)
        command = [sys.executable, "-m", "codeflow", *arguments, "--ray-address", address]
        done = faults.run(command)
        assert done.returncode == 1, done.stderr
        assert faults.published(out) == reference.files
        assert listens(port)
    finally:
        node.terminate()
        node.wait(60)
        shutil.rmtree(f"/tmp/rt{port}", ignore_errors=True)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_on_ray_that_is_asked_to_stop(
    signum: int, reference: Reference, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(reference.listing, out, "--workers", "2")
    wait_for(lambda: len(list(out.glob(".work/done/*/history.json"))) > 0, process)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=240)
    said_that_it_stopped(process.returncode, stderr)
    resumes(reference, out)


def test_a_second_run_in_a_live_folder_is_refused(reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        for more in ((), ("--fresh",)):
            done = faults.mine(reference.listing, tmp_path / "out", *WINDOW, *more)
            assert done.returncode == 2
            [line] = done.stderr.splitlines()
            assert "another run is at work in this folder" in line
    resumes(reference, tmp_path / "out")


@pytest.mark.slow
def test_an_unknown_cluster_is_one_line(reference: Reference, tmp_path: Path) -> None:
    for address in ("127.0.0.1:1", "no.such.host.invalid:6379", "nonsense"):
        more = ("--ray-address", address)
        done = faults.mine(reference.listing, tmp_path / "out", *WINDOW, *more)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert line.startswith(f"codeflow: Ray at {address}: ")
    resumes(reference, tmp_path / "out")
