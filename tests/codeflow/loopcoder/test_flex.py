"""FlexAttention as a GPU runs it, as far as a CPU can tell: its gradients, and what it compiles.

torch refuses FlexAttention's backward pass on a CPU because its kernels have none there; the eager
form that Dynamo's "eager" backend runs has one. So `_validate_device` is patched away.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch.nn.attention import flex_attention as flex_module

from codeflow.loopcoder import attention
from codeflow.loopcoder.attention import BlockAttention, Documents, FlexAttention
from codeflow.loopcoder.config import Compute
from codeflow.train import data
from codeflow.train.data import open_sources
from codeflow.train.state.parallel import World
from codeflow.train.trainer import Training
from graphs import CountingBackend
from training_runs import TOKENS, make_data, run, small

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _backward_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flex_module, "_validate_device", lambda query, key, value: None)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


LAYOUTS = {
    "whole": Documents.whole(2, 200),
    "packed": Documents.of([[64, 1, 65, 70], [130, 63, 2, 5]]),
}


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", ["causal", "sliding"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (5, 1), (4, 2)])
def test_gradients_equal_the_blockwise_ones(
    layout: str, kind: str, heads: int, groups: int
) -> None:
    documents = LAYOUTS[layout]
    random = torch.Generator().manual_seed(heads)

    def drawn(number: int) -> torch.Tensor:
        shape = (2, number, documents.tokens, 16)
        return torch.randn(shape, generator=random, dtype=torch.float64)

    inputs, slope = (drawn(heads), drawn(groups), drawn(groups)), drawn(heads)

    def gradients(attend: Any) -> tuple[torch.Tensor, ...]:
        leaves = [x.clone().requires_grad_() for x in inputs]
        return torch.autograd.grad((getattr(attend, kind)(*leaves) * slope).sum(), leaves)

    found = gradients(FlexAttention(documents, 64, CPU, backend=None))
    expected = gradients(BlockAttention(documents, 64, CPU))
    for name, a, b in zip("qkv", found, expected, strict=True):
        assert float((a - b).abs().max()) < 2e-14 * float(b.abs().max()), name


def on_flex(monkeypatch: pytest.MonkeyPatch) -> CountingBackend:
    """The trainer takes `FlexAttention` here, compiled for the backend that counts."""
    counting = CountingBackend()
    build = functools.partial(FlexAttention, backend=counting)
    monkeypatch.setattr(attention, "_recent_blocks", functools.lru_cache(maxsize=8)(build))
    return counting


@pytest.mark.slow
def test_a_run_compiles_two_masks_and_four_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Causal and window, with gradients and without; a layout a batch, and 6 rows to validate with,
    which micro-batches of 4 do not divide."""
    counting = on_flex(monkeypatch)
    seen: list[int] = []
    recipe = small(
        4,
        compute=Compute(activation_checkpointing=True),
        batch={"micro_batch_rows": 4},
        run={"checkpoint_every_steps": 0},
        validation={"every_steps": 2},
    )
    run(
        recipe,
        make_data(tmp_path / "data"),
        tmp_path / "out",
        observe=lambda training: seen.append(counting.graphs),
    )
    assert seen == [4, 4, 6, 6]  # seen before a step's validation
    assert counting.graphs == 6


def test_a_shape_too_many_is_an_error() -> None:
    """Not a silent fall back to all T x T scores, which is what Dynamo does by default."""
    counting = CountingBackend()

    def attend(rows: int) -> torch.Tensor:
        flex = FlexAttention(Documents.whole(rows, 8), 4, CPU, backend=counting)
        return flex.sliding(*(torch.ones(rows, 1, 8, 4) for _ in "qkv"))

    with torch._dynamo.config.patch(recompile_limit=2):  # one shape, of two kinds
        attend(1)
        with pytest.raises(FailOnRecompileLimitHit):
            attend(2)


@pytest.mark.parametrize("readers", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4, 5, 6])
def test_validation_has_the_shape_of_training_and_counts_each_row_once(
    tmp_path: Path, readers: int, rows: int
) -> None:
    recipe = small(batch={"micro_batch_rows": 4}, validation={"every_steps": 1, "rows": rows})
    folder = make_data(tmp_path / "data")
    source = open_sources(folder, ("a",), "validation", TOKENS, "")[0]
    by_reader = [
        list(data.validation_micros(source, recipe, World(rank, readers, mode="ddp")))
        for rank in range(readers)
    ]
    assert len({len(micros) for micros in by_reader}) == 1
    counted = []
    for micro in (micro for micros in by_reader for micro in micros):
        assert micro.input_ids.shape == micro.weights.shape == (4, TOKENS)
        counted += [
            tuple(ids.tolist())
            for ids, weights in zip(micro.input_ids, micro.weights, strict=True)
            if weights.any()
        ]
    assert sorted(counted) == sorted(tuple(source[i].input_ids.tolist()) for i in range(rows))


def test_padded_validation_gives_the_loss_of_one_row_at_a_time(tmp_path: Path) -> None:
    from codeflow.train.validation import validate

    folder = make_data(tmp_path / "data")
    held = open_sources(folder, ("a", "b"), "validation", TOKENS, "")
    found = []
    for width in (1, 4):
        recipe = small(batch={"micro_batch_rows": width}, validation={"every_steps": 1, "rows": 5})
        training = Training(recipe, folder, tmp_path / str(width), World(), lambda line: None)
        found.append(validate(training.model, held, recipe, World()))
        training.close()
    for key in ("sources", "languages", "kinds"):
        assert found[1][key] == pytest.approx(found[0][key], rel=1e-6)
    assert found[1]["loss"] == pytest.approx(found[0]["loss"], rel=1e-6)
