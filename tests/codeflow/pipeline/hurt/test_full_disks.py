"""A disk that is full stops a run with one line, and what was begun goes on."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import faults
from hostile import history
from resumed import FAULTS, WINDOW, Reference, resumes


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
