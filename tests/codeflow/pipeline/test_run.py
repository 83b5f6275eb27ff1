"""A run's folder: the same bytes for any workers and order, what it refuses, what it retries."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import faults
import varied
from codeflow.config import Limits, MineConfig, Window
from codeflow.contracts import Unit
from codeflow.errors import CodeflowError, UsageError
from codeflow.execution.failures import Failure
from codeflow.execution.ray_pool import RayPool
from codeflow.execution.units import find_result, run_unit
from codeflow.pipeline import workdir
from codeflow.pipeline.run import Execution, run
from codeflow.publish.summary import Summary
from codeflow.storage import layout, manifest
from codeflow.terminal.progress import make_progress
from codeflow_miners import flow
from codeflow_miners.acquire.repositories import read_list
from gitdag import Repo
from hostile import history
from small_history import SUPPORT

WHOLE = MineConfig(window=Window(0.0, 1.0))
COMMITS_ONLY = MineConfig(kinds=("commit",))


def mine(listing: Path, out: Path, config: MineConfig = WHOLE, **execution: Any) -> Summary:
    """A run in this process."""
    how = Execution(cache=out.parent / "cache", **execution)
    return run(read_list(listing), out, config, how, make_progress(False, io.StringIO()))


def ledger(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "ledger").to_pylist()
    return rows


def listing_of(folder: Path, *lines: object) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray of two workers for all tests here; its workers find our modules."""
    import ray

    folders = [*SUPPORT, os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(list, finished folder) of one worker. Read only."""
    folder = tmp_path_factory.mktemp("varied")
    listing = varied.varied(folder)
    mine(listing, folder / "out")
    return listing, folder / "out"


# -- the same bytes


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
    deadline = time.monotonic() + 5
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


# -- workers that die


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_a_worker_that_dies_is_replaced_and_one_that_keeps_dying_quarantined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("healthy", "dies-once", "dies-always"):
        history(tmp_path / name)
    listing = listing_of(tmp_path, *(tmp_path / n for n in ("healthy", "dies-once", "dies-always")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codeflow_miners.flow.read_content", faults.dying_content)
        summary = mine(listing, tmp_path / "out", workers=2)
    assert (tmp_path / "dies-once/died").exists()
    assert [(f.repo, f.rule) for f in summary.failed] == [("dies-always", "worker-died")]
    assert summary.deterministic is False
    assert manifest.read(tmp_path / "out")["deterministic"] is False
    [row] = [r for r in ledger(tmp_path / "out") if r["repo"] == "dies-always"]
    assert row["rule"] == "worker-died"
    assert "dies-always" in row["reason"]
    assert not list(tmp_path.glob("out/mined/dies-always*"))
    # the others are what they are without it
    mine(listing_of(tmp_path, tmp_path / "healthy", tmp_path / "dies-once"), tmp_path / "other")
    triples = [(tmp_path / n / "triples/train-00000-of-00001.parquet") for n in ("out", "other")]
    assert triples[0].read_bytes() == triples[1].read_bytes()
    leftovers = [p for p in (tmp_path / "out").rglob("*.tmp") if ".work" not in p.parts]
    assert leftovers == []


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_units_that_never_ran_are_cancelled_when_the_pool_closes(tmp_path: Path) -> None:
    pool = RayPool(tmp_path, 2, None)
    for k in range(6):
        pool.submit(Unit(f"u/{k}", faults.slow_unit, (str(tmp_path / f"ran-{k}"), 4.0)))
    pool.close()
    with pytest.raises(UsageError, match=r"Ray at .*: no answer"):
        raise_for_address("127.0.0.1:1")
    time.sleep(5.5)
    assert not list(tmp_path.glob("ran-*")), "a unit ran on after the pool was closed"


def raise_for_address(address: str) -> None:
    from codeflow.execution.ray_pool import _start_ray

    _start_ray(None, address)


# -- one folder, one question


def test_a_complete_folder_is_left_alone(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    listing, out = undisturbed
    shutil.copytree(out, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.name != "lock"}
    first = mine(listing, tmp_path / "out")
    again = mine(listing, tmp_path / "out", workers=2)  # never starts Ray
    assert first == again
    assert [f.rule for f in again.failed] == ["missing", "too-short"]
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.name != "lock"}
    assert {p: t for p, t in after.items() if p.is_file()} == {
        p: t for p, t in before.items() if p.is_file()
    }
    # the list's order is not part of the question
    assert mine(varied.varied(listing.parent, reverse=True), tmp_path / "out") == first


def test_a_complete_folder_that_moved_says_where_it_is(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing, out = undisturbed
    shutil.copytree(out, tmp_path / "moved")
    assert mine(listing, tmp_path / "moved").out == str(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert mine(listing, Path("moved")).next_command == "codeflow inspect moved"
    os.rename("moved", "moved again")  # the command is there to be copied
    assert mine(listing, Path("moved again")).next_command == "codeflow inspect 'moved again'"


def test_no_folder_of_this_machine_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(tmp_path / "a b")
    repo, _ = history(tmp_path / "gone")
    listing = listing_of(tmp_path, tmp_path / "a b", f"file://{repo.path}")
    read = flow.plan_contents

    def broken(arguments: Any, sink: Any) -> Any:
        if "gone" in sink._repository:
            shutil.rmtree(tmp_path / "cache")  # between two units: the next finds no objects
            return read(arguments, sink)
        raise ValueError(f"{tmp_path}/x cannot be")

    monkeypatch.setattr(flow, "plan_contents", broken)
    mine(listing, tmp_path / "out")
    rows = {row["repo"]: row for row in ledger(tmp_path / "out")}
    assert rows["a b"]["reason"] == "ValueError: x cannot be"
    assert 'File "test_run.py", line' in rows["a b"]["detail"]
    assert rows["gone"]["rule"] == "damaged"
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file() and layout.WORK not in path.parts:
            assert b"/" + os.fsencode(tmp_path.parent.name) not in path.read_bytes()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (replace(WHOLE, kinds=("commit",)), "kinds"),
        (replace(WHOLE, window=Window(0.0, 0.5)), "window.stop"),
        (replace(WHOLE, limits=Limits(min_commits=21)), "limits.min_commits"),
    ],
)
def test_other_keys_are_refused_by_name(
    config: MineConfig, named: str, undisturbed: tuple[Path, Path]
) -> None:
    listing, out = undisturbed
    with pytest.raises(UsageError) as caught:
        mine(listing, out, config)
    assert named in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_another_list_is_refused_and_fresh_starts_over(tmp_path: Path) -> None:
    repo, _ = history(tmp_path / "a")
    history(tmp_path / "b")
    out = tmp_path / "out"
    listing = listing_of(tmp_path, repo.path, tmp_path / "b")
    mine(listing, out, COMMITS_ONLY)
    for lines in ([repo.path], [repo.path, f"{tmp_path / 'b'}@main"]):
        with pytest.raises(UsageError, match="another repos;"):
            mine(listing_of(tmp_path, *lines), out, COMMITS_ONLY)
    listing = listing_of(tmp_path, repo.path)
    (out / "triples/stale.parquet").write_bytes(b"of another run")
    tip = repo.commit({"new.py": "x = 1\n"})
    mine(listing, out, COMMITS_ONLY, fresh=True)
    [entry] = manifest.read(out)["repositories"]
    assert entry["head"] == tip
    mine(listing, tmp_path / "new", COMMITS_ONLY)
    assert faults.published(out) == faults.published(tmp_path / "new")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_somebody_elses_is_not_touched(fresh: bool, tmp_path: Path) -> None:
    repo, _ = history(tmp_path / "r")
    out = tmp_path / "project"
    (out / "blobs").mkdir(parents=True)
    (out / "README.md").write_text("mine\n")
    (out / "blobs/b").write_text("mine\n")
    with pytest.raises(UsageError, match="holds other files"):
        mine(listing_of(tmp_path, repo.path), out, fresh=fresh)
    assert (out / "README.md").read_text() == (out / "blobs/b").read_text() == "mine\n"


def test_heads_stay_pinned_when_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, ids = history(tmp_path / "r")
    listing, out = listing_of(tmp_path, repo.path), tmp_path / "out"
    stop_before(monkeypatch, "mining.driver.Mining.mine_all")
    with pytest.raises(KeyboardInterrupt):
        mine(listing, out)
    monkeypatch.undo()
    repo.commit({"late.py": "x = 1\n"})
    mine(listing, out)
    assert manifest.read(out)["repositories"][0]["head"] == ids[-1]


def stop_before(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"codeflow.{step}", stop)


# -- what is tried again


def test_what_failed_to_open_is_tried_again_until_histories_are_divided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(tmp_path / "here")
    listing = listing_of(tmp_path, tmp_path / "here", tmp_path / "late")
    out = tmp_path / "out"
    real = workdir.files.write_json

    def stop_at_opened(path: Path, value: Any) -> None:
        if path.name == Path(layout.OPENED).name:
            raise KeyboardInterrupt
        real(path, value)

    monkeypatch.setattr("codeflow.storage.files.write_json", stop_at_opened)
    with pytest.raises(KeyboardInterrupt):
        mine(listing, out)
    monkeypatch.undo()
    failed = [p for p in out.glob(".work/done/late-*/acquire.json") if "missing" in p.read_text()]
    assert len(failed) == 1
    history(tmp_path / "late")
    assert mine(listing, out).failed == []

    # the same, but histories had been divided: the failure stays, and so does its row
    shutil.rmtree(tmp_path / "late")
    stop_before(monkeypatch, "mining.driver.Mining.mine_all")
    with pytest.raises(KeyboardInterrupt):
        mine(listing, tmp_path / "after")
    monkeypatch.undo()
    history(tmp_path / "late")
    assert [f.rule for f in mine(listing, tmp_path / "after").failed] == ["missing"]


def test_a_failed_shard_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing is not a repository's: its failure must not stick to the folder."""
    repo, _ = history(tmp_path / "r")
    listing = listing_of(tmp_path, repo.path)

    def fail(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("codeflow.publish.shards.files.link", fail)
    with pytest.raises(Exception, match="memory"):
        mine(listing, tmp_path / "out")
    monkeypatch.undo()
    assert mine(listing, tmp_path / "out").failed == []


@pytest.mark.parametrize(
    ("code", "place", "ours"),
    [
        (errno.ENOENT, "/repository/objects/ab/cd", False),
        (errno.EACCES, "/repository/objects/ab/cd", False),
        (errno.EIO, "/repository/objects/ab/cd", False),
        (errno.ENOSPC, "/tmp/scratch", True),
        (errno.EMFILE, "/repository/objects/ab/cd", True),
        (errno.EACCES, "{out}/mined/r/x.parquet", True),
        (errno.EIO, None, True),  # Arrow names no file, and writes ours
    ],
)
def test_a_file_that_fails_is_the_repositorys_or_the_runs(
    code: int, place: str | None, ours: bool, tmp_path: Path
) -> None:
    """What is wrong with a repository's files quarantines it; with ours, stops the run."""

    def fail(arguments: Any, sink: Any) -> dict[str, Any]:
        if place is None:
            raise OSError(code, os.strerror(code))
        raise OSError(code, os.strerror(code), place.format(out=tmp_path))

    unit = Unit("r/unit", fail, None)
    if ours:
        with pytest.raises(CodeflowError, match="run the same command again"):
            run_unit(unit, tmp_path)
        assert find_result("r/unit", tmp_path) is None, "it runs again"
        return
    found = run_unit(unit, tmp_path)
    assert isinstance(found, Failure)
    assert (found.rule, found.reason) == ("unreadable", f"cd: {os.strerror(code)}")
    assert find_result("r/unit", tmp_path) == found


def test_a_plug_in_that_does_not_load_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint("x", "no_such_module:MINERS", "codeflow.miners")
    monkeypatch.setattr("codeflow.plugins.entry_points.entry_points", lambda group: [broken])
    repo, _ = history(tmp_path / "r")
    with pytest.raises(UsageError, match="plug-in no_such_module:MINERS cannot be loaded"):
        mine(listing_of(tmp_path, repo.path), tmp_path / "out")


# -- limits


def limits_repository(path: Path) -> Repo:
    """30 commits in which one patch is long and one touches many files."""
    repo, _ = history(path)
    repo.commit({"long.txt": "a line of text\n" * 400})
    repo.commit({f"many/f{n}.py": f"x = {n}\n" for n in range(12)})
    for n in range(8):
        repo.commit({"src/app.py": f"y = {n}\n"})
    return repo


@pytest.mark.parametrize(
    ("limits", "stage", "rule", "rows"),
    [
        (Limits(max_patch_bytes=5000), "commit", "max-patch-bytes", 1),
        (Limits(max_triple_files=10), "commit", "max-triple-files", 1),
        (Limits(max_tree_files=5), "mine", "max-tree-files", 1),
        (Limits(min_commits=41), "open", "too-short", 1),
        (Limits(max_commits=39), "open", "max-commits", 1),
        (Limits(unit_seconds=0.0), "mine", "unit-seconds", 1),
    ],
)
def test_each_limit_has_its_row(
    limits: Limits, stage: str, rule: str, rows: int, tmp_path: Path
) -> None:
    repo = limits_repository(tmp_path / "r")
    config = MineConfig(kinds=("commit",), window=Window(0.0, 1.0), limits=limits)
    out = tmp_path / "out"
    summary = mine(listing_of(tmp_path, repo.path), out, config)
    found = [row for row in ledger(out) if row["rule"] == rule]
    assert len(found) == rows
    assert found[0]["stage"] == stage
    key, value = next((k, v) for k, v in vars(limits).items() if v != vars(Limits())[k])
    assert f"limits.{key}" in found[0]["reason"]
    assert f"{value:g}" in found[0]["reason"]
    whole = stage in ("open", "mine")
    assert [f.rule for f in summary.failed] == ([rule] if whole else [])
    assert sum(summary.triples_by_kind.values()) == (0 if whole else 38)
    timed = rule == "unit-seconds"
    assert manifest.read(out)["deterministic"] is not timed


def test_a_limit_one_lower_is_not_reached(tmp_path: Path) -> None:
    repo = limits_repository(tmp_path / "r")
    limits = Limits(max_triple_files=12, max_tree_files=12, min_commits=40, max_commits=40)
    config = MineConfig(kinds=("commit",), window=Window(0.0, 1.0), limits=limits)
    summary = mine(listing_of(tmp_path, repo.path), tmp_path / "out", config)
    assert summary.failed == []
    assert summary.triples_by_kind == {"commit": 39}


def test_a_limit_on_time_sticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was quarantined for its time stays so when the run goes on: bytes must not depend on
    how often it was stopped."""
    repo, _ = history(tmp_path / "r")
    listing, out = listing_of(tmp_path, repo.path), tmp_path / "out"
    config = MineConfig(limits=Limits(unit_seconds=0.0))
    stop_before(monkeypatch, "publish.publisher.Publishing.publish")
    with pytest.raises(KeyboardInterrupt):
        mine(listing, out, config)
    monkeypatch.undo()
    monkeypatch.setattr("codeflow_miners.deadline.Deadline.check", lambda self: None)
    assert [f.rule for f in mine(listing, out, config).failed] == ["unit-seconds"]
