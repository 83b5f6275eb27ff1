"""Training runs whose rows are split over ranks: equal to one process, killed, resumed, refused."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.loopcoder.config import Compute, ModelConfig
from codeflow.train import recipe as recipes
from codeflow.train.state import checkpoint
from token_shards import write_folder
from training_runs import flip_in_replica, kill_at, launch, losses, small, together

TOKENS = 256  # chunks of 64 at two ranks: the window, and documents, cross their borders
STEPS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    write_folder(data, "a", TOKENS, rows=24, seed=0)
    write_folder(data, "b", TOKENS, rows=13, seed=1)
    return data


def recipe_of(how: recipes.Parallel, kind: str = "adamw", **compute: Any) -> recipes.Recipe:
    made = small(
        STEPS,
        batch={"sequence_tokens": TOKENS},
        optimizer={"name": kind},
        run={"checkpoint_every_steps": 0, "diagnose_every_steps": 5},
        validation={"every_steps": STEPS},
    )
    return dataclasses.replace(made, parallel=how, compute=Compute(**compute))


def random_gates(rank: int) -> None:
    """Gates that differ by head and token from the first step on, in every process alike."""
    from codeflow.train.state import parallel

    module: Any = parallel
    real = module.draw

    def draw(name: str, parameter: torch.Tensor, config: ModelConfig, generator: Any) -> None:
        real(name, parameter, config, generator)
        if "gate_projections" in name:
            parameter.normal_(generator=generator)

    module.draw = draw


def targets_of_the_chunk(rank: int) -> None:
    """Wrong: the last token of this rank's part predicts the part's own first one."""
    from codeflow.train import data

    random_gates(rank)
    real = data.MicroBatch.of

    def of(self: data.MicroBatch, part: Any) -> data.MicroBatch:
        micro = real(self, part)
        return dataclasses.replace(micro, targets=micro.input_ids.roll(-1, dims=1))

    data.MicroBatch.of = of  # type: ignore[method-assign]


def model_of(out: Path) -> dict[str, torch.Tensor]:
    path = checkpoint.latest(out / "checkpoints")
    assert path is not None
    with checkpoint.opened(path, checkpoint.read_meta(path)) as reader:
        return {n: reader.rows(n).clone() for n in reader.names if n.startswith("model/")}


def lines(out: Path, event: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    return [line for line in read if line["event"] == event]


def compare(one: Path, split: Path) -> None:
    assert len(losses(split)) == STEPS
    assert losses(split) == pytest.approx(losses(one), rel=1e-4)
    weights, expected = model_of(split), model_of(one)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert (weights[name] - value).abs().max() < 2e-3 * value.abs().max(), name
    (found,), (wanted,) = (lines(out, "validation") for out in (split, one))
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    for what in ("sources", "languages", "kinds"):
        assert found[what] == pytest.approx(wanted[what], rel=1e-4)


@pytest.fixture(scope="module")
def one_process(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run a kind of optimiser; nothing is split."""
    root = tmp_path_factory.mktemp("one")
    for kind in ("adamw", "muon"):
        alone = recipe_of(recipes.Parallel(), kind)
        assert together(alone, folder, root / kind, 1, patch=random_gates) == []
    return {kind: root / kind for kind in ("adamw", "muon")}


@pytest.mark.parametrize(
    ("mode", "ranks", "kind", "checkpointing"),
    [
        ("ddp", 2, "adamw", False),
        pytest.param("fsdp2", 2, "muon", True, marks=pytest.mark.slow),
        pytest.param("fsdp2", 4, "adamw", True, marks=pytest.mark.slow),
        pytest.param("ddp", 4, "muon", True, marks=pytest.mark.faults),
    ],
)
def test_a_split_run_equals_one_process(
    folder: Path,
    tmp_path: Path,
    one_process: dict[str, Path],
    mode: str,
    ranks: int,
    kind: str,
    checkpointing: bool,
) -> None:
    """Four ranks are two groups of two, which read different rows."""
    how = recipes.Parallel(mode, ranks, 60, context=2)
    recipe = recipe_of(how, kind, activation_checkpointing=checkpointing)
    if ranks == 4:
        recipe = dataclasses.replace(recipe, batch=recipes.Batch(TOKENS, 4, 1))
    assert together(recipe, folder, tmp_path / "out", ranks, patch=random_gates) == []
    compare(one_process[kind], tmp_path / "out")
    found = lines(tmp_path / "out", "diagnostics")[0]
    assert found["pass1_grad_norm"] > 0
    assert found["gate"]["layer1"]["std"] > 0.01


