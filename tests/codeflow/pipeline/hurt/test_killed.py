"""A run that is killed, its driver or its workers, goes on and ends with the same bytes."""

from __future__ import annotations

import random
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

import faults
from resumed import FAULTS, STAGES, WINDOW, Reference, resumes, start, support_environment, wait_for


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
