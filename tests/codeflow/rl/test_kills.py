"""`kill -9` at random moments of sampling, grading, writing, updating and saving."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from bandits import ONE, learnt, made, with_run
from codeflow.rl.rollouts import path_of
from codeflow.train.state import checkpoint
from ranks import context

SLOWLY_AT_RANDOM = """import random, time
def reward(line, reply):
    time.sleep(0.001)
    return random.SystemRandom().random() + (reply.ids[:1] == (7,))
"""
STEPS = 16


def _train(folder: Path) -> None:
    torch.set_num_threads(1)
    recipe = made(folder, ONE, SLOWLY_AT_RANDOM, steps=STEPS, updates=2, max_new_tokens=3)
    learnt(folder, with_run(recipe, checkpoint_every_steps=1, keep_checkpoints=3))


def killed(folder: Path, delay_s: float) -> bool:
    """Whether a run that was started in the folder had to be killed."""
    process = context.Process(target=_train, args=(folder,), daemon=True)
    process.start()
    process.join(delay_s)
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        return True
    assert process.exitcode == 0
    return False


def hash_of(folder: Path) -> str:
    last = checkpoint.latest(folder / "out/checkpoints")
    assert last is not None
    return checkpoint.state_hash(last)


@pytest.mark.faults
def test_a_run_that_is_killed_again_and_again_is_one_that_was_not(tmp_path: Path) -> None:
    """The grader rolls dice, so the reference reads the rollouts that the killed run left."""
    chance, kills = random.Random(0), 0
    for _ in range(20):
        kills += killed(tmp_path / "a", chance.uniform(0.2, 1.5))
        last = checkpoint.latest(tmp_path / "a/out/checkpoints")
        if last is not None and last.name == f"step-{STEPS:08}":
            break
    started = time.monotonic()
    assert not killed(tmp_path / "a", 120), time.monotonic() - started
    assert kills
    shutil.copytree(tmp_path / "a/out/rollouts", tmp_path / "b/out/rollouts")
    before = path_of(tmp_path / "b/out", 1).read_bytes()
    shutil.copy(tmp_path / "a/grader.py", tmp_path / "b/grader.py")
    assert not killed(tmp_path / "b", 120)
    assert hash_of(tmp_path / "b") == hash_of(tmp_path / "a")
    assert path_of(tmp_path / "b/out", 1).read_bytes() == before
