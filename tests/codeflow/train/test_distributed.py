"""Several processes, and processes that are killed. Wide versions run under `make test-faults`."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.loopcoder.config import Compute
from codeflow.loopcoder.model import build
from codeflow.train import recipe as recipes
from codeflow.train.state import checkpoint
from codeflow.train.state.parallel import World, make_model, unwrapped
from codeflow.train.trainer import Training
from live_bytes import LiveBytes
from loopcoder_models import SMALL, random_ids
from ranks import on_ranks
from training_runs import (
    finish,
    flip_in_replica,
    kill_at,
    launch,
    losses,
    run,
    small,
    together,
)

LINE_MS = 40  # a step takes some 30 ms here; the moment of the kill is spread over one


def tensors(out: Path) -> dict[str, torch.Tensor]:
    """Everything of the last checkpoint but the generators of single ranks."""
    path = checkpoint.latest(out / "checkpoints")
    assert path is not None
    with checkpoint.opened(path, checkpoint.read_meta(path)) as reader:
        return {n: reader.rows(n).clone() for n in reader.names if not n.startswith("rng/")}


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest difference of a weight, relative to the largest weight of its tensor."""
    assert a.keys() == b.keys()
    return max(
        float((a[n] - b[n]).abs().max() / b[n].abs().max()) for n in a if n.startswith("model/")
    )


def parallel(recipe: recipes.Recipe, mode: str, timeout_s: float = 60) -> recipes.Recipe:
    return dataclasses.replace(recipe, parallel=recipes.Parallel(mode, 2, timeout_s))


def compare_with_one(folder: Path, tmp_path: Path, mode: str, kind: str, steps: int) -> None:
    recipe = small(
        steps,
        optimizer={"name": kind},
        run={"checkpoint_every_steps": 0},
        validation={"every_steps": 50},
    )
    run(recipe, folder, tmp_path / "one")
    assert together(parallel(recipe, mode), folder, tmp_path / "two", 2) == []
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert distance(tensors(tmp_path / "two"), tensors(tmp_path / "one")) < 2e-3
    validations = [
        next(line for line in (tmp_path / name / "metrics.jsonl").open() if "validation" in line)
        for name in ("one", "two")
    ]
    found, expected = (json.loads(line) for line in validations)
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["languages"] == pytest.approx(expected["languages"], rel=1e-4)


@pytest.mark.parametrize(("mode", "kind"), [("ddp", "adamw"), ("fsdp2", "muon")])
def test_two_processes_match_one(folder: Path, tmp_path: Path, mode: str, kind: str) -> None:
    compare_with_one(folder, tmp_path, mode, kind, steps=5)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_two_processes_match_one_for_long(
    folder: Path, tmp_path: Path, mode: str, kind: str
) -> None:
    compare_with_one(folder, tmp_path, mode, kind, steps=50)


def count_reductions(folder: Path, rank: int) -> None:
    """Notes the name of each unit of FSDP2 whenever its gradients are reduced."""
    from torch.distributed.fsdp._fully_shard import _fsdp_param_group

    module: Any = _fsdp_param_group

    real = module.foreach_reduce

    def counted(fsdp_params: Any, *args: Any, **kwargs: Any) -> Any:
        with (folder / f"reduced-{rank}").open("a") as file:
            file.write(fsdp_params[0]._module_info.module.__class__.__name__ + "\n")
        return real(fsdp_params, *args, **kwargs)

    module.foreach_reduce = counted


@pytest.mark.parametrize(("checkpointing", "times"), [(False, 1), (True, 2)])
def test_a_layer_used_twice_is_reduced_once_or_after_each_pass(
    folder: Path, tmp_path: Path, checkpointing: bool, times: int
) -> None:
    recipe = small(2, batch={"micro_batch_rows": 2}, run={"checkpoint_every_steps": 0})
    recipe = dataclasses.replace(
        recipe,
        schedule=recipes.Schedule(steps=1, warmup_steps=0, decay_steps=0),
        compute=Compute(activation_checkpointing=checkpointing),
    )
    patch = functools.partial(count_reductions, tmp_path)
    assert together(parallel(recipe, "fsdp2"), folder, tmp_path / "out", 2, patch=patch) == []
    units = len((tmp_path / "reduced-0").read_text().split())
    assert units == 2 * times + 1  # two layers and the root, one micro-batch, one step


