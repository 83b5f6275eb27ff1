"""Places that cannot be written, disks that are full, and things that lie in the way of a command:
one line, a documented status, and nothing lost."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import faults
from damages import copied
from damages import run as run_here
from small_history import environment, small_history

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # <linux/prctl.h>, capability.h
RUNNING = [sys.executable, "-m", "codeflow"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder with its list and labels. Read only."""
    folder = tmp_path_factory.mktemp("places")
    small_history(folder / "small.git")
    (folder / "list.txt").write_text(f"{folder}/small.git\n")
    words = ("--filter", "none", "--validation", "0.2", "--window", "0:1", "--workers", 1)
    done = run_here("mine", "--repos", folder / "list.txt", "--out", folder / "data", *words)
    assert done.status == 0, done.err
    ids = [line.split('"')[3] for line in label_lines(folder)]
    (folder / "id").write_text(ids[0])
    return folder


def label_lines(folder: Path) -> list[str]:
    import codeflow

    triples = list(codeflow.open(folder / "data").triples(columns=["id"]))
    lines = [f'{{"id": "{t.id}", "label": {n % 2}}}' for n, t in enumerate(triples)]
    (folder / "labels.jsonl").write_text("\n".join(lines))
    return lines


def writing(made: Path, data: Path, place: Path) -> dict[str, tuple[object, ...]]:
    """Every command that writes; where it can be chosen, below `place`."""
    id = (made / "id").read_text()
    return {
        "mine": ("mine", "--repos", made / "list.txt", "--out", place / "new", "--workers", 1),
        "checkout": ("checkout", data, id, "--side", "old", "--to", place / "side"),
        "report": ("report", data, "--out", place / "page.html"),
        "export-data": ("export-data", data, "--format", "commitpack", "--to", place / "x.jsonl"),
        "quality": (
            *("quality", "train", data, "--labels", made / "labels.jsonl"),
            *("--out", place / "model.json"),
        ),
    }


def rewriting(data: Path, made: Path) -> dict[str, tuple[object, ...]]:
    """Every command that writes into a dataset folder."""
    return {
        "mine": ("mine", "--repos", made / "list.txt", "--out", data, "--workers", 1, *FRESH),
        "filter": ("filter", data, "--filter", "size"),
        "dedup": ("dedup", data, "--threshold", 0.9),
        "mix": ("mix", data, "--budget", 3000),
        "publish": ("publish", data, "--validation", 0.3),
        "report": ("report", data),
    }


FRESH = ("--fresh",)
NAMES = ("mine", "checkout", "report", "export-data", "quality")


def one_line(words: tuple[object, ...], **options: object) -> str:
    """Runs a command that must fail; its one line."""
    command = [*RUNNING, *map(str, words)]
    done = faults.run(command, env=environment(), **options)
    assert done.returncode in (1, 2), (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("codeflow: ")]
    assert len(errors) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    assert "; " in errors[0]
    return errors[0]


@pytest.mark.parametrize("command", NAMES)
@pytest.mark.parametrize("place", ["/proc", "a file", "no such folder"])
def test_where_nothing_can_be_written(command: str, place: str, made: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("mine\n")
    at = Path(place) if place == "/proc" else tmp_path / place
    if place == "no such folder" and command not in ("checkout",):
        return  # it is made
    line = one_line(writing(made, made / "data", at)[command])
    assert str(at) in line
    assert (tmp_path / "a file").read_text() == "mine\n"
    assert not list(tmp_path.glob(".side*"))


@pytest.fixture
def closed(tmp_path: Path) -> Callable[[], None]:
    """Makes a child process an ordinary user, for whom modes count; skips where that is not to be
    had."""

    def give_up_overrides() -> None:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) if os.geteuid() == 0 else ():
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    (tmp_path / "unreadable").touch(0)
    read = ["cat", str(tmp_path / "unreadable")]
    if not hasattr(ctypes.CDLL(None), "prctl") and os.geteuid() == 0:
        pytest.skip("root reads everything here")
    if not subprocess.run(read, preexec_fn=give_up_overrides, capture_output=True).returncode:
        pytest.skip("root reads everything, and may not give that up")
    (tmp_path / "unreadable").unlink()
    return give_up_overrides


