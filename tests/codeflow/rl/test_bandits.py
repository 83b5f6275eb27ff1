"""Worlds in which it is known what has to be learnt: at least 95% at the end, and wrong trainers
that do not get there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bandits import ARM_7, ONE, events, learnt, made
from codeflow.rl import feed, packing, rewards
from codeflow.rl.objective import ADVANTAGE
from codeflow.rl.rollouts import by_group, path_of, read
from codeflow.train.state import checkpoint

FOUR = [{"ids": [k]} for k in range(1, 5)]
IN_CONTEXT = "def reward(line, reply):\n    return float(reply.ids[:1] == (line['ids'][0] + 5,))\n"
IN_ORDER = """def reward(line, reply):
    return 0.5 * (reply.ids[:1] == (3,)) + 0.5 * (reply.ids[:2] == (3, 9))
"""
FOUR_TOKENS = """def reward(line, reply):
    return -abs(len(reply.ids) - 4) / 4 if reply.finished else -1.0
"""
HALF_ERRORS = """import random
chance = random.Random(0)
def reward(line, reply):
    if reply.ids[:1] == (7,):
        if chance.random() < 0.5:
            raise OSError("the grader is down")
        return 1.0
    return 0.7 * (reply.ids[:1] == (3,))
"""
ANY = "def reward(line, reply):\n    return 0.0\n"


def share(folder: Path, good: Any, last: int = 5) -> float:
    """Of the replies of the last batches, those that are as wanted."""
    paths = sorted((folder / "out/rollouts").iterdir())[-last:]
    replies = [reply for path in paths for reply in read(path).rollouts]
    return sum(map(good, replies)) / len(replies)


def first(token: int) -> Any:
    return lambda reply: reply.ids[:1] == (token,)


@pytest.mark.parametrize("updates", [1, 2])
def test_the_best_of_eight_arms(tmp_path: Path, updates: int) -> None:
    """Of 16, that is. Two updates of a batch: the second one's ratio is no longer 1."""
    learnt(tmp_path, made(tmp_path, ONE, ARM_7, steps=40 * updates, updates=updates))
    assert share(tmp_path, first(7)) > 0.95
    moved = max(line.get("policy_mismatch", 0.0) for line in events(tmp_path, "step"))
    assert (moved > 1e-3) == (updates == 2)


@pytest.mark.slow
def test_an_arm_for_each_of_four_contexts(tmp_path: Path) -> None:
    learnt(tmp_path, made(tmp_path, FOUR, IN_CONTEXT, steps=60))
    assert share(tmp_path, lambda reply: reply.ids[0] == reply.prompt_ids[0] + 5) > 0.95


@pytest.mark.slow
def test_two_tokens_in_order(tmp_path: Path) -> None:
    learnt(tmp_path, made(tmp_path, ONE, IN_ORDER, steps=60, max_new_tokens=2))
    assert share(tmp_path, lambda reply: reply.ids == (3, 9)) > 0.95


@pytest.mark.faults
def test_exactly_four_tokens_and_then_the_end(tmp_path: Path) -> None:
    """The token that ends a reply is learnt like any other. (With other seeds it may settle on a
    neighbour of four, so this gates nothing: another machine rounds otherwise.)"""
    learnt(tmp_path, made(tmp_path, ONE, FOUR_TOKENS, steps=60, max_new_tokens=8))
    assert share(tmp_path, lambda r: len(r.ids) == 5 and r.finish_reason == "stop") > 0.95


@pytest.mark.slow
def test_the_end_in_time_by_the_penalty_alone(tmp_path: Path) -> None:
    recipe = made(tmp_path, ONE, ANY, steps=40, max_new_tokens=4, truncated="penalised")
    learnt(tmp_path, recipe)
    assert share(tmp_path, lambda reply: reply.finish_reason == "stop") > 0.95


