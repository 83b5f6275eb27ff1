"""A damaged repository, or one that may not be read, costs itself and nothing else."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import faults
from codeflow.dataset.verify import verify
from gitdag import Repo
from hostile import history
from resumed import WINDOW

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # <linux/prctl.h>, capability.h


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
