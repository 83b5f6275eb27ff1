"""The clipped policy gradient against its definition in float64, and what may not change it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from codeflow.loopcoder.config import Compute
from codeflow.loopcoder.loss import chunked_loss
from codeflow.rl.advantages import advantages
from codeflow.rl.objective import ADVANTAGE, SAMPLED_LOGP, ClippedPolicyGradient
from codeflow.rl.packing import Scored, micro_batches
from codeflow.rl.rollouts import Rollout
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import World, make_model
from loopcoder_models import SMALL, random_model
from ranks import on_ranks

LOW, HIGH, DUAL = 0.2, 0.28, 3.0
OURS = ClippedPolicyGradient(LOW, HIGH, DUAL)


def defined(logp: Tensor, weights: Tensor, columns: Any) -> Tensor:
    """The loss as papers write it, left to autograd."""
    advantage = columns[ADVANTAGE]
    ratio = (logp - columns[SAMPLED_LOGP]).clamp(-20, 20).exp()
    gain = torch.min(ratio * advantage, ratio.clamp(1 - LOW, 1 + HIGH) * advantage)
    gain = torch.where(advantage < 0, torch.max(gain, DUAL * advantage), gain)
    return -(gain * weights)


def cases() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Ratios on both sides of every edge, of both signs and zero, trained and not."""
    ratios = [0.01, 0.5, 0.79, 0.81, 0.999, 1.0, 1.1, 1.27, 1.29, 2.0, 2.99, 3.01, 50.0]
    exponents = [math.log(ratio) for ratio in ratios] + [19.9, 20.1, -19.9, -20.1, 45.0, -45.0]
    grid = [(e, a, w) for e in exponents for a in (-2.0, -0.3, 0.0, 0.7, 1.5) for w in (0.0, 1.0)]
    exponent, advantage, weights = torch.tensor(grid, dtype=torch.float64).T
    logp = torch.linspace(-9, -0.01, len(grid), dtype=torch.float64)
    return logp, weights, {ADVANTAGE: advantage, SAMPLED_LOGP: logp - exponent}


def difference(objective: Callable[..., Any]) -> float:
    """Between an objective and the definition, of values and slopes, where either is large."""
    logp, weights, columns = cases()
    leaf = logp.clone().requires_grad_()
    expected = defined(leaf, weights, columns)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    value, found = objective(logp, weights, columns)
    scale = 1 + slope.abs()
    expected = expected.detach()
    values = ((value - expected).abs() / (1 + expected.abs())).max()
    return max(float(values), float(((found - slope).abs() / scale).max()))


def test_values_and_slopes_are_those_of_the_definition() -> None:
    assert difference(OURS) < 1e-12


def no_exponent_limit(logp: Tensor, weights: Tensor, columns: Any) -> Any:
    value, _ = OURS(logp, weights, columns)
    ratio = (logp - columns[SAMPLED_LOGP]).exp()
    return value, -ratio * columns[ADVANTAGE] * weights


def times(by: float) -> Any:
    return lambda *of: tuple(x * by for x in OURS(*of))


def mask_ignored(logp: Tensor, weights: Tensor, columns: Any) -> Any:
    return OURS(logp, torch.ones_like(weights), columns)


def of_reinforce(logp: Tensor, weights: Tensor, columns: Any) -> Any:
    """No ratio at all."""
    value, _ = OURS(logp, weights, columns)
    return value, -columns[ADVANTAGE] * weights


@pytest.mark.parametrize(
    "wrong",
    [
        dataclasses.replace(OURS, high=LOW),
        dataclasses.replace(OURS, low=HIGH),
        dataclasses.replace(OURS, dual=1e9),
        dataclasses.replace(OURS, dual=2.0),
        no_exponent_limit,
        times(-1.0),
        times(0.5),
        mask_ignored,
        of_reinforce,
    ],
)
def test_a_wrong_one_is_seen(wrong: Any) -> None:
    assert difference(wrong) > 1e-3