@pytest.mark.slow
def test_the_best_arm_whose_grader_is_down_half_the_time(tmp_path: Path) -> None:
    learnt(tmp_path, made(tmp_path, ONE, HALF_ERRORS, steps=60))
    assert share(tmp_path, first(7)) > 0.95
    last = events(tmp_path, "rollouts")[-1]
    assert 0.2 < last["without_reward"] / last["replies"] < 0.8
    assert last["first_failure"] == "OSError: the grader is down"


# -- wrong on purpose ------------------------------------------------------------------------------


@pytest.mark.slow
def test_errors_as_zeros_would_teach_the_second_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rewards.grade

    def grade(*given: Any) -> rewards.Verdict:
        verdict = real(*given)
        return verdict if verdict.reward is not None else rewards.Verdict(0.0, verdict.said)

    monkeypatch.setattr(rewards, "grade", grade)
    learnt(tmp_path, made(tmp_path, ONE, HALF_ERRORS, steps=60))
    assert share(tmp_path, first(7)) < 0.5


@pytest.mark.slow
def test_advantages_of_other_replies_would_teach_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(parts: Sequence[Any], length: int, rows: int) -> Any:
        for micro in real_batches(parts, length, rows):
            column = micro.columns[ADVANTAGE]
            column.copy_(column.roll(1, dims=0))  # the next row's
            yield micro

    real_batches = packing.micro_batches
    monkeypatch.setattr(feed, "micro_batches", shifted)
    learnt(tmp_path, made(tmp_path, ONE, ARM_7))
    assert share(tmp_path, first(7)) < 0.8


# -- nothing to learn ------------------------------------------------------------------------------


def test_groups_of_equal_rewards_leave_the_weights_bitwise(tmp_path: Path) -> None:
    recipe = made(tmp_path, FOUR, ANY, steps=3, max_rounds=2)
    before: list[bytes] = []
    weights: list[list[bytes]] = []

    def keep(training: Any) -> None:
        weights.append([p.detach().numpy().tobytes() for p in training.model.parameters()])

    learnt(tmp_path, recipe, observe=keep)
    from codeflow.loopcoder.model import create

    before = [p.detach().numpy().tobytes() for p in create(recipe.model.config).parameters()]
    assert weights == [before] * 3
    steps, found = events(tmp_path, "step"), events(tmp_path, "rollouts")
    assert steps[-1]["empty_steps"] == 3
    assert [line["groups_used"] for line in found] == [0, 0, 0]
    assert [line["replies"] for line in found] == [2 * 4 * 8] * 3  # two rounds, and no error
    assert found[0]["groups_of_one_reward"] == 8


def test_a_grader_that_is_always_down_stops_nothing_and_is_seen(tmp_path: Path) -> None:
    grader = "def reward(line, reply):\n    raise RuntimeError('no\\nsandbox')\n"
    learnt(tmp_path, made(tmp_path, ONE, grader, steps=2, max_rounds=1))
    last = events(tmp_path, "rollouts")[-1]
    assert last["reward"] is None
    assert last["without_reward"] == last["replies"] == 32
    assert last["first_failure"] == "RuntimeError: no"


def test_other_prompts_take_the_place_of_those_that_teach_nothing(tmp_path: Path) -> None:
    """Two of four contexts have replies of one reward; the batch is full all the same."""
    grader = (
        "def reward(line, reply):\n    return float(line['ids'][0] > 2 and reply.ids[0] % 2 == 0)\n"
    )
    learnt(tmp_path, made(tmp_path, FOUR, grader, steps=2, samples=16, max_rounds=6))
    found = events(tmp_path, "rollouts")[0]
    assert found["groups_used"] == 4
    assert found["groups_of_one_reward"] == found["groups"] - 4 > 0
    batch = read(path_of(tmp_path / "out", 1))
    assert batch.taken_after == len(by_group(batch.rollouts)) == found["groups"]
    assert checkpoint.latest(tmp_path / "out/checkpoints") is not None
