"""A run's files are the same bytes for any workers, any order, and any seed of hashes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import faults
import varied
from codeflow.config import MineConfig, Window
from codeflow.storage import manifest
from hostile import history
from mined_lists import ledger, listing_of, mine


def test_the_reference_has_what_can_differ(undisturbed: tuple[Path, Path]) -> None:
    _, out = undisturbed
    values = manifest.read(out)
    assert set(values["triples"]) == {"commit", "span"}
    assert values["deterministic"] is True
    assert list((out / ".work/done/families").iterdir()), "forks were divided"
    assert {row["rule"] for row in ledger(out)} >= {"missing", "too-short", "binary"}
    steps = pq.read_table(out / "triples", columns=["kind", "old_commit", "new_commit"])
    rows = [tuple(row.values()) for row in steps.to_pylist()]
    assert len(set(rows)) == len(rows), "no step is mined twice"
    assert not list((out / ".work").glob("parts"))


def test_any_order_of_the_list_gives_the_same_bytes(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    listing, out = undisturbed
    mine(varied.varied(listing.parent, reverse=True), tmp_path / "out")
    assert faults.published(tmp_path / "out") == faults.published(out)


@pytest.mark.usefixtures("ray")
def test_two_workers_give_the_same_bytes(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    listing, out = undisturbed
    mine(listing, tmp_path / "out", workers=2)
    assert faults.published(tmp_path / "out") == faults.published(out)


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_two_workers_give_them_for_any_order_of_the_list(
    undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    listing, out = undisturbed
    reversed_list = varied.varied(listing.parent, reverse=True)
    mine(reversed_list, tmp_path / "reversed", workers=2)
    assert faults.published(tmp_path / "reversed") == faults.published(out)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_ray_ends_with_the_run(tmp_path: Path) -> None:
    """All of its processes, also those that its own daemons started."""

    def of_ray() -> set[str]:
        """Those that stand in our folder: other tests may have a Ray of theirs at the same time."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words, stands_in = path.read_bytes(), path.with_name("cwd").readlink()
                if stands_in == here and (b"/ray/" in words or words.startswith(b"ray::")):
                    found.add(path.parent.name)
        return found

    history(tmp_path / "r")
    here = tmp_path.resolve()
    words = faults.mine_arguments(
        listing_of(tmp_path, "r"), tmp_path / "out", "--until", "mine", "--workers", "2"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "codeflow", *words], cwd=here, stderr=subprocess.PIPE, text=True
    )
    seen: set[str] = set()
    while process.poll() is None:
        seen |= of_ray()
        time.sleep(0.05)
    assert process.stderr is not None
    assert "Ray is down" in process.stderr.read()
    assert len(seen) > 4, "its processes stand elsewhere, and none would be found below"
    deadline = time.monotonic() + 240
    while (left := of_ray()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@pytest.mark.parametrize(
    "seed", ["1", *(pytest.param(seed, marks=pytest.mark.slow) for seed in ("2", "3"))]
)
def test_the_order_of_sets_leaves_no_trace(
    seed: str, undisturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    """Python hashes strings differently in every process, and so do the workers of a run."""
    listing, out = undisturbed
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    words = ("--window", "0:1", "--until", "mine")
    faults.mine(listing, tmp_path / "out", *words, env=environment)
    assert faults.published(tmp_path / "out") == faults.published(out)


def test_another_window_gives_other_bytes(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    """The comparison can fail."""
    listing, out = undisturbed
    mine(listing, tmp_path / "out", MineConfig(window=Window(0.0, 0.9)))
    ours, theirs = faults.published(tmp_path / "out"), faults.published(out)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] != theirs[name] for name in ours if "ledger" not in name)
