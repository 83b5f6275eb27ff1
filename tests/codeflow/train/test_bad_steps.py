"""Steps that go wrong: not finite, empty, out of memory, a bit that flipped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.errors import CodeflowError
from codeflow.train import data
from codeflow.train.guard import Guard, SilentError
from codeflow.train.state.optim import Optimizer
from codeflow.train.trainer import Training
from training_runs import hash_of, losses, run, small


def test_no_memory_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device's, Python's, and what torch says of this machine's, which it really asks for."""
    real = Training.compute
    for number, ask in enumerate(
        (
            lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
            lambda: (_ for _ in ()).throw(MemoryError()),
            lambda: torch.empty(1 << 60, dtype=torch.uint8),
        )
    ):

        def failing(self: Training, step: Any, ask: Any = ask) -> Any:
            return ask() if self.step == 3 else real(self, step)

        monkeypatch.setattr(Training, "compute", failing)
        with pytest.raises(CodeflowError, match=r"out of memory .* go on from step-00000002") as e:
            run(small(4, run={"checkpoint_every_steps": 2}), folder, tmp_path / str(number))
        assert "\n" not in str(e.value)


def test_non_finite_steps_are_skipped_counted_and_end_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = data.collate, []

    def poisoned(rows: Any) -> Any:
        calls.append(1)
        micro = real(rows)
        scale = float("nan") if 5 <= len(calls) <= 6 else 1.0  # both micro-batches of step 3
        return dataclasses.replace(micro, weights=micro.weights * scale)

    monkeypatch.setattr(data, "collate", poisoned)
    states: list[tuple[str, Any]] = []

    def watch(training: Training) -> None:
        weights = {n: p.detach().clone() for n, p in training.model.named_parameters()}
        states.append((training.outcome.state, weights))

    recipe = small(5, run={"data_workers": 0})
    run(recipe, folder, tmp_path / "out", observe=watch)
    assert [state for state, _ in states] == ["good", "good", "bad", "good", "good"]
    assert all(torch.equal(states[1][1][n], states[2][1][n]) for n in states[1][1])
    assert all(p.isfinite().all() for p in states[-1][1].values())
    last = json.loads((tmp_path / "out/metrics.jsonl").read_text().splitlines()[-1])
    assert last["bad_steps"] == 1

    monkeypatch.setattr(
        data,
        "collate",
        lambda rows: dataclasses.replace(real(rows), weights=real(rows).weights / 0),
    )
    with pytest.raises(
        CodeflowError, match="step 3: loss or gradient not finite in 3 steps in a row"
    ):
        run(small(9, guard={"max_bad_steps": 2}), folder, tmp_path / "nan")


def test_fully_masked_batches_change_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = data.collate
    monkeypatch.setattr(
        data,
        "collate",
        lambda rows: dataclasses.replace(real(rows), weights=real(rows).weights * 0),
    )
    before: list[Any] = []

    def watch(training: Training) -> None:
        before.append({n: p.detach().clone() for n, p in training.model.named_parameters()})
        assert training.outcome.state == "empty"

    run(small(3), folder, tmp_path / "out", observe=watch)
    assert all(torch.equal(before[0][n], before[-1][n]) for n in before[0])
    assert losses(tmp_path / "out") == [0.0] * 3


def flip(tensor: torch.Tensor, bit: int = 0) -> None:
    tensor.detach().view(-1).view(torch.int32)[-1].bitwise_xor_(1 << bit)


@pytest.mark.parametrize("name", ["model/lm_head.weight", "optim/model.norm.weight/exp_avg_sq"])
def test_flipped_bit_at_rest_is_caught(folder: Path, tmp_path: Path, name: str) -> None:
    recipe = small(6, guard={"fingerprint_every_steps": 1})

    flipped: list[int] = []
    real = Guard.after

    def after(self: Guard, done: int, saving: bool) -> None:
        real(self, done, saving)
        if done == 3:
            flip(self._live()[name])
            flipped.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guard, "after", after)
        with pytest.raises(SilentError, match=f"step 3: silent error: {name} changed between"):
            run(recipe, folder, tmp_path / "out")
    assert flipped


def test_wrong_arithmetic_is_caught_when_computed_again(folder: Path, tmp_path: Path) -> None:
    """One gradient that is off by one bit, once, in a step that is taken twice."""
    turns: list[int] = []
    real = Optimizer.step

    def once(self: Optimizer, lr: float) -> None:
        turns.append(1)
        if len(turns) == 4:
            flip(self.parameters["model.embed_tokens.weight"].grad, 20)  # type: ignore[arg-type]
            flip(self.parameters["model.norm.weight"].grad, 20)  # type: ignore[arg-type]
        real(self, lr)

    recipe = small(6, guard={"recompute_every_steps": 4})
    run(recipe, folder, tmp_path / "fine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimizer, "step", once)
        with pytest.raises(SilentError, match=r"step 4: silent error: .*when computed again"):
            run(recipe, folder, tmp_path / "out")
    plain = small(6)
    run(plain, folder, tmp_path / "plain")
    assert hash_of(tmp_path / "fine") == hash_of(tmp_path / "plain")
