"""Weights spread within replicas (HSDP), and layers gathered in bfloat16, on gloo processes."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.errors import UsageError
from codeflow.loopcoder.config import Compute
from codeflow.train import recipe as recipes
from codeflow.train.state import checkpoint
from codeflow.train.state.parallel import World, make_model, to_local, unwrapped
from loopcoder_models import SMALL, random_ids
from ranks import on_ranks
from training_runs import flip_in_replica, losses, make_data, run, small, together


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def tensors(out: Path) -> dict[str, torch.Tensor]:
    path = checkpoint.latest(out / "checkpoints")
    assert path is not None
    with checkpoint.opened(path, checkpoint.read_meta(path)) as reader:
        return {n: reader.rows(n).clone() for n in reader.names if not n.startswith("rng/")}


def farthest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    assert all(a[name].shape == b[name].shape for name in a)
    return max(
        float((a[n] - b[n]).abs().max() / b[n].abs().max()) for n in a if n.startswith("model/")
    )


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)], ids=["2x1", "2x2"])
def test_two_replicas_train_as_one_process_and_their_checkpoint_goes_on_in_it(
    folder: Path, tmp_path: Path, ranks: int
) -> None:
    """Two micro-batches a rank under 2x1: replicas meet with the last one alone. Muon needs whole
    matrices of what is spread within a replica."""
    recipe = small(
        5,
        batch={"rows_per_step": 4, "micro_batch_rows": 1},
        optimizer={"name": "muon"},
        run={"checkpoint_every_steps": 3},
    )
    run(recipe, folder, tmp_path / "one")
    how = recipes.Parallel("fsdp2", ranks, 60, replicas=2)
    spread = dataclasses.replace(recipe, parallel=how)
    assert together(spread, folder, tmp_path / "many", ranks) == []
    assert losses(tmp_path / "many") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert farthest(tensors(tmp_path / "many"), tensors(tmp_path / "one")) < 2e-3
    (tmp_path / "many/checkpoints/step-00000005/meta.json").unlink()
    run(recipe, folder, tmp_path / "many")
    assert losses(tmp_path / "many") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert farthest(tensors(tmp_path / "many"), tensors(tmp_path / "one")) < 2e-3


@pytest.mark.slow
def test_a_flipped_bit_in_a_replica_is_caught(folder: Path, tmp_path: Path) -> None:
    how = recipes.Parallel("fsdp2", 2, 60, replicas=2)
    recipe = dataclasses.replace(small(4, guard={"fingerprint_every_steps": 1}), parallel=how)
    name = "model/model.layers.1.mlp.up_proj.weight"
    patch = functools.partial(flip_in_replica, name)
    errors = together(recipe, folder, tmp_path / "out", 2, patch=patch)
    assert len(errors) == 2
    assert all(f"step 2: silent error: {name}" in error for error in errors)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"mode": "ddp", "ranks": 4, "replicas": 2}, "parallel.replicas = 2 needs"),
        ({"mode": "fsdp2", "ranks": 4, "replicas": 3}, "not a multiple of parallel.replicas = 3"),
        ({"mode": "fsdp2", "replicas": 0}, "parallel.replicas = 0: must be positive"),
    ],
)
def test_replicas_that_cannot_be(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipes.Parallel(**how)


def gathered(world: World, compute: Compute) -> dict[str, str]:
    """The dtypes that a rank sees in a forward and backward pass, and what it keeps."""
    model = make_model(SMALL, compute, world, seed=0)
    net, seen = unwrapped(model), {}

    def look(module: Any, arguments: Any, keywords: Any) -> None:
        weight = module.self_attn.q_proj.weight
        seen["layer"] = f"{weight.dtype} {tuple(weight.shape)}"
        seen["stream"] = str(arguments[0].dtype)

    net.model.layers[0].register_forward_pre_hook(look, with_kwargs=True)
    net.model.norm.register_forward_pre_hook(
        lambda module, arguments: seen.__setitem__("norm", str(module.weight.dtype))
    )
    ids = random_ids(1, 8)
    model(ids, None, ids, torch.ones(ids.shape)).sum.backward()
    layers: Any = net.model.layers
    layer = layers[0].self_attn.q_proj.weight
    seen["kept"] = str(to_local(layer).dtype)
    seen["gradient"] = str(to_local(layer.grad).dtype)
    return seen


def test_layers_are_gathered_in_bfloat16_and_the_rest_in_float32() -> None:
    how = recipes.Parallel("fsdp2", 2, 60)
    for rank in on_ranks(2, how, gathered, Compute("bfloat16", activation_checkpointing=True)):
        assert rank == {
            "layer": "torch.bfloat16 (64, 40)",
            "stream": "torch.float32",
            "norm": "torch.float32",
            "kept": "torch.float32",
            "gradient": "torch.float32",
        }
    for rank in on_ranks(2, how, gathered, Compute()):
        assert rank["layer"] == "torch.float32 (64, 40)"


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_bfloat16_over_two_ranks_is_no_farther_from_float32_than_in_one_process(
    folder: Path, tmp_path: Path, checkpointing: bool
) -> None:
    recipe = small(6, run={"checkpoint_every_steps": 0})
    narrow = dataclasses.replace(recipe, compute=Compute("bfloat16", checkpointing))
    run(recipe, folder, tmp_path / "float32")
    run(narrow, folder, tmp_path / "one")
    spread = dataclasses.replace(narrow, parallel=recipes.Parallel("fsdp2", 2, 60))
    assert together(spread, folder, tmp_path / "two", 2) == []
    exact = losses(tmp_path / "float32")

    def error(name: str) -> float:
        return max(abs(a - b) for a, b in zip(losses(tmp_path / name), exact, strict=True))

    assert 0 < error("one") < 0.05
    assert error("two") < 2 * error("one") + 2e-3
