"""What the trainer does otherwise where there is a GPU, as far as a CPU can tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codeflow.loopcoder.model import build
from codeflow.shards.mixture import Position
from codeflow.train import data
from codeflow.train.recipe import Optimizer as Settings
from codeflow.train.state import host_copies, optim
from codeflow.train.state.host_copies import HostCopies
from codeflow.train.state.optim import Optimizer, orthogonalised, stacks
from codeflow.train.state.parallel import World
from loopcoder_models import SMALL, random_model
from training_runs import make_data, small


def stepped(settings: Settings) -> dict[str, torch.Tensor]:
    """Parameters after two steps on random gradients."""
    model = random_model()
    optimizer = Optimizer(model, settings)
    random = torch.Generator().manual_seed(1)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=random)
        optimizer.step(0.01)
    return {name: p.detach() for name, p in model.named_parameters()}


def test_step_counts_follow_a_fused_optimizer_to_its_device() -> None:
    """They are read on the CPU; a fused kernel that finds them there fails, at the first step."""
    state = {
        f"lm_head.weight/{key}": torch.zeros(()) if key == "step" else torch.zeros(61, 40)
        for key in ("step", "exp_avg", "exp_avg_sq")
    }
    places = []
    for model in (random_model(), build(SMALL)):  # "meta" stands for a GPU
        optimizer = Optimizer(model, Settings("adamw"))
        optimizer.load(state)
        places.append(optimizer.state()["lm_head.weight/step"].device.type)
        assert optimizer._all[0].defaults["fused"] == (places[-1] != "cpu")
    assert places == ["cpu", "meta"]


def test_matrices_of_a_shape_go_together_and_come_out_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameters = [p for n, p in random_model().named_parameters() if optim.is_layer_matrix(n, p)]
    assert sorted(map(len, stacks(parameters))) == [2, 2, 2, 4, 4]
    together = stepped(Settings("muon"))
    monkeypatch.setattr(optim, "STACK_ELEMENTS", 1)
    assert {len(stack) for stack in stacks(parameters)} == {1}
    alone = stepped(Settings("muon"))
    for name, expected in alone.items():
        assert torch.allclose(together[name], expected, rtol=1e-5, atol=1e-6), name


def test_a_stack_holds_each_matrix_once_in_order_and_no_more_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = [(4, 6), (6, 4), (4, 6), (4, 6), (6, 4), (4, 6), (5, 5)]
    parameters = [torch.nn.Parameter(torch.empty(shape)) for shape in shapes]
    monkeypatch.setattr(optim, "STACK_ELEMENTS", 3 * 24 + 23)
    numbers = {id(p): number for number, p in enumerate(parameters)}
    found = [[numbers[id(p)] for p in stack] for stack in stacks(parameters)]
    assert found == [[0, 2, 3], [5], [1, 4], [6]]


def test_the_norm_of_each_matrix_is_its_own() -> None:
    """One norm for a whole stack would leave singular values too small."""
    random = torch.Generator().manual_seed(0)
    for shape in ((3, 24, 16), (3, 16, 24)):
        stack = torch.randn(shape, generator=random) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
        for each in torch.linalg.svdvals(orthogonalised(stack)):
            assert 0.6 < float(each.min()) <= float(each.max()) < 1.3


def test_copies_of_a_device_reuse_their_memory_and_wait_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The memory is made once a tensor; what is read from it was waited for."""
    made: list[torch.Size] = []
    waits: list[str] = []

    def room(tensor: torch.Tensor) -> torch.Tensor:
        made.append(tensor.shape)
        return torch.empty(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(host_copies, "pinned_like", room)
    monkeypatch.setattr(host_copies, "wait_for", waits.append)
    copies = HostCopies("cuda:1")
    a, b = torch.arange(6.0).view(2, 3), torch.tensor(4)
    first = copies.of({"a": a.T, "b": b})
    assert torch.equal(first["a"], a.T)
    assert first["a"].is_contiguous()
    assert int(first["b"]) == 4
    again = copies.of({"a": a.T + 1, "b": b})
    assert again["a"].data_ptr() == first["a"].data_ptr()
    assert torch.equal(first["a"], a.T + 1)
    assert made == [torch.Size([3, 2]), torch.Size([])]
    copies.of({"a": a})  # of another shape
    assert made[2:] == [torch.Size([2, 3])]
    assert waits == ["cuda:1"] * 3


def test_copies_on_a_cpu_are_apart_from_the_live_tensors_and_each_other() -> None:
    live = torch.zeros(3)
    copies = HostCopies("cpu")
    first = copies.of({"a": live})
    live += 1
    second = copies.of({"a": live})
    assert first["a"].tolist() == [0, 0, 0]
    assert second["a"].tolist() == [1, 1, 1]


def test_micro_batches_for_a_gpu_are_pinned_where_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.data_ptr())
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    recipe = small(run={"data_workers": 0})
    sources, _ = data.sources_of(recipe, make_data(tmp_path))
    mixture = data.mixture_of(sources, recipe)
    start = Position((0, 0))
    here = next(data.steps(mixture, recipe, World(), start))
    assert pinned == []
    there = next(data.steps(mixture, recipe, World(device="cuda"), start))
    for micro in there.micros:
        for tensor in (micro.input_ids, micro.targets, micro.weights):
            assert tensor.data_ptr() in pinned
    for a, b in zip(here.micros, there.micros, strict=True):
        assert torch.equal(a.input_ids, b.input_ids)
