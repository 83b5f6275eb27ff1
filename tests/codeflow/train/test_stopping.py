"""Ctrl-C in training: once saves a checkpoint that resumes to the bit, twice ends at once.

Real processes, started as a shell starts them, and signals to the whole group of them, as a
terminal sends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeflow import cli
from codeflow.train.recipe import read_recipe
from codeflow.train.state import checkpoint
from codeflow.train.trainer import train
from ranks import HANGS_S, become, context, meeting_port
from small_history import environment
from training_runs import SHAPE, TOKENS, make_data

STEPS = 30
RECIPE = f"""
name = "stopped"
seed = 3
[model]
preset = "tiny"
overrides = {{ {", ".join(f"{key} = {value}" for key, value in SHAPE.items())} }}
[data]
sources = {{ a = 2, b = 1 }}
[batch]
sequence_tokens = {TOKENS}
rows_per_step = ROWS
micro_batch_rows = 2
[schedule]
steps = {STEPS}
warmup_steps = 2
decay_steps = 2
[run]
checkpoint_every_steps = 8
diagnose_every_steps = 5
log_every_steps = 1000
[validation]
every_steps = 3
rows = 6
"""
ENDED = re.compile(
    rf"codeflow: stopped after step (\d+) of {STEPS}, saved as step-(\d+); the same command goes on"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, recipes of short steps and of long ones, and a run left alone."""
    folder = make_data(tmp_path_factory.mktemp("stopping"))
    for name, rows in (("short", 16), ("long", 20_000)):
        (folder / f"{name}.toml").write_text(RECIPE.replace("ROWS", str(rows)))
    process = started(folder, folder / "whole")
    assert process.wait(HANGS_S) == 0
    return folder


def command(folder: Path, out: Path, recipe: str = "short") -> list[str]:
    return [
        "train",
        "--data",
        str(folder),
        "--recipe",
        f"{folder}/{recipe}.toml",
        "--out",
        str(out),
    ]


SAYS_WHEN_IT_COMPUTES = """
import sys
from pathlib import Path
from codeflow import cli
from codeflow.train.trainer import Training
plain = Training.compute
def compute(self, step):
    Path(sys.argv[1]).touch()
    return plain(self, step)
Training.compute = compute
sys.exit(cli.main(sys.argv[2:]))
"""


def started(folder: Path, out: Path, words: list[str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(words or ["-m", "codeflow", *command(folder, out)])],
        env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, as a shell gives to a command
    )


