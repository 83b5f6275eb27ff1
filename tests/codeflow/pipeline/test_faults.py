"""Runs that are killed, interrupted, or out of disk go on, and end with the same bytes."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

import faults
import varied
from codeflow.dataset.verify import verify
from codeflow.storage.lock import locked
from gitdag import Repo
from hostile import history
from small_history import SUPPORT

WINDOW = ("--window", "0:1")
FAULTS = pytest.mark.faults
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # <linux/prctl.h>, capability.h


class Reference(NamedTuple):
    """A finished run: its list, its files, and its touches of the disk in order."""

    listing: Path
    files: dict[str, bytes]
    touches: list[str]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    listing, out, log = varied.varied(folder), folder / "out", folder / "touches"
    done = faults.hurt(0, 0, listing, out, *WINDOW, log=log)
    assert done.returncode == 1, done.stderr  # one repository is missing
    return Reference(listing, faults.published(out), faults.touches(log, out))


def resumes(reference: Reference, out: Path) -> None:
    """The same command once more ends with the same bytes, and leaves no rubbish."""
    done = faults.mine(reference.listing, out, *WINDOW)
    assert done.returncode == 1, done.stderr
    assert faults.published(out) == reference.files
    assert list(out.rglob("*.tmp")) == []
    assert not (out / ".work/parts").exists()


# -- kill -9 of the driver

STAGES: dict[str, Callable[[str], bool]] = {
    "acquire": lambda t: t.endswith("acquire.json") or "codeflow-" in t,
    "families": lambda t: "families/" in t or "opened.json" in t,
    "content": lambda t: ".work/parts" in t or t.startswith("mined/") or t == "a row group",
    "outcome": lambda t: "outcome.json" in t or t.startswith("mined/index.json"),
    "decide": lambda t: t.startswith("decisions/") or ".work/done/dedup-" in t,
    "select": lambda t: "/select-" in t or "/reach-" in t or ".work/parts/publish-" in t,
    "publish": lambda t: t.split("/")[0] in faults.PUBLISHED or "manifest.json" in t,
}


def test_the_kills_cover_a_run(reference: Reference) -> None:
    for stage, belongs in STAGES.items():
        assert sum(map(belongs, reference.touches)) >= 4, stage
    assert any(t.endswith("(half)") for t in reference.touches)
    assert len(reference.touches) > 300


@pytest.mark.parametrize(
    "stage",
    [pytest.param(name, marks=() if name == "content" else pytest.mark.slow) for name in STAGES],
)
def test_a_killed_driver_goes_on(stage: str, reference: Reference, tmp_path: Path) -> None:
    rng = random.Random(f"driver {stage}")
    moments = [n for n, touch in enumerate(reference.touches, 1) if STAGES[stage](touch)]
    moment = rng.choice(moments)
    done = faults.hurt(signal.SIGKILL, moment, reference.listing, tmp_path / "out", *WINDOW)
    assert done.returncode == -signal.SIGKILL, f"touch {moment}"
    assert not (tmp_path / "out/manifest.json").exists() or stage == "publish"
    resumes(reference, tmp_path / "out")


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(20))
def test_a_driver_killed_again_and_again_goes_on(
    seed: int, reference: Reference, tmp_path: Path
) -> None:
    """Kills anywhere; the second and third of a seed hit a run that is going on."""
    rng = random.Random(seed)
    moment = rng.randrange(1, len(reference.touches) + 1)
    for again in range(3):
        done = faults.hurt(signal.SIGKILL, moment, reference.listing, tmp_path / "out", *WINDOW)
        assert done.returncode == -signal.SIGKILL or again
        moment = rng.randrange(1, max(20, len(reference.touches) - moment))
    resumes(reference, tmp_path / "out")


@pytest.mark.slow
def test_a_kill_at_every_touch_of_the_end_goes_on(reference: Reference, tmp_path: Path) -> None:
    """From the last shard to the summary, on copies of one folder that stopped before it."""
    last = len(reference.touches)
    start = last - 24
    faults.hurt(signal.SIGKILL, start, reference.listing, tmp_path / "start", *WINDOW)
    for n in range(1, 24, 5):
        shutil.copytree(tmp_path / "start", tmp_path / f"out{n}")
        faults.hurt(signal.SIGKILL, n + 3, reference.listing, tmp_path / f"out{n}", *WINDOW)
        resumes(reference, tmp_path / f"out{n}")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=FAULTS) for n in range(1, 4))])
def test_workers_that_are_killed_leave_no_trace(
    seed: int, reference: Reference, tmp_path: Path
) -> None:
    """At least seven kills of Ray workers a seed, each at some touch of the disk."""
    (tmp_path / "seed").write_text(f"{seed}")
    (tmp_path / "kills").mkdir()
    program = (
        "import sys, faults, codeflow.execution.ray_pool\n"
        "codeflow.execution.ray_pool._run_in_worker = faults.haunted_run_unit\n"
        "from codeflow.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = faults.mine_arguments(reference.listing, tmp_path / "out", *WINDOW)
    command = [sys.executable, "-c", program, *arguments, "--workers", "2"]
    done = faults.run(command, env=support_environment())
    assert done.returncode == 1, done.stderr
    assert faults.published(tmp_path / "out") == reference.files
    assert len(list((tmp_path / "kills").iterdir())) >= 7
    assert list((tmp_path / "out/mined").rglob("*.tmp")) == []


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_driver_of_ray_goes_on(seed: int, reference: Reference, tmp_path: Path) -> None:
    units = sum(
        re.fullmatch(r".work/done/[^/]+/[^/]+\.json", t) is not None for t in reference.touches
    )
    moment = random.Random(f"ray {seed}").randrange(units * 3 // 4)
    out = tmp_path / "out"
    process = start(reference.listing, out, "--workers", "2")
    wait_for(lambda: len(list(out.glob(".work/done/*/*.json"))) > moment, process)
    process.kill()
    process.communicate()
    resumes(reference, out)


def support_environment() -> dict[str, str]:
    """Child processes find the helpers of the tests, too."""
    folders = [*SUPPORT, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def start(listing: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = faults.mine_arguments(listing, out, *WINDOW, *more)
    return subprocess.Popen(
        [sys.executable, "-m", "codeflow", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never happened"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


# -- signals that ask


@pytest.mark.parametrize(
    ("signum", "stage"), [(signal.SIGINT, "content"), (signal.SIGTERM, "acquire")]
)
def test_a_run_that_is_asked_to_stop_says_so_and_goes_on(
    signum: int, stage: str, reference: Reference, tmp_path: Path
) -> None:
    moments = [n for n, touch in enumerate(reference.touches, 1) if STAGES[stage](touch)]
    moment = random.Random(signum).choice(moments[len(moments) // 2 :])
    done = faults.hurt(signum, moment, reference.listing, tmp_path / "out", *WINDOW)
    said_that_it_stopped(done.returncode, done.stderr)
    resumes(reference, tmp_path / "out")


def said_that_it_stopped(status: int | None, stderr: str) -> None:
    assert status == 130, stderr
    last = stderr.strip().splitlines()[-1]
    assert last == "codeflow: stopped; the same command goes on from here"
    assert "Traceback" not in stderr
    assert "Exception" not in stderr


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


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
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
    _, stderr = process.communicate(timeout=20)
    if signum == signal.SIGKILL:
        assert process.returncode == -signum
    else:
        said_that_it_stopped(process.returncode, stderr)
    connections[0].settimeout(10)
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
        _, stderr = process.communicate(timeout=60)
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
    _, stderr = process.communicate(timeout=60)
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


# -- disks that are full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 kB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root and the permission to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, size: str) -> None:
    options = f"remount,size={size}"
    subprocess.run(["mount", "-o", options, str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=FAULTS)])
def test_a_full_disk_stops_the_run_with_one_line(
    workers: int, reference: Reference, small_disk: Path
) -> None:
    """It fills up in steps, so that it is full in every stage of the run."""
    out = small_disk / "out"
    stopped_at = set()
    for size in (96, 160, 240, 320, 400, 480, 600, 800):
        remount(small_disk, f"{size}k")
        done = faults.mine(reference.listing, out, *WINDOW, workers=workers)
        if (out / "manifest.json").exists():
            break
        assert done.returncode == 1
        error = done.stderr.splitlines()[-1]
        assert error.startswith("codeflow: ")
        assert "no space left; free some" in error
        assert "Traceback" not in done.stderr
        stopped_at.add(len(list(out.glob(".work/done/*/*.json"))))
    assert len(stopped_at) >= 2, "the disk was not full at different moments"
    remount(small_disk, "4m")
    resumes(reference, out)


def test_a_full_disk_of_the_cache_stops_the_run(small_disk: Path, tmp_path: Path) -> None:
    """It is no fault of the repository: were it quarantined, it would be missing for good."""
    repo, _ = history(tmp_path / "r")
    repo.commit({"noise.bin": random.Random(0).randbytes(300_000)})
    listing, out = tmp_path / "list.txt", tmp_path / "out"
    listing.write_text(f"file://{repo.path}\n")
    done = faults.mine(listing, out, "--cache", str(small_disk / "cache"))
    assert done.returncode == 1
    assert "no space left; free some" in done.stderr.splitlines()[-1]
    assert not (out / "manifest.json").exists()
    remount(small_disk, "8m")
    done = faults.mine(listing, out, "--cache", str(small_disk / "cache"))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("limit", [600, 4_000, 9_000])
def test_files_that_may_not_grow(limit: int, reference: Reference, tmp_path: Path) -> None:
    """The fallback where nothing can be mounted: writes fail above a size of files."""
    done = faults.mine(
        reference.listing,
        tmp_path / "out",
        *WINDOW,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "codeflow: " in done.stderr.splitlines()[-1]
    assert "ulimit -f" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out/manifest.json").exists()
    resumes(reference, tmp_path / "out")


# -- one damaged object


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blob", "tree", "commit"])
def test_a_corrupt_object_costs_its_repository_alone(kind: str, tmp_path: Path) -> None:
    """It is quarantined with a reason that names the object; the others are as without it."""
    for name in ("first", "hurt", "last"):
        repo, ids = history(tmp_path / name)
        if name == "hurt":
            spec = {"blob": ":src/app.py", "tree": ":src", "commit": ""}[kind]
            bad = repo.git("rev-parse", ids[15] + spec).decode().strip()
            data = bytearray(repo.loose_path(bad).read_bytes())
            data[len(data) // 2] ^= 1
            repo.loose_path(bad).write_bytes(data)
    (tmp_path / "all.txt").write_text("first\nhurt\nlast\n")
    (tmp_path / "whole.txt").write_text("first\nlast\n")
    done = faults.mine(tmp_path / "all.txt", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert faults.mine(tmp_path / "whole.txt", tmp_path / "other").returncode == 0
    [row] = [r for r in pq.read_table(tmp_path / "out/ledger").to_pylist() if r["repo"] == "hurt"]
    assert row["rule"] == "damaged-object"
    assert bad in row["reason"]
    ours, theirs = faults.published(tmp_path / "out"), faults.published(tmp_path / "other")
    for table in ("triples", "blobs", "trees"):
        names = [name for name in ours if name.startswith(table)]
        assert [ours[name] for name in names] == [theirs[name] for name in names]
    assert verify(tmp_path / "out").ok


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [0, 1])
def test_a_damaged_fork_gives_its_steps_back(stop_at: int, tmp_path: Path) -> None:
    """Steps that a fork took and could not give are mined from the next one that has them."""
    repo, ids = history(tmp_path / "whole")
    ends = {"whole": ids[-1]}
    for name in ("second", "longest"):  # longest has the most commits, so it is asked first
        shutil.copytree(repo.path, tmp_path / name)
        for n in range(2 if name == "second" else 3):
            copy = Repo(tmp_path / name, tmp_path / name, tip=ends.get(name, ids[-1]))
            copy.snapshots = repo.snapshots
            ends[name] = copy.commit({f"{name}.py": f"x = {n}\n"}, message=f"{name} {n}")
            repo.snapshots |= copy.snapshots
    bad = repo.git("rev-parse", f"{ids[15]}:src/app.py").decode().strip()
    for name in ("longest", "second"):
        (tmp_path / name / "objects" / bad[:2] / bad[2:]).unlink()
    listing, out = tmp_path / "list.txt", tmp_path / "out"
    listing.write_text("longest\nsecond\nwhole\n")
    more = ("--kinds", "commit", "--window", "0:1", "--until", "mine")
    if stop_at:
        log = tmp_path / "log"
        faults.hurt(0, 0, listing, tmp_path / "full", *more, log=log)
        touches = faults.touches(log, tmp_path / "full")
        moment = max(n for n, touch in enumerate(touches, 1) if ".1/" in touch)
        done = faults.hurt(signal.SIGKILL, moment, listing, out, *more)
        assert done.returncode == -signal.SIGKILL
    assert faults.mine(listing, out, *more).returncode == 1
    rows = pq.read_table(out / "triples").to_pylist()
    assert {row["repo"] for row in rows} == {"whole"}
    steps = [(row["old_commit"], row["new_commit"]) for row in rows]
    assert sorted(steps) == sorted(itertools.pairwise(ids))
    failed = [row["repo"] for row in pq.read_table(out / "ledger").to_pylist()]
    assert failed == ["longest", "second"]
    assert verify(out).ok
    if stop_at:
        assert faults.published(out) == faults.published(tmp_path / "full")


@pytest.fixture
def ordinary_user(tmp_path: Path) -> Callable[[], None]:
    """To be called in a child process: it reads only what its user may, even where that is root."""

    def give_up_overrides() -> None:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) if os.geteuid() == 0 else ():
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    (tmp_path / "closed").touch(0)
    read = ["cat", str(tmp_path / "closed")]
    if not hasattr(ctypes.CDLL(None), "prctl") and os.geteuid() == 0:
        pytest.skip("root reads everything here")
    if not subprocess.run(read, preexec_fn=give_up_overrides, capture_output=True).returncode:
        pytest.skip("root reads everything, and may not give that up")
    return give_up_overrides


@pytest.mark.parametrize("closed", ["a blob", "", ".git", ".git/objects", ".git/refs", ".git/HEAD"])
def test_what_may_not_be_read_costs_its_repository_alone(
    closed: str, ordinary_user: Callable[[], None], tmp_path: Path
) -> None:
    repo, ids = history(tmp_path / "r", bare=False)
    history(tmp_path / "s")
    blob = repo.git("rev-parse", f"{ids[15]}:src/app.py").decode().strip()
    path = repo.loose_path(blob) if closed == "a blob" else repo.path / closed
    listing, out = tmp_path / "list.txt", tmp_path / "out"
    listing.write_text("r\ns\n")
    words = ("--until", "mine", *WINDOW)
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        done = faults.mine(listing, out, *words, preexec_fn=ordinary_user)
    finally:
        path.chmod(mode)
    assert done.returncode == 1, done.stderr
    [row] = [r for r in pq.read_table(out / "ledger").to_pylist() if r["repo"] == "r"]
    assert row["rule"] == "unreadable", row
    assert str(tmp_path) not in row["reason"]
    triples = pq.read_table(out / "triples", columns=["repo"]).to_pylist()
    assert {row["repo"] for row in triples} == {"s"}
