"""Compiled blocks and loss: the same function, few compilations, and exact resuming."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from codeflow.loopcoder import loss as loss_module
from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.config import Compute
from codeflow.loopcoder.loss import chunked_loss
from codeflow.loopcoder.model import LoopCoder
from codeflow.train.trainer import Training
from graphs import CountingBackend
from loopcoder_models import random_ids, random_model, relative_error
from training_runs import losses, make_data, run, small


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiled_blocks_give_the_loss_and_gradients_of_eager_ones() -> None:
    """By Inductor, with random gates and packed rows."""
    ids, targets = random_ids(2, 230), random_ids(2, 230, seed=1)
    weights = torch.rand(2, 230, generator=torch.Generator().manual_seed(2))
    for layout in ([[64, 1, 65, 100], [130, 63, 2, 35]], [[230], [100, 130]]):
        found = []
        for compiled in (True, False):
            model = random_model()
            model.compute = Compute(compile=compiled)
            if compiled:
                model.compile_blocks()
            loss = model(ids, Documents.of(layout), targets, weights)
            loss.sum.backward()
            found.append([loss.sum, *(p.grad for p in model.parameters())])
        for a, b in zip(*found, strict=True):
            assert relative_error(a, b) < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_compiles_as_much_for_many_layers_and_layouts_as_for_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    """With diagnostics and validation between the steps; the graphs run as they are, so the
    weights are those of an eager run, and the diagnostics are the same numbers."""
    folder, counts = make_data(tmp_path / "data"), []
    for layers in (2, 4):
        torch._dynamo.reset()
        counting = CountingBackend()
        seen: list[int] = []
        recipe = small(
            4,
            compute=Compute(activation_checkpointing=checkpointing),
            run={"checkpoint_every_steps": 0, "diagnose_every_steps": 2},
            validation={"every_steps": 2},
        )
        shape = {**recipe.model.overrides, "num_hidden_layers": layers}
        recipe = dataclasses.replace(
            recipe, model=dataclasses.replace(recipe.model, overrides=shape)
        )
        run(recipe, folder, tmp_path / f"eager-{layers}")
        blocks = functools.partialmethod(LoopCoder.compile_blocks, counting)
        loss = torch.compile(loss_module._pieces, backend=counting, dynamic=False)
        compiled = dataclasses.replace(
            recipe, compute=dataclasses.replace(recipe.compute, compile=True)
        )
        with monkeypatch.context() as patch:
            patch.setattr(LoopCoder, "compile_blocks", blocks)
            patch.setattr(loss_module, "_compiled_pieces", lambda loss=loss: loss)
            run(
                compiled,
                folder,
                tmp_path / f"compiled-{layers}",
                observe=lambda training, c=counting, s=seen: s.append(c.graphs),
            )
        assert seen[0] == seen[1]
        assert seen[2] == seen[3] == counting.graphs
        counts.append(seen)
        names = [tmp_path / f"{how}-{layers}" for how in ("eager", "compiled")]
        assert losses(names[0]) == losses(names[1])
        events = [
            [line for line in (name / "metrics.jsonl").open() if "diagnostics" in line]
            for name in names
        ]
        assert len(events[0]) == 2
        assert events[0] == events[1]
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_a_fused_slope_is_the_plain_one() -> None:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 50, 16, generator=random)
    head = torch.randn(37, 16, generator=random)
    targets = torch.randint(0, 37, (2, 50), generator=random)
    weights = torch.rand(2, 50, generator=random).round(decimals=1)
    found = []
    for compiled in (False, True):
        leaves = x, y = [x.clone().requires_grad_() for x in (hidden, head)]
        loss = chunked_loss(x, y, targets, weights, 40, compiled)
        loss.sum.backward()
        with torch.no_grad():
            again = chunked_loss(x, y, targets, weights, 40, compiled)
        assert torch.equal(again.tokens, loss.tokens)
        found.append([loss.sum, loss.tokens, *(x.grad for x in leaves)])
    for plain, fused in zip(*found, strict=True):
        assert relative_error(fused, plain) < 1e-6


@pytest.mark.slow
def test_a_compiled_run_resumes_to_the_bit(tmp_path: Path) -> None:
    folder = make_data(tmp_path / "data")
    recipe = small(4, compute=Compute(compile=True), run={"checkpoint_every_steps": 0})
    weights = []

    def keep(training: Training) -> None:
        if training.step == 4:
            weights.append([p.detach().clone() for p in training.model.parameters()])

    run(recipe, folder, tmp_path / "one", observe=keep)
    run(recipe, folder, tmp_path / "two", stop_after=2)
    torch._dynamo.reset()
    run(recipe, folder, tmp_path / "two", observe=keep)
    assert all(map(torch.equal, *weights))
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