def reached(out: Path, step: int) -> bool:
    path = out / "metrics.jsonl"
    return path.exists() and f'"event": "step", "step": {step},' in path.read_text()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + HANGS_S
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def events(out: Path) -> list[tuple[str, int, object]]:
    """What the metrics say, apart from times."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["event"], line["step"], line.get("loss")) for line in lines]


def goes_on_to_the_same_end(folder: Path, out: Path) -> None:
    train(read_recipe(folder / "short.toml"), folder, out)
    same_end(folder / "whole", out)


def same_end(whole: Path, out: Path) -> None:
    assert events(out) == events(whole)
    ends = [checkpoint.latest(run / "checkpoints") for run in (whole, out)]
    hashes = [checkpoint.state_hash(end) for end in ends if end is not None]
    assert len(hashes) == 2
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("signum", "step"),
    [
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
        (signal.SIGINT, 11),
        pytest.param(signal.SIGTERM, 17, marks=pytest.mark.slow),
    ],
)
def test_asked_once_it_saves_and_the_same_command_ends_with_the_same_bits(
    signum: int, step: int, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = started(folder, out)
    wait_for(lambda: reached(out, step), process)
    os.killpg(process.pid, signum)
    _, stderr = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130, stderr
    *said, last = stderr.splitlines()  # a checkpoint's line may come in between
    assert any("stopping after this step" in line for line in said)
    found = ENDED.fullmatch(last)
    assert found, stderr
    assert step <= int(found[1]) == int(found[2]) < STEPS
    saved = checkpoint.latest(out / "checkpoints")
    assert saved is not None
    assert saved.name == f"step-{int(found[1]):08}"
    goes_on_to_the_same_end(folder, out)


@pytest.mark.slow
def test_asked_twice_it_ends_at_once(folder: Path, tmp_path: Path) -> None:
    """In a step that takes far longer than this test waits."""
    out, begun = tmp_path / "out", tmp_path / "begun"
    words = ["-c", SAYS_WHEN_IT_COMPUTES, str(begun), *command(folder, out, "long")]
    process = started(folder, out, words=words)
    wait_for(begun.exists, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert "stopping after this step" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "stopped at once" in stderr
    assert checkpoint.latest(out / "checkpoints") is None


@pytest.mark.parametrize(
    "made", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("", ".lock")), "recipe.json"]
)
def test_before_the_first_step_nothing_is_lost_and_once_is_enough(
    made: str, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = started(folder, out)
    maps = Path(f"/proc/{process.pid}/maps")
    importing = lambda: "libtorch" in maps.read_text()  # noqa: E731
    wait_for((out / made).exists if made else importing, process)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    goes_on_to_the_same_end(folder, out)


def run_here(words: list[str], rank: int, world: int, port: int) -> None:
    """One rank, as torchrun would start it."""
    become(rank, world, port)
    os._exit(cli.main(words))


@pytest.mark.slow
@pytest.mark.parametrize("asked", [(0,), (1,), (0, 1)])
def test_all_ranks_stop_at_the_same_step_whichever_was_asked(
    asked: tuple[int, ...], folder: Path, tmp_path: Path
) -> None:
    out, port = tmp_path / "out", meeting_port()

    def start() -> list[context.Process]:  # type: ignore[name-defined]
        words = command(folder, out)
        ranks = [context.Process(target=run_here, args=(words, r, 2, port)) for r in (0, 1)]
        for process in ranks:
            process.start()
        return ranks

    ranks = start()
    while not reached(out, 4):
        assert all(process.is_alive() for process in ranks)
        time.sleep(0.002)
    for rank in asked:
        os.kill(ranks[rank].pid, signal.SIGINT)
    for process in ranks:
        process.join(HANGS_S)
    assert [process.exitcode for process in ranks] == [130, 130]
    saved = checkpoint.latest(out / "checkpoints")
    assert saved is not None
    assert len(list(saved.glob("rank-*"))) == 2
    port = meeting_port()
    for process in start():
        process.join(HANGS_S)
        assert process.exitcode == 0
    steps = [step for event, step, _ in events(out) if event == "step"]
    assert steps == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_under_torchrun_a_signal_to_the_group_saves(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen(
        [*start, "-m", "codeflow", *command(folder, out)],
        env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: reached(out, 4), process)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=HANGS_S)
    assert len(ENDED.findall(stderr)) == 1, stderr
    saved = checkpoint.latest(out / "checkpoints")
    assert saved is not None
    assert saved.name != "step-00000008"


def test_in_a_process_of_somebody_elses_it_is_a_keyboard_interrupt(
    folder: Path, tmp_path: Path
) -> None:
    out, recipe = tmp_path / "out", read_recipe(folder / "short.toml")
    before = signal.getsignal(signal.SIGINT)

    def press() -> None:
        while not reached(out, 5):
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt, match="saved as step-"):
        train(recipe, folder, out)
    finger.join()
    assert signal.getsignal(signal.SIGINT) is before
    goes_on_to_the_same_end(folder, out)


def test_in_another_thread_signals_are_left_alone(folder: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    recipe = read_recipe(folder / "short.toml")
    found: list[int] = []
    thread = threading.Thread(
        target=lambda: found.append(train(recipe, folder, tmp_path / "out", stop_after=2).step)
    )
    thread.start()
    thread.join()
    assert found == [2]
    assert signal.getsignal(signal.SIGINT) is before


def test_stopped_in_validation_the_next_run_validates_first(folder: Path, tmp_path: Path) -> None:
    """Step 3 is validated after 3 of 3 rows at the earliest; the signal comes before the second."""
    from codeflow.train import validation

    out, recipe = tmp_path / "out", read_recipe(folder / "short.toml")
    real: Any = vars(validation)["validation_micros"]
    seen: list[int] = []

    def pressing(*arguments: object) -> object:
        for micro in real(*arguments):
            yield micro
            seen.append(1)
            if len(seen) == 1:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "validation_micros", pressing)
        with pytest.raises(KeyboardInterrupt, match="after step 3 of"):
            train(recipe, folder, out)
    assert ("validation", 3) not in [(event, step) for event, step, _ in events(out)]
    goes_on_to_the_same_end(folder, out)
