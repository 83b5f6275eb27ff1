"""How many workers a run has: as many as are given, else as many as end the work first."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from codeflow.config import MineConfig
from codeflow.execution import sized_pool as pools
from codeflow.execution.ray_pool import RayPool
from codeflow.execution.serial_pool import SerialPool
from codeflow.execution.sized_pool import RAY_START_S, SizedPool, make_pool
from codeflow.pipeline.run import run
from codeflow.pipeline.session import Execution
from codeflow.terminal.progress import make_progress
from codeflow_miners.acquire.repositories import parse_sources
from small_history import codeflow, small_history


@pytest.mark.parametrize("cores", [2, 3, 8, 64])
def test_ray_is_started_where_it_ends_sooner_and_only_there(cores: int, tmp_path: Path) -> None:
    pool = SizedPool(tmp_path, cores, print)
    for work_s in (0.0, 1.0, 5.0, 7.0, 11.0, 13.0, 60.0, 3600.0):
        alone_s, together_s = work_s, RAY_START_S + work_s / cores
        assert pool.workers_for(work_s) == (cores if together_s < alone_s else 1)


def test_one_core_never_starts_it(tmp_path: Path) -> None:
    assert SizedPool(tmp_path, 1, print).workers_for(1e9) == 1


def test_a_number_that_is_given_is_the_number(tmp_path: Path) -> None:
    assert isinstance(make_pool(tmp_path, 1, None), SerialPool)
    assert isinstance(make_pool(tmp_path, None, None), SizedPool)


def test_a_small_run_stays_in_its_process_and_says_how_long_it_takes(tmp_path: Path) -> None:
    small_history(tmp_path / "one.git")
    done = codeflow("mine", "--repos", "one.git", "--out", "data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Ray" not in done.stderr
    first = done.stderr.splitlines()[0]
    assert first == "12 commits of 1 repository to mine: a few seconds in this process"
    for words in (("filter", "data", "--filter", "none"), ("mix", "data", "--sampler", "uniform")):
        again = codeflow(*words, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
        assert "Ray" not in again.stderr
        [line] = [line for line in again.stderr.splitlines() if "in this process" in line]
        assert " triples: a few seconds in this process" in line


@pytest.mark.slow
def test_changing_to_ray_in_the_middle_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is worth it as soon as there is anything to do, so that histories are read here."""
    repo = small_history(tmp_path / "one.git", 60)
    sources = parse_sources([str(repo.path)], tmp_path)
    said = io.StringIO()

    def mined(name: str, workers: int | None) -> dict[str, bytes]:
        execution = Execution(workers, cache=tmp_path / "cache")
        out = tmp_path / name
        run(sources, out, MineConfig(), execution, make_progress(False, said))
        return {str(p.relative_to(out)): p.read_bytes() for p in out.glob("*/*.parquet")}

    alone = mined("alone", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(pools, "RAY_START_S", 0.11)  # more than opening one, less than 24 steps
    started: list[int] = []
    real = RayPool.__init__

    def starting(self: RayPool, *how: object) -> None:
        started.append(len(list((tmp_path / "sized" / ".work/done").glob("*/history.json"))))
        real(self, *how)  # type: ignore[arg-type]

    monkeypatch.setattr(RayPool, "__init__", starting)
    monkeypatch.setattr("codeflow.mining.driver.STEP_S", 1.0)
    assert mined("sized", None) == alone
    assert started == [1], "once, after the history was read"
    assert "Ray is up" in said.getvalue()
    assert "Ray is down" in said.getvalue()