@pytest.mark.parametrize("command", ["filter", "dedup", "mix", "publish", "report", "mine"])
def test_a_folder_that_may_only_be_read(
    command: str, made: Path, closed: Callable[[], None], tmp_path: Path
) -> None:
    data = copied(made / "data", tmp_path / "data")
    paths = [data, *data.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        before = faults.published(data)
        line = one_line(rewriting(data, made)[command], preexec_fn=closed)
        assert str(data) in line
        assert "Permission denied" in line
        assert faults.published(data) == before
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize(
    "name", ["mined/index.json", "manifest.json", "decisions/filter/*.parquet"]
)
@pytest.mark.parametrize("command", ["mine", "filter", "publish", "dedup", "inspect", "verify"])
def test_a_file_that_may_not_be_read(
    command: str, name: str, made: Path, closed: Callable[[], None], tmp_path: Path
) -> None:
    """It is not damaged, so nothing is said or done to mend it."""
    data = copied(made / "data", tmp_path / "data")
    [path] = data.glob(name)
    before = path.read_bytes()
    path.chmod(0)
    words = {"verify": ("verify", data), "inspect": ("inspect", data)} | rewriting(data, made)
    words["mine"] = ("mine", "--repos", made / "list.txt", "--out", data, "--workers", 1)
    words["publish"] = ("publish", data)
    command_line = [*RUNNING, *map(str, words[command])]
    done = faults.run(command_line, env=environment(), preexec_fn=closed)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1)
    if done.returncode and command != "verify":
        assert f"{path}: cannot be read: Permission denied; mend that" in done.stderr
    assert path.exists()
    if done.returncode:
        path.chmod(0o644)
        assert path.read_bytes() == before


@pytest.mark.parametrize("command", ["checkout", "report", "export-data", "quality"])
def test_a_place_of_somebody_elses(
    command: str, made: Path, closed: Callable[[], None], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o555)
    line = one_line(writing(made, made / "data", place)[command], preexec_fn=closed)
    assert str(place) in line
    assert "Permission denied" in line
    assert list(place.iterdir()) == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root and the permission to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("command", NAMES)
def test_a_full_disk(command: str, made: Path, full_disk: Path) -> None:
    with contextlib.suppress(OSError):
        (full_disk / "rest").write_bytes(bytes(64 << 10))
    line = one_line(writing(made, made / "data", full_disk)[command])
    assert str(full_disk) in line
    assert "o space left" in line
    assert "free s" in line
    assert not [p for p in full_disk.iterdir() if p.name not in ("rest", "new")]


@pytest.mark.parametrize("command", ["filter", "dedup", "mix", "publish", "report", "mine"])
def test_files_that_may_not_grow(command: str, made: Path, tmp_path: Path) -> None:
    data = copied(made / "data", tmp_path / "data")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))

    line = one_line(rewriting(data, made)[command], preexec_fn=limit)
    assert str(data) in line
    assert "ulimit -f" in line
    done = run_here(*rewriting(data, made)[command])
    assert done.status == 0, done.err
    assert run_here("verify", data).status == 0


@pytest.mark.parametrize("command", ["inspect", "verify", "filters"])
def test_an_output_that_is_full(command: str, made: Path) -> None:
    words = (command,) if command == "filters" else (command, made / "data")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*RUNNING, *map(str, words)],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    assert line == "codeflow: the output: no space left; free some and run the same command again"


def test_a_device_keeps_its_place(made: Path, tmp_path: Path) -> None:
    """A link to one, so that a failure of this test takes nothing from the machine."""
    place = tmp_path / "null"
    place.symlink_to("/dev/null")
    done = run_here("report", made / "data", "--out", place)
    assert (done.status, done.err) == (
        2, f"codeflow: {place}: is a device, not a file; give another path\n",
    )  # fmt: skip
    assert place.is_symlink()


def test_a_place_below_nothing_that_can_be_made(made: Path) -> None:
    done = run_here("report", made / "data", "--out", "/proc/nowhere/page.html")
    assert done.status == 1
    assert (
        done.err
        == "codeflow: /proc/nowhere/page.html: No such file or directory; give another place\n"
    )


@pytest.mark.parametrize("name", ["mined", "decisions", "triples", "blobs", ".work"])
@pytest.mark.parametrize("command", ["mine", "filter", "publish", "verify", "inspect", "report"])
def test_a_file_where_a_folder_belongs(name: str, command: str, made: Path, tmp_path: Path) -> None:
    data = copied(made / "data", tmp_path / "data")
    shutil.rmtree(data / name)
    (data / name).write_text("x")
    words = {"verify": ("verify", data), "inspect": ("inspect", data)}
    done = run_here(*(words | rewriting(data, made))[command])
    assert done.status in (0, 1, 2)
    if done.status and command != "verify":
        last = done.err.splitlines()[-1]
        assert last.startswith("codeflow: ")
        assert "; " in last
        assert str(data) in last
