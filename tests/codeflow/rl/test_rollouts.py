"""Rollouts as files: what they hold, what damages them, and resuming from them bit for bit."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bandits import ARM_7, ONE, events, learnt, made, with_run
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.rl import rollouts
from codeflow.rl.prompts import read_prompts
from codeflow.rl.rewards import Reply, grade, load
from codeflow.rl.rollouts import Batch, Rollout
from codeflow.train import recipe as recipes
from codeflow.train.state import checkpoint

AT_RANDOM = """import random
def reward(line, reply):
    return random.SystemRandom().random() + (reply.ids[:1] == (7,))
"""
ROLLOUT = Rollout(
    3,
    1,
    5,
    (1 << 64) - 1,
    (1, 2),
    (3, 4, 5),
    (-0.5, -1.25, -3.0),
    (True, False, True),
    "stop",
    0.5,
    "",
)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    none = dataclasses.replace(
        ROLLOUT, reward=None, verdict="OSError: down", finish_reason="length"
    )
    batch = Batch((ROLLOUT, none), 7, 9, 1.5, 0.25)
    path = rollouts.path_of(tmp_path, 12)
    assert path.name == "step-00000012.arrow"
    rollouts.write(path, batch)
    assert rollouts.read(path) == batch
    with pa.ipc.open_file(str(path)) as reader:  # by others, too
        table = reader.read_all()
    assert table["reward"].to_pylist() == [0.5, None]
    assert table["logps"].type == pa.list_(pa.float32())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"x" * 100,
        lambda content: content.replace(b'"version": 1', b'"version": 9'),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = rollouts.path_of(tmp_path, 1)
    rollouts.write(path, Batch((ROLLOUT,), 0, 1, 0.0, 0.0))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        rollouts.read(path)
    assert str(caught.value).startswith(f"{path}: damaged: ")
    assert "\n" not in str(caught.value)


# -- resuming --------------------------------------------------------------------------------------


def hash_of(folder: Path) -> str:
    last = checkpoint.latest(folder / "out/checkpoints")
    assert last is not None
    return checkpoint.state_hash(last)


def at_random(folder: Path) -> recipes.Recipe:
    """Two optimiser steps a batch, a checkpoint after each, and a grader that rolls dice."""
    recipe = made(folder, ONE, AT_RANDOM, steps=8, updates=2, groups=4)
    return with_run(recipe, checkpoint_every_steps=1, keep_checkpoints=100)


def gone_back(folder: Path, to: Path, step: int) -> None:
    """A copy as it was left by a kill right after that step's checkpoint was complete, with the
    rollouts that the run had made by the time it was killed."""
    shutil.copytree(folder, to)
    for path in checkpoint.complete(to / "out/checkpoints"):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


@pytest.mark.parametrize("step", [2, 3, 7])
def test_a_run_goes_on_bit_for_bit_with_a_random_grader(tmp_path: Path, step: int) -> None:
    """From between two batches, and from within one."""
    learnt(tmp_path / "a", at_random(tmp_path / "a"))
    expected = hash_of(tmp_path / "a")
    gone_back(tmp_path / "a", tmp_path / "b", step)
    learnt(tmp_path / "b", at_random(tmp_path / "a"))
    assert hash_of(tmp_path / "b") == expected
    same = [
        {k: v for k, v in line.items() if not k.endswith(("_s", "seconds"))}
        for line in events(tmp_path / "a", "step")
    ]
    for line, wanted in zip(events(tmp_path / "b", "step"), same, strict=True):
        assert {k: line[k] for k in wanted} == wanted


def test_a_batch_that_was_not_written_is_made_again_the_same_but_for_its_rewards(
    tmp_path: Path,
) -> None:
    """Killed while grading: ids and chances come again, so the comparison above is not empty."""
    learnt(tmp_path / "a", at_random(tmp_path / "a"))
    gone_back(tmp_path / "a", tmp_path / "b", 4)
    paths = [rollouts.path_of(tmp_path / name / "out", 5) for name in "ab"]
    paths[1].unlink()
    rollouts.path_of(tmp_path / "b/out", 7).unlink()
    learnt(tmp_path / "b", at_random(tmp_path / "a"))
    before, after = (rollouts.read(path).rollouts for path in paths)
    assert [r.ids for r in before] == [r.ids for r in after]
    assert [r.logps for r in before] == [r.logps for r in after]
    assert [r.reward for r in before] != [r.reward for r in after]
    assert hash_of(tmp_path / "b") != hash_of(tmp_path / "a")


def test_a_batch_lost_within_is_one_line(tmp_path: Path) -> None:
    learnt(tmp_path, at_random(tmp_path), stop_after=3)
    path = rollouts.path_of(tmp_path / "out", 3)
    path.unlink()
    with pytest.raises(DataError, match="missing, and its batch was learnt from in part"):
        learnt(tmp_path, at_random(tmp_path))


def test_other_prompts_or_another_grader_are_refused(tmp_path: Path) -> None:
    recipe = made(tmp_path, ONE, ARM_7, steps=4)
    learnt(tmp_path, recipe, stop_after=2)
    for name, text in (
        ("prompts.jsonl", '{"ids": [2]}\n'),
        ("grader.py", ARM_7.replace("7", "8")),
    ):
        kept = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match="prompts"):
            learnt(tmp_path, recipe)
        (tmp_path / name).write_text(kept)
    learnt(tmp_path, recipe)


# -- prompts and graders ---------------------------------------------------------------------------


def test_every_epoch_is_a_permutation_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"ids": [{k}], "answer": {k}}}\n\n' for k in range(12)))
    prompts = read_prompts(path, None, 16, seed=-3)
    epochs = [[prompts.at(12 * n + k).line["answer"] for k in range(12)] for n in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = read_prompts(path, None, 16, seed=1)
    assert [other.at(k).line["answer"] for k in range(12)] != epochs[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no", "line 2: not JSON"),
        ("[1]", "line 2: give an object with either ids or prompt"),
        ('{"ids": [1], "prompt": "a"}', "line 2: give an object with either"),
        ('{"prompt": "a"}', "line 2: a prompt of text needs a tokenizer"),
        ('{"ids": []}', "line 2: ids have to be tokens below 16"),
        ('{"ids": [16]}', "line 2: ids have to be tokens below 16"),
        ('{"ids": [true]}', "line 2: ids have to be tokens below 16"),
        ('{"ids": "1"}', "line 2: ids have to be tokens below 16"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"ids": [1]}}\n{line}\n')
    with pytest.raises(UsageError, match=said):
        read_prompts(path, None, 16, 0)


def test_a_grader_may_do_what_it_likes() -> None:
    reply = Reply((1,), None, True)

    def ends(line: Any, reply: Reply) -> float:
        raise ValueError("one\ntwo")

    assert grade(lambda line, reply: True, {}, reply) == (1.0, "")
    number: Any = np.float32(0.5)
    assert grade(lambda line, reply: number, {}, reply) == (0.5, "")
    assert grade(lambda line, reply: None, {}, reply).reward is None
    assert grade(ends, {}, reply) == (None, "ValueError: one")
    for value in (float("nan"), float("inf"), "much", [1.0]):
        verdict = grade(lambda line, reply, value=value: value, {}, reply)  # type: ignore[misc]
        assert verdict.reward is None
        assert verdict.said


def test_a_grader_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("reward = 3\n")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    for spec in ("g.py", f"{tmp_path}/g.py:reward", f"{tmp_path}/g.py:other", "x.py:reward"):
        with pytest.raises(UsageError, match=r"rl\.reward"):
            load(spec)
    with pytest.raises(UsageError, match="ModuleNotFoundError"):
        load(f"{tmp_path}/broken.py:reward")


# -- recipes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"samples": 1}, "rl.samples = 1"),
        ({"groups": 3, "updates": 2}, "rl.groups = 3 is not a multiple"),
        ({"truncated": "kept"}, "choose one of penalised"),
        ({"dual_clip": 1.0}, "dual_clip above 1"),
        ({"clip_low": 1.0}, "clip_low has to be below 1"),
        ({"overlong_tokens": 300}, "more than rl.max_new_tokens"),
        ({"prompts": "p"}, "belong together"),
        ({"max_rounds": 0}, "rl.max_rounds = 0"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipes.Rl(**wrong)


def test_shards_and_rewards_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reads no shards"):
        dataclasses.replace(made(tmp_path, ONE, ARM_7), data=recipes.Data({"a": 1}))


def test_what_cannot_fit_or_stop_is_said_before_anything_is_sampled(tmp_path: Path) -> None:
    for rl, said in (
        ({"max_new_tokens": 16}, "more than a row of batch.sequence_tokens = 16"),
        ({"stop": ("<|im_end|>",)}, "'<|im_end|>' is no token of this model"),
        ({"stop": (16,)}, "16 is no token of this model"),
    ):
        with pytest.raises(CodeflowError) as caught:
            learnt(tmp_path, made(tmp_path, ONE, ARM_7, **rl))
        assert said in str(caught.value)
    assert not (tmp_path / "out/rollouts").exists()