def test_what_stands_beside_untrained_tokens_may_be_anything() -> None:
    logp = torch.tensor([-1.0, -1.0])
    columns = {
        ADVANTAGE: torch.tensor([1.0, math.nan]),
        SAMPLED_LOGP: torch.tensor([-1.0, -math.inf]),
    }
    for found in OURS(logp, torch.tensor([1.0, 0.0]), columns):
        assert found[1] == 0
        assert found[0] == -1
    seen = OURS.watch(logp, torch.tensor([1.0, 0.0]), columns)
    assert all(math.isfinite(float(count)) for count in seen.values())


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("masked", [False, True], ids=["holes", "all-masked"])
def test_gradients_through_the_chunks_are_those_of_plain_logits(
    chunk: int, compiled: bool, masked: bool
) -> None:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 30, 6, generator=random).requires_grad_()
    head = torch.randn(11, 6, generator=random).requires_grad_()
    targets = torch.randint(0, 11, (2, 30), generator=random)
    weights = (torch.rand(2, 30, generator=random) < 0.7).float() * (not masked)

    plain_hidden, plain_head = (x.detach().double().requires_grad_() for x in (hidden, head))
    logp = (plain_hidden @ plain_head.T).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    exponent = 3 * torch.randn(2, 30, generator=random).double()
    columns = {
        ADVANTAGE: torch.randn(2, 30, generator=random),
        SAMPLED_LOGP: (logp.detach() - exponent).float(),
    }
    defined(logp, weights.double(), {k: v.double() for k, v in columns.items()}).sum().backward()

    loss = chunked_loss(hidden, head, targets, weights, chunk, compiled, OURS, columns)
    loss.sum.backward()
    torch.testing.assert_close(-loss.tokens.double(), logp.detach(), rtol=1e-4, atol=1e-5)
    for ours, theirs in ((hidden, plain_hidden), (head, plain_head)):
        grad, expected = ours.grad, theirs.grad
        assert grad is not None
        torch.testing.assert_close(grad.double(), expected, rtol=1e-3, atol=1e-4)
    assert (loss.sum == 0) == masked


# -- what may not change a step --------------------------------------------------------------------


def scored(count: int) -> list[Scored]:
    """Replies of unequal lengths, with tokens in them that are not trained."""
    random = torch.Generator().manual_seed(1)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=random))

    found = []
    for number in range(count):
        prompt = tuple(draw(0, SMALL.vocab_size) for _ in range(draw(1, 6)))
        ids = tuple(draw(0, SMALL.vocab_size) for _ in range(draw(1, 9)))
        logps = tuple(float(x) for x in -4 * torch.rand(len(ids), generator=random))
        mask = tuple(k % 3 != 1 for k in range(len(ids)))
        one = Rollout(number, 0, 0, 0, prompt, ids, logps, mask, "stop", 1.0, "")
        found.append((one, (-1.0, 0.5, 2.0)[number % 3]))
    return found


def gradient(parts: list[list[Scored]], length: int, rows: int, n: float) -> list[Tensor]:
    model = random_model()
    for part in parts:
        for micro in micro_batches(part, length, rows):
            *inputs, weights, columns = micro.to("cpu")
            (model(*inputs, weights, columns, OURS).sum / n).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def apart(a: list[Tensor], b: list[Tensor]) -> float:
    return max(
        float((x - y).abs().max() / y.abs().max()) for x, y in zip(a, b, strict=True) if y.any()
    )


def total(replies: list[Scored]) -> int:
    return sum(sum(one.mask) for one, _ in replies)


def test_packing_and_micro_batches_do_not_change_the_gradient() -> None:
    """N is the trained tokens of the whole step, however it is cut. A mean of means is seen."""
    replies = scored(13)
    n = total(replies)
    expected = gradient([[one] for one in replies], 16, 1, n)  # each alone in its row
    for length, rows in ((16, 1), (40, 2), (200, 3)):
        assert apart(gradient([replies], length, rows, n), expected) < 1e-5
        assert apart(gradient([replies[::-1]], length, rows, n), expected) < 1e-5
    halves = [replies[:4], replies[4:]]
    means = [gradient([half], 40, 2, 2 * total(half)) for half in halves]
    wrong = [a + b for a, b in zip(*means, strict=True)]
    assert apart(wrong, expected) > 1e-2


def on_rank(world: World, how: str) -> list[Tensor]:
    model = make_model(SMALL, Compute(), world, seed=0)
    replies = scored(12)
    mine = replies[world.rank :: world.size]
    n = sum(world.gather(total(mine)))
    if how == "own":
        n = total(mine) * world.size
    (micro,) = micro_batches(mine, 64, 4)
    *inputs, weights, columns = micro.to("cpu")
    (model(*inputs, weights, columns, OURS).sum * world.size / n).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.slow
def test_ranks_do_not_change_the_gradient() -> None:
    alone = on_rank(World(), "all")
    two = on_ranks(2, recipes.Parallel("ddp", 2, 60), on_rank, "all")[0]
    assert apart(two, alone) < 1e-5
    wrong = on_ranks(2, recipes.Parallel("ddp", 2, 60), on_rank, "own")[0]
    assert apart(wrong, alone) > 1e-3


# -- advantages ------------------------------------------------------------------------------------


def test_advantages_by_hand() -> None:
    assert advantages([1.0, 0.0, 0.0, 3.0]) == [0.0, -1.0, -1.0, 2.0]
    assert advantages([1.0, None, 0.0]) == [0.5, None, -0.5]  # not [2/3, -1/3, -1/3]
    for nothing in ([1.0, 1.0, 1.0], [1.0, None, None], [None, None], [1.0, None, 1.0], []):
        assert advantages(nothing) == [None] * len(nothing)


def test_a_constant_more_changes_nothing() -> None:
    rewards = [0.25, 1.0, None, 0.5, 0.25]  # so that no sum is rounded
    more = [None if reward is None else reward + 100 for reward in rewards]
    assert advantages(more) == advantages(rewards)
