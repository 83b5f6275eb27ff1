"""Chunked cross-entropy against the plain one; targets never cross documents."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.loopcoder.attention import Documents
from codeflow.loopcoder.config import Compute
from codeflow.loopcoder.loss import chunked_loss, next_tokens
from loopcoder_models import random_ids, random_model


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 20), st.integers(2, 30), st.integers(1, 70), st.integers(0, 9)
)
def test_chunks_give_the_plain_loss_and_gradients(
    batch: int, tokens: int, vocab: int, chunk: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(batch, tokens, 6, generator=generator).requires_grad_()
    head = torch.randn(vocab, 6, generator=generator).requires_grad_()
    targets = torch.randint(0, vocab, (batch, tokens), generator=generator)
    weights = torch.rand(batch, tokens, generator=generator).round(decimals=1)

    plain_hidden, plain_head = (x.detach().double().requires_grad_() for x in (hidden, head))
    plain = F.cross_entropy(
        (plain_hidden @ plain_head.T).flatten(0, 1), targets.flatten(), reduction="none"
    ).view(batch, tokens)
    ((plain * weights).sum() / 7).backward()

    loss = chunked_loss(hidden, head, targets, weights, chunk)
    (loss.sum / 7).backward()
    torch.testing.assert_close(loss.tokens.double(), plain.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        loss.sum.double(), (plain * weights).sum().detach(), rtol=1e-4, atol=1e-5
    )
    for grad, expected in ((hidden.grad, plain_hidden.grad), (head.grad, plain_head.grad)):
        assert grad is not None
        torch.testing.assert_close(grad.double(), expected, rtol=1e-4, atol=1e-6)
    total = weights.double().sum().clamp_min(1e-30)
    torch.testing.assert_close(
        loss.mean.double(), (plain * weights).sum().detach() / total, rtol=1e-4, atol=1e-5
    )


def test_the_gradient_through_the_model_does_not_depend_on_the_chunk() -> None:
    ids, targets = random_ids(2, 50), random_ids(2, 50, seed=1)
    weights = torch.ones(2, 50)
    grads = []
    for chunk in (7, 1000):
        model = random_model()
        model.compute = Compute(loss_chunk_tokens=chunk)
        model(ids, None, targets, weights).mean.backward()
        grads.append([p.grad for p in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_nothing_to_learn_is_zero_and_not_nan() -> None:
    model = random_model()
    loss = model(random_ids(1, 9), None, random_ids(1, 9), torch.zeros(1, 9))
    loss.mean.backward()
    assert loss.mean == 0
    assert all(p.grad is not None and p.grad.eq(0).all() for p in model.parameters())


def test_evaluation_gives_the_same_loss_without_a_gradient() -> None:
    model, ids = random_model(), random_ids(1, 30)
    arguments = (ids, None, ids, torch.ones(1, 30))
    with torch.no_grad():
        loss = model(*arguments)
    assert not loss.sum.requires_grad
    assert torch.equal(loss.sum, model(*arguments).sum)


def test_targets_stay_in_their_document() -> None:
    ids = torch.tensor([[10, 11, 12, 20, 30, 31]])
    weights = torch.tensor([[9.0, 1.0, 2.0, 9.0, 9.0, 5.0]])
    targets, counted = next_tokens(ids, weights, Documents.of([[3, 1, 2]]))
    expected = {0: (11, 1.0), 1: (12, 2.0), 4: (31, 5.0)}
    for position in range(6):
        target, weight = expected.get(position, (None, 0.0))
        assert counted[0, position] == weight
        assert target is None or targets[0, position] == target


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_have_the_type_of_what_they_belong_to(dtype: torch.dtype) -> None:
    hidden = torch.randn(1, 5, 4, dtype=dtype, requires_grad=True)
    head = torch.randn(7, 4, dtype=dtype, requires_grad=True)
    loss = chunked_loss(hidden, head, torch.zeros(1, 5).long(), torch.ones(1, 5), 2)
    loss.sum.backward()
    assert loss.sum.dtype == torch.float32
    assert [x.grad.dtype for x in (hidden, head) if x.grad is not None] == [dtype, dtype]


@pytest.mark.parametrize("weight", [3001.0, 5003.5, 7100.0, 99997.0])
def test_the_scale_of_a_step_is_not_rounded_in_bfloat16(weight: float) -> None:
    """One over the step's weight scales all gradients alike: rounded, all would be off alike, by
    0.18 to 0.25% at these weights. Rounding each element is another thing, and averages out."""
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 300, 64, generator=random).bfloat16().requires_grad_()
    head = torch.randn(97, 64, generator=random).requires_grad_()  # as the model has it
    targets = torch.randint(0, 97, (1, 300), generator=random)
    ones = torch.ones(1, 300)
    found = []
    for scale in (1.0, 1.0 / weight):
        (chunked_loss(hidden, head, targets, ones, 64).sum * scale).backward()
        found.append([g.grad.double() for g in (hidden, head) if g.grad is not None])
        hidden.grad = head.grad = None
    for name, plain, scaled in zip(("hidden", "head"), *found, strict=True):
        along = float((plain * scaled).sum() / (plain * plain).sum()) * weight
        assert along == pytest.approx(1, abs=1e-4), name


def test_the_gradient_of_a_float32_head_is_not_rounded_to_bfloat16() -> None:
    hidden = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    head = torch.randn(11, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = chunked_loss(hidden, head, torch.zeros(1, 40).long(), torch.ones(1, 40), 7)
    loss.sum.backward()
    assert head.grad is not None
    assert not torch.equal(head.grad, head.grad.bfloat16().float())
