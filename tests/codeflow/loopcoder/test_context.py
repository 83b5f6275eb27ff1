"""Context parallelism on gloo processes against one process: values, gradients, wrong variants."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from codeflow.loopcoder import attention, context
from codeflow.loopcoder.attention import BlockAttention, Documents, FlexAttention
from codeflow.loopcoder.config import Compute
from codeflow.loopcoder.context import Part
from codeflow.loopcoder.loss import next_tokens
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import World, make_model, place, unwrapped
from loopcoder_models import SMALL, random_ids, random_model, relative_error
from ranks import on_ranks

TOLERANCE = 2e-5
# The error of a split run over that of a whole one, both in bfloat16. FSDP2 gathers in bfloat16, so
# that the weights of norms are rounded, too.
BFLOAT16_TIMES = {"ddp": 1.5, "fsdp2": 3.0}
ROWS = {
    256: [[256], [100, 1, 40, 110, 5], [63, 2, 130, 61], [64, 64, 128]],
    512: [[512], [50, 250, 12, 200]],
}
"""By T; chunks of 64 tokens, the window. Documents cross their borders, and begin at some."""

Result = dict[str, Tensor]


def batch(rows: list[list[int]]) -> tuple[Tensor, Documents, Tensor, Tensor]:
    """Whole rows (B, T): tokens, layout, targets, unequal weights."""
    documents = Documents.of(rows)
    ids = random_ids(len(rows), documents.tokens)
    drawn = torch.rand(ids.shape, generator=torch.Generator().manual_seed(2))
    targets, weights = next_tokens(ids, drawn, documents)
    return ids, documents, targets, weights


def in_one_process(rows: list[list[int]], compute: Compute | None = None) -> Result:
    """Logits of all rows, and loss and gradients of the sum over them."""
    model = random_model()
    model.compute = compute or Compute()
    ids, documents, targets, weights = batch(rows)
    loss = model(ids, documents, targets, weights)
    loss.sum.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**grads, "logits": model(ids, documents).detach(), "loss": loss.sum.detach()}


def here(world: World, rows: list[list[int]], compute: Compute) -> Result:
    """The same of this rank's part, gradients summed over the ranks by DDP or FSDP2."""
    model = make_model(SMALL, compute, world, seed=0)
    values = random_model().state_dict()
    for name, parameter in unwrapped(model).named_parameters():
        place(parameter, values[name])
    share = len(rows) // world.readers
    ids, documents, targets, weights = batch(rows)
    mine = slice(world.reader * share, (world.reader + 1) * share)
    documents = Documents(documents.lengths[mine], world.part)
    assert world.part is not None
    take = world.part.take
    ids, targets, weights = (take(x[mine]) for x in (ids, targets, weights))
    loss = model(ids, documents, targets, weights)
    (loss.sum * world.size).backward()
    grads = {n: p.grad for n, p in unwrapped(model).named_parameters() if p.grad is not None}
    whole = {n: g.full_tensor() if isinstance(g, DTensor) else g for n, g in grads.items()}
    with torch.no_grad():
        logits = model(ids, documents)
    return {**whole, "logits": logits, "loss": loss.sum.detach()}


def put_together(results: list[Result], context_size: int, tokens: int) -> Result:
    """Logits of whole rows from those of the ranks; the loss summed; gradients as rank 0 has."""
    rows = []
    for first in range(0, len(results), context_size):
        group = results[first : first + context_size]
        whole = torch.zeros(len(group[0]["logits"]), tokens, SMALL.vocab_size)
        for rank, result in enumerate(group):
            chunk = tokens // (2 * context_size)
            for at, number in enumerate((rank, 2 * context_size - 1 - rank)):
                own = result["logits"][:, at * chunk : (at + 1) * chunk]
                whole[:, number * chunk : (number + 1) * chunk] = own
        rows.append(whole)
    loss = torch.stack([result["loss"] for result in results]).sum()
    return {**results[0], "logits": torch.cat(rows), "loss": loss}