def peak_bytes(world: World, layers: int, by_pass: bool) -> int:
    """Of a forward and a backward pass on few tokens, so that weights' gradients decide."""
    config = dataclasses.replace(SMALL, num_hidden_layers=layers, intermediate_size=2048)
    model = make_model(config, Compute(activation_checkpointing=True), world, seed=0)
    assert unwrapped(model).model.gradients_by_pass
    unwrapped(model).model.gradients_by_pass = by_pass
    ids = random_ids(1, 8)
    with LiveBytes() as live:
        model(ids, None, ids, torch.ones(ids.shape)).sum.backward()
    return live.peak


@pytest.mark.slow
def test_gradients_of_pass_2_do_not_wait_for_pass_1() -> None:
    """Each layer more costs each of two ranks half of its gradients, and would cost all of them."""
    config = dataclasses.replace(SMALL, num_hidden_layers=1, intermediate_size=2048)
    layer = 4 * sum(p.numel() for n, p in build(config).named_parameters() if ".layers." in n)
    how = recipes.Parallel("fsdp2", 2, 60)
    growth = {}
    for by_pass in (True, False):
        few, many = (on_ranks(2, how, peak_bytes, n, by_pass)[0] for n in (4, 12))
        growth[by_pass] = (many - few) / 8 / layer
    assert growth[True] == pytest.approx(0.5, abs=0.1)
    assert growth[False] > 0.9


def test_checkpoint_of_two_ranks_goes_on_in_one(folder: Path, tmp_path: Path) -> None:
    recipe = small(6, run={"checkpoint_every_steps": 3})
    run(recipe, folder, tmp_path / "one")
    processes = launch(parallel(recipe, "fsdp2"), folder, tmp_path / "two", 2)
    assert finish(processes, tmp_path / "two") == []
    last = tmp_path / "two/checkpoints/step-00000006"
    assert len(list(last.glob("rank-*.safetensors"))) == 2
    (last / "meta.json").unlink()  # back to step 3, written by two ranks
    run(recipe, folder, tmp_path / "two")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert distance(tensors(tmp_path / "two"), tensors(tmp_path / "one")) < 1e-3


@pytest.mark.parametrize("name", ["model/model.norm.weight", "optim/lm_head.weight/exp_avg"])
def test_replicas_that_differ_are_caught(folder: Path, tmp_path: Path, name: str) -> None:
    recipe = parallel(small(6, guard={"fingerprint_every_steps": 1}), "ddp")
    patch = functools.partial(flip_in_replica, name)
    errors = together(recipe, folder, tmp_path / "out", 2, patch=patch)
    assert len(errors) == 2
    for error in errors:
        assert f"step 2: silent error: {name}" in error
        assert "differs between replicas" in error
    assert checkpoint.latest(tmp_path / "out/checkpoints") is None  # nothing bad was saved


