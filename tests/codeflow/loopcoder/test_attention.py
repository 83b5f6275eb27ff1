"""Attention against a masked naive form; isolation of documents to the bit; cost linear in T."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from codeflow.loopcoder import attention
from codeflow.loopcoder.attention import (
    BlockAttention,
    Documents,
    FlexAttention,
    _sdpa,
    for_batch,
)
from loopcoder_models import SMALL, random_ids, random_model, relative_error

CPU = torch.device("cpu")


def naive(q: Tensor, k: Tensor, v: Tensor, documents: Documents, window: int | None) -> Tensor:
    """float64, the whole (T, T) matrix, one pair of positions at a time for the mask."""
    q, k, v = q.double(), k.double(), v.double()
    group = q.shape[1] // k.shape[1]
    out = torch.zeros_like(q)
    for b, lengths in enumerate(documents.lengths):
        owner = [number for number, length in enumerate(lengths) for _ in range(length)]
        for h in range(q.shape[1]):
            scores = q[b, h] @ k[b, h // group].T / q.shape[-1] ** 0.5
            for i in range(len(owner)):
                for j in range(len(owner)):
                    far = window is not None and i - j >= window
                    if j > i or far or owner[i] != owner[j]:
                        scores[i, j] = float("-inf")
            out[b, h] = scores.softmax(-1) @ v[b, h // group]
    return out


def random_qkv(batch: int, tokens: int, heads: int = 2, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((batch, heads, tokens, 8), (batch, 1, tokens, 8), (batch, 1, tokens, 8))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


@st.composite
def layouts(draw: st.DrawFn) -> Documents:
    tokens = draw(st.integers(1, 40))
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        cuts = sorted(draw(st.sets(st.integers(1, tokens))) | {0, tokens})
        rows.append([b - a for a, b in itertools.pairwise(cuts)])
    return Documents.of(rows)


@settings(max_examples=60, deadline=None)
@given(layouts(), st.integers(1, 12))
def test_block_attention_equals_the_naive_form(documents: Documents, window: int) -> None:
    q, k, v = random_qkv(len(documents.lengths), documents.tokens)
    attend = BlockAttention(documents, window, CPU)
    torch.testing.assert_close(
        attend.causal(q, k, v).double(), naive(q, k, v, documents, None), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        attend.sliding(q, k, v).double(), naive(q, k, v, documents, window), rtol=1e-4, atol=1e-5
    )


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@settings(max_examples=5, deadline=None)
@given(layouts(), st.integers(1, 12))
def test_flex_attention_has_the_same_masks(documents: Documents, window: int) -> None:
    """Its eager forward, the only part of it that a CPU runs."""
    q, k, v = random_qkv(len(documents.lengths), documents.tokens)
    blocks = BlockAttention(documents, window, CPU)
    flex = FlexAttention(documents, window, CPU, backend=None)
    torch.testing.assert_close(flex.causal(q, k, v), blocks.causal(q, k, v), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flex.sliding(q, k, v), blocks.sliding(q, k, v), rtol=1e-4, atol=1e-5)


def test_documents_must_fill_rows_of_one_length() -> None:
    wrong: list[list[list[int]]] = [[[3, 2], [4]], [[3, 0, 2]], [[]]]
    for lengths in wrong:
        with pytest.raises(ValueError, match="documents"):
            Documents.of(lengths)


def test_layouts_are_reused() -> None:
    documents = Documents.of([[5, 7], [12]])
    again = Documents.of([[5, 7], [12]])
    assert for_batch(documents, 4, CPU) is for_batch(again, 4, CPU)
    assert for_batch(documents, 4, CPU) is not for_batch(documents, 5, CPU)


@pytest.mark.parametrize("tokens", [256, 1000])
def test_local_attention_computes_two_windows_of_scores_a_token(
    tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear in T: counted in scores, which are what attention spends its time on."""
    scores = []

    def counted(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        scores.append(q.shape[:-1].numel() * k.shape[-2])
        return _sdpa(q, k, v, **options)

    monkeypatch.setattr(attention, "_sdpa", counted)
    BlockAttention(Documents.whole(1, tokens), 64, CPU).sliding(*random_qkv(1, tokens, heads=2))
    rounded_up = -(-tokens // 64) * 64
    assert scores == [2 * rounded_up * 2 * 64]


LENGTHS = [[70, 90, 1, 79], [64, 64, 112, 0]]
REPLACED = {"first": (0, 0, 70), "middle": (0, 70, 160), "single": (0, 160, 161), "last": (0, 161)}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("replaced", REPLACED)
def test_a_document_changes_no_bit_of_the_others(replaced: str, checkpointing: bool) -> None:
    """Logits, hidden states after both passes, and gradients of a loss over the others alone."""
    documents = Documents.of([[n for n in row if n] for row in LENGTHS])
    row, start, *end = REPLACED[replaced]
    stop = end[0] if end else documents.tokens
    ids = random_ids(2, documents.tokens)
    other = ids.clone()
    other[row, start:stop] = (ids[row, start:stop] + 1) % SMALL.vocab_size
    targets = random_ids(2, documents.tokens, seed=1)
    weights = torch.rand(2, documents.tokens, generator=torch.Generator().manual_seed(2))
    weights[row, start:stop] = 0
    kept = weights > 0

    def run(tokens: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        model = random_model()
        model.compute = type(model.compute)(activation_checkpointing=checkpointing)
        states: list[Tensor] = []
        for layer in model.model.layers:
            layer.register_forward_hook(lambda _m, _a, out: states.append(out[0].detach()))
        states.append(model(tokens, documents).detach())
        model(tokens, documents, targets, weights).sum.backward()
        return states, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    (states, grads), (other_states, other_grads) = run(ids), run(other)
    assert len(states) >= 2 * 2 * SMALL.num_hidden_layers + 1
    for state, other_state in zip(states, other_states, strict=True):
        assert torch.equal(state[kept], other_state[kept])
        assert not torch.equal(state[~kept], other_state[~kept])
    assert set(grads) == {name for name, _ in random_model().named_parameters()}
    for name, grad in grads.items():
        assert torch.equal(grad, other_grads[name]), name
        assert grad.ne(0).any(), name


def test_isolation_would_be_seen_to_break() -> None:
    """The same comparison without the layout: the change reaches what follows it."""
    ids = random_ids(1, 120)
    other = ids.clone()
    other[0, :50] = (ids[0, :50] + 1) % SMALL.vocab_size
    model = random_model()
    assert relative_error(model(other)[0, 50:], model(ids)[0, 50:]) > 1e-3