def errors(found: Result, expected: Result) -> dict[str, float]:
    assert found.keys() == expected.keys()
    return {name: relative_error(found[name], expected[name]) for name in expected}


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_two_ranks_share_a_row(mode: str, checkpointing: bool) -> None:
    rows = ROWS[256]
    compute = Compute(activation_checkpointing=checkpointing, loss_chunk_tokens=100)
    how = recipes.Parallel(mode, 2, 60, 2)
    found = put_together(on_ranks(2, how, here, rows, compute), 2, 256)
    wrong = errors(found, in_one_process(rows))
    assert max(wrong.values()) < TOLERANCE, wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "size", "tokens"), [("ddp", 2, 256), ("fsdp2", 2, 256), ("fsdp2", 4, 512)]
)
def test_four_ranks(mode: str, size: int, tokens: int) -> None:
    """Two groups of two with other rows, and one group of four."""
    rows = ROWS[tokens]
    how = recipes.Parallel(mode, 4, 60, size)
    compute = Compute(activation_checkpointing=mode == "fsdp2")
    found = put_together(on_ranks(4, how, here, rows, compute), size, tokens)
    wrong = errors(found, in_one_process(rows))
    assert max(wrong.values()) < TOLERANCE, wrong


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kernel", [BlockAttention, functools.partial(FlexAttention, backend=None)])
def test_both_kernels_compute_a_part_of_whole_rows(kernel: Any) -> None:
    """Against the same kernel on whole rows, what other ranks hold cut out of these by hand."""
    documents, window, size = Documents.of(ROWS[256]), 16, 2
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, heads, 256, 8, generator=generator) for heads in (4, 2, 2))
    whole = BlockAttention(documents, window, torch.device("cpu"))
    expected = {"causal": whole.causal(q, k, v), "sliding": whole.sliding(q, k, v)}
    for rank in range(size):
        part = Part(rank, size, "")
        starts = part.starts(256)
        assert starts == ((0, 192), (64, 128))[rank]
        attend = kernel(Documents(documents.lengths, part), window, torch.device("cpu"))

        def mine(x: Tensor, lead: int = 0, starts: tuple[int, int] = starts) -> list[Tensor]:
            padded = torch.nn.functional.pad(x, (0, 0, lead, 0))
            return [padded[:, :, start : start + lead + 64] for start in starts]

        causal = attend.causal(torch.cat(mine(q), dim=2), k, v)
        want = torch.cat(mine(expected["causal"]), dim=2)
        torch.testing.assert_close(causal, want, rtol=1e-4, atol=1e-5)
        rows = [
            torch.stack(mine(x, lead), 1).flatten(0, 1) for x, lead in ((q, 0), (k, 16), (v, 16))
        ]
        want = torch.stack(mine(expected["sliding"]), 1).flatten(0, 1)
        torch.testing.assert_close(attend.sliding(*rows), want, rtol=1e-4, atol=1e-5)


def test_a_part_puts_back_what_it_takes() -> None:
    rows = torch.arange(1.0, 25.0).view(2, 12)
    parts = [Part(rank, 3, "") for rank in range(3)]
    assert [part.take(rows)[0].tolist() for part in parts] == [
        [1, 2, 11, 12],
        [3, 4, 9, 10],
        [5, 6, 7, 8],
    ]
    assert torch.equal(torch.stack([part.spread(part.take(rows)) for part in parts]).sum(0), rows)
    with pytest.raises(ValueError, match="12 tokens cannot be cut into 8 equal chunks"):
        Part(0, 4, "").take(rows)
    halo = torch.zeros(1, 1, 6, 4)
    with pytest.raises(ValueError, match="shorter than a halo of 4"):
        parts[0].with_halo(halo, halo, 4)


# --- wrong variants: each one must be seen --------------------------------------------------------


def no_halo(patch: pytest.MonkeyPatch) -> None:
    right = Part.with_halo

    def with_halo(self: Part, k: Tensor, v: Tensor, halo: int) -> tuple[Tensor, Tensor]:
        keys, values = right(self, k, v, halo)
        keep = torch.arange(keys.shape[2]) >= halo
        return keys * keep[:, None], values * keep[:, None]

    patch.setattr(Part, "with_halo", with_halo)