@pytest.mark.slow
def test_targets_of_the_chunk_are_seen(
    folder: Path, tmp_path: Path, one_process: dict[str, Path]
) -> None:
    recipe = recipe_of(recipes.Parallel("ddp", 2, 60, context=2))
    assert together(recipe, folder, tmp_path / "out", 2, patch=targets_of_the_chunk) == []
    with pytest.raises(AssertionError):
        compare(one_process["adamw"], tmp_path / "out")


def killed(
    folder: Path, tmp_path: Path, mode: str, kills: list[int], ranks: int, steps: int
) -> None:
    recipe = recipe_of(
        recipes.Parallel(mode, ranks, 60, context=2), "muon", activation_checkpointing=True
    )
    recipe = dataclasses.replace(
        recipe,
        run=dataclasses.replace(recipe.run, checkpoint_every_steps=3),
        schedule=recipes.Schedule("wsd", steps, 2, 2),
        validation=recipes.Validation(0),
    )
    if ranks == 4:
        recipe = dataclasses.replace(recipe, batch=recipes.Batch(TOKENS, 4, 1))
    assert together(recipe, folder, tmp_path / "straight", ranks) == []
    draw = random.Random(f"{mode}{ranks}")
    for step in kills:
        processes = launch(recipe, folder, tmp_path / "out", ranks)
        assert kill_at(processes, tmp_path / "out", step, draw.random() * 0.03)
    assert together(recipe, folder, tmp_path / "out", ranks) == []
    ends = [checkpoint.latest(tmp_path / name / "checkpoints") for name in ("straight", "out")]
    hashes = {checkpoint.state_hash(end) for end in ends if end is not None}
    assert len(hashes) == 1
    assert losses(tmp_path / "straight") == losses(tmp_path / "out")


@pytest.mark.slow
def test_kill_9_changes_no_bit(folder: Path, tmp_path: Path) -> None:
    killed(folder, tmp_path, "fsdp2", [5], 2, steps=8)


@pytest.mark.faults
@pytest.mark.parametrize(("mode", "ranks"), [("ddp", 2), ("fsdp2", 2), ("fsdp2", 4)])
def test_kill_9_many_times_changes_no_bit(
    folder: Path, tmp_path: Path, mode: str, ranks: int
) -> None:
    killed(folder, tmp_path, mode, [4, 5, 8, 10, 11, 13, 15, 18, 20, 21], ranks, STEPS)


@pytest.mark.slow
def test_a_checkpoint_of_a_split_run_goes_on_in_one_process(
    folder: Path, tmp_path: Path, one_process: dict[str, Path]
) -> None:
    """`context` is how, not what: it is outside the recipe's hash."""
    recipe = recipe_of(recipes.Parallel("fsdp2", 2, 60, context=2))
    recipe = dataclasses.replace(
        recipe, run=dataclasses.replace(recipe.run, checkpoint_every_steps=9)
    )
    out = tmp_path / "out"
    assert together(recipe, folder, out, 2, patch=random_gates) == []
    last = out / f"checkpoints/step-{STEPS:08}"
    (last / "meta.json").unlink()  # back to step 18
    alone = recipe_of(recipes.Parallel())
    assert alone.hash == recipe.hash
    assert together(alone, folder, out, 1) == []
    compare(one_process["adamw"], out)


def test_ranks_of_one_row_are_replicas_under_ddp(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(recipes.Parallel("ddp", 2, 60, context=2))
    recipe = dataclasses.replace(recipe, guard=recipes.Guard(fingerprint_every_steps=1))
    patch = functools.partial(flip_in_replica, "model/model.norm.weight")
    errors = together(recipe, folder, tmp_path / "out", 2, patch=patch)
    assert len(errors) == 2
    assert all("step 2: silent error: model/model.norm.weight" in error for error in errors)


def test_ranks_that_do_not_divide_are_one_line(folder: Path, tmp_path: Path) -> None:
    wide = recipe_of(recipes.Parallel("ddp", 2, 60, context=2))
    errors = together(wide, folder, tmp_path / "out", 3)
    assert (
        errors
        == [
            "3 ranks are not a multiple of parallel.context = 2: start as many as rows are to be "
            "split over, or a multiple"
        ]
        * 3
    )