def test_a_second_trainer_in_the_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Two ranks beside one process; the first run goes on as if nothing had happened."""
    out, recipe = tmp_path / "out", small(4)
    errors: list[str] = []

    def second(training: Training) -> None:
        if training.step == 2:
            errors.extend(together(parallel(recipe, "ddp"), folder, out, 2))

    run(recipe, folder, out, observe=second)
    assert len(errors) == 2
    for error in errors:
        assert error.startswith(f"{out}: another training run is at work in this folder")
    run(recipe, folder, tmp_path / "alone")
    assert losses(out) == losses(tmp_path / "alone")
    run(recipe, folder, out)  # and its end lets go


@pytest.mark.slow
def test_missing_rank_is_one_line(folder: Path, tmp_path: Path) -> None:
    recipe = parallel(small(), "ddp", timeout_s=2)
    errors = together(recipe, folder, tmp_path / "out", 2, absent=(1,))
    assert len(errors) == 1
    assert "rank 0: not all of 2 ranks came within 2 s" in errors[0]
    assert "\n" not in errors[0]


def test_rank_lost_on_the_way_is_one_line(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipe = parallel(small(400, run={"checkpoint_every_steps": 2}), "ddp", timeout_s=20)
    processes = launch(recipe, folder, out, 2)
    assert kill_at(processes[1:], out, 5)
    errors = finish(processes[:1], out)
    assert len(errors) == 1
    assert "rank 0 lost another rank" in errors[0]
    assert "goes on from step-" in errors[0]


def killed_again_and_again(
    folder: Path, tmp_path: Path, kills: int, world: int, mode: str, kind: str
) -> None:
    steps = 12 * kills
    recipe = small(steps, optimizer={"name": kind}, run={"checkpoint_every_steps": 3})
    if world > 1:
        recipe = parallel(recipe, mode)
    assert together(recipe, folder, tmp_path / "one", world) == []
    draw, done = random.Random(f"{kills}{mode}{kind}"), 0
    out = tmp_path / "two"
    for number in range(kills):
        at = number * 12 + draw.randrange(2, 12)
        how = dataclasses.replace(recipe.run, data_workers=draw.randrange(4))
        changed = dataclasses.replace(recipe, run=how)
        processes = launch(changed, folder, out, world)
        done += kill_at(processes, out, at, draw.random() * LINE_MS / 1000)
    assert done == kills
    assert together(recipe, folder, out, world) == []
    for left in tmp_path.glob("two.error-*"):
        raise AssertionError(left.read_text())
    one, two = (checkpoint.latest(tmp_path / name / "checkpoints") for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert checkpoint.state_hash(one) == checkpoint.state_hash(two)
    assert losses(tmp_path / "one") == losses(out)


@pytest.mark.slow
def test_kill_9_three_times_changes_no_bit(folder: Path, tmp_path: Path) -> None:
    killed_again_and_again(folder, tmp_path, 3, 1, "single", "muon")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("world", "mode", "kind"),
    [(1, "single", "adamw"), (1, "single", "muon"), (2, "ddp", "adamw"), (2, "fsdp2", "muon")],
)
def test_kill_9_many_times_changes_no_bit(
    folder: Path, tmp_path: Path, world: int, mode: str, kind: str
) -> None:
    killed_again_and_again(folder, tmp_path, 12, world, mode, kind)


def out_of_memory(where: str, rank: int) -> None:
    """A `patch`: rank 1 has no memory left in its seventh step, or when it copies the state."""
    vars(checkpoint)["_LAST_WAIT_S"] = 1.0
    if rank != 1:
        return
    owner, name = (Training, "compute") if where == "step" else (checkpoint, "snapshot")
    real = getattr(owner, name)
    calls: list[int] = []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == (7 if where == "step" else 3):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(*arguments)

    setattr(owner, name, failing)


@pytest.mark.parametrize("where", ["step", "snapshot"])
def test_no_memory_on_one_rank_ends_all_of_them(folder: Path, tmp_path: Path, where: str) -> None:
    """The others are let go at once, not after `timeout_s`, and each says where to go on."""
    recipe = parallel(small(8, run={"checkpoint_every_steps": 2}), "ddp", timeout_s=3000)
    patch = functools.partial(out_of_memory, where)
    errors = together(recipe, folder, tmp_path / "out", 2, patch=patch)
    assert len(errors) == 2
    assert "rank 0" in errors[0]
    assert (
        "rank 1, cpu: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB)" in errors[1]
    )
    for error in errors:
        assert re.search("goe?s? on from step-0000000[246]", error)  # rank 0 may be writing yet
        assert "\n" not in error