def own_keys_only(patch: pytest.MonkeyPatch) -> None:
    right = Part.whole

    def whole(self: Part, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        own = self.spread(k.new_ones(1, k.shape[2]))[0, :, None]  # (T, 1)
        keys, values = right(self, k, v)
        return keys * own, values * own

    patch.setattr(Part, "whole", whole)


def positions_from_the_chunk(patch: pytest.MonkeyPatch) -> None:
    def positions(self: Documents, device: torch.device) -> Tensor:
        assert self.part is not None
        return torch.arange(self.part.length(self.tokens)).repeat(len(self.lengths), 2)

    patch.setattr(Documents, "positions", positions)


def gradients_not_reduced(patch: pytest.MonkeyPatch) -> None:
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rank = torch.distributed.get_rank()
        return grads[0].chunk(ctx.size)[rank], None, None

    patch.setattr(context._Gather, "backward", staticmethod(backward))


def chunks_out_of_order(patch: pytest.MonkeyPatch) -> None:
    right = Part._gathered

    def gathered(self: Part, own: Tensor) -> list[Tensor]:
        chunks = right(self, own)
        return [*chunks[: self.size], *chunks[: self.size - 1 : -1]]

    patch.setattr(Part, "_gathered", gathered)


def window_of_whole_documents(patch: pytest.MonkeyPatch) -> None:
    """A halo that another document's tokens are read from."""

    def window_ids(self: Documents, lead: int, device: torch.device) -> Tensor:
        assert self.part is not None
        length = lead + self.part.length(self.tokens)
        return torch.zeros(2 * len(self.lengths), length, dtype=torch.int64)

    patch.setattr(Documents, "window_ids", window_ids)


WRONG: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no halo": no_halo,
    "keys and values of the own chunks only": own_keys_only,
    "positions restart at the chunk": positions_from_the_chunk,
    "gradients of gathered keys and values not reduced": gradients_not_reduced,
    "chunks out of order": chunks_out_of_order,
    "window across documents": window_of_whole_documents,
}
ON_GRADIENTS_ONLY = "gradients of gathered keys and values not reduced"


def right_and_wrong(world: World, rows: list[list[int]], compute: Compute) -> dict[str, Result]:
    found = {"right": here(world, rows, compute)}
    for name, wrong in WRONG.items():
        attention._recent_blocks.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            wrong(patch)
            found[name] = here(world, rows, compute)
    return found


def test_wrong_variants_are_seen() -> None:
    rows = ROWS[256]
    expected = in_one_process(rows)
    how = recipes.Parallel("ddp", 2, 60, 2)
    results = on_ranks(2, how, right_and_wrong, rows, Compute())
    found = {
        name: errors(put_together([result[name] for result in results], 2, 256), expected)
        for name in results[0]
    }
    assert max(found.pop("right").values()) < TOLERANCE
    assert found.keys() == WRONG.keys()
    for name, wrong in found.items():
        if name == ON_GRADIENTS_ONLY:
            assert wrong["logits"] < TOLERANCE
            assert max(wrong.values()) > 100 * TOLERANCE
        else:
            assert wrong["logits"] > 100 * TOLERANCE, name


# --- bfloat16 -------------------------------------------------------------------------------------


def right_and_wrong_in_bfloat16(
    world: World, rows: list[list[int]], compute: Compute
) -> dict[str, Result]:
    sent: set[torch.dtype] = set()
    gather = context._all_gather

    def noted(out: Tensor, own: Tensor, **group: Any) -> Any:
        sent.add(own.dtype)
        return gather(out, own, **group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "_all_gather", noted)
        found = right_and_wrong(world, rows, compute)
    assert sent == {torch.bfloat16}
    return found


def distance(found: Tensor, expected: Tensor) -> float:
    """Of all elements together: rounding hits single ones at random, and a bound on the largest
    would have to be loose."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "checkpointing"), [("ddp", False), ("fsdp2", True)])
def test_a_split_adds_nothing_to_the_rounding_of_bfloat16(mode: str, checkpointing: bool) -> None:
    """Both are compared with float32: the split may be no farther from it than whole rows are.

    A split only takes other roundings of the same size (1.04 times the distance was seen). Each
    wrong variant is 30 times as far away in some tensor.
    """
    most = BFLOAT16_TIMES[mode]
    rows, compute = ROWS[256], Compute("bfloat16", activation_checkpointing=checkpointing)
    exact, whole = in_one_process(rows), in_one_process(rows, compute)
    assert 1e-3 < distance(whole["logits"], exact["logits"]) < 0.1
    how = recipes.Parallel(mode, 2, 60, 2)
    results = on_ranks(2, how, right_and_wrong_in_bfloat16, rows, compute)
    times: dict[str, dict[str, float]] = {}
    for variant in results[0]:
        split = put_together([result[variant] for result in results], 2, 256)
        times[variant] = {
            name: distance(split[name], value) / distance(whole[name], value)
            for name, value in exact.items()
            if name != "loss"
        }
        if variant == "right":  # its errors cancel: in bfloat16, less than one rounding
            assert distance(split["loss"], exact["loss"]) < 2**-8
    right = times.pop("right")
    assert max(right.values()) < most, right
    assert times.keys() == WRONG.keys()
    for name, wrong in times.items():
        assert max(wrong.values()) > 3 * most, name
        assert (wrong["logits"] < most) == (name == ON_GRADIENTS_ONLY), name
