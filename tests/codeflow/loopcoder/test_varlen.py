"""Attention over lengths, with a plain function of `varlen_attn`'s description in its place.

torch's own runs on a GPU alone. What is tested is everything around it: where documents begin, the
layout of heads, which keys a window leaves.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from codeflow.errors import UsageError
from codeflow.loopcoder import attention
from codeflow.loopcoder import varlen as varlen_module
from codeflow.loopcoder.attention import BlockAttention, Documents, for_batch
from codeflow.loopcoder.config import Compute
from codeflow.loopcoder.varlen import VarlenAttention

CPU = torch.device("cpu")
LAYOUTS = {
    "whole": Documents.whole(2, 200),
    "packed": Documents.of([[64, 1, 65, 70], [130, 63, 2, 5]]),
}


def described(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:
    """(T, H, D) over (T, G, D): each sequence alone; `window_size` is (keys left, keys right)."""
    assert enable_gqa
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert query.shape[0] == int(cu_seq_q[-1])
    left, right = window_size
    group = query.shape[1] // key.shape[1]
    parts = []
    for start, stop in zip(cu_seq_q.tolist(), cu_seq_q.tolist()[1:], strict=False):
        assert 0 < stop - start <= max_q == max_k
        q, k, v = (x[start:stop].transpose(0, 1) for x in (query, key, value))
        k, v = (x.repeat_interleave(group, dim=0) for x in (k, v))
        ahead = torch.arange(stop - start)[None, :] - torch.arange(stop - start)[:, None]
        seen = (ahead <= right) & ((left < 0) | (ahead >= -left))
        scores = (q @ k.mT) * q.shape[-1] ** -0.5
        parts.append((scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(parts)


@pytest.fixture
def _described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen_module, "varlen", lambda: described)


@pytest.mark.usefixtures("_described")
@pytest.mark.parametrize("kind", ["causal", "sliding"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("heads", "groups"), [(4, 1), (5, 1), (4, 2)])
def test_results_and_gradients_equal_the_blockwise_ones(
    layout: str, kind: str, heads: int, groups: int
) -> None:
    documents = LAYOUTS[layout]
    random = torch.Generator().manual_seed(heads)

    def drawn(number: int) -> Tensor:
        shape = (2, number, documents.tokens, 16)
        return torch.randn(shape, generator=random, dtype=torch.float64)

    inputs, slope = (drawn(heads), drawn(groups), drawn(groups)), drawn(heads)

    def found(attend: Any) -> tuple[Tensor, ...]:
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = getattr(attend, kind)(*leaves)
        return out, *torch.autograd.grad((out * slope).sum(), leaves)

    lengths = [length for row in documents.lengths for length in row]

    def of(window: int) -> VarlenAttention:
        return VarlenAttention(lengths, documents.tokens, window, CPU)

    expected = found(BlockAttention(documents, 64, CPU))
    for a, b in zip(found(of(64)), expected, strict=True):
        assert float((a - b).detach().abs().max()) < 1e-13 * float(b.detach().abs().max())
    assert torch.equal(found(of(65))[0], found(of(64))[0]) == (kind == "causal")


def test_a_gpu_takes_it_for_whole_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name in ("flex", "varlen", "blocks"):
        recent = f"_recent_{name}"
        monkeypatch.setattr(attention, recent, lambda *arguments, n=name: made.append(n))
    gpu, documents = torch.device("cuda"), LAYOUTS["packed"]
    for_batch(documents, 64, gpu)
    for_batch(documents, 64, gpu, varlen=True)
    for_batch(documents, 64, CPU, varlen=True)
    assert made == ["flex", "varlen", "blocks"]


def test_a_torch_without_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen as of_torch

    varlen_module.varlen.cache_clear()
    monkeypatch.setattr(of_torch, "varlen_attn", lambda query, key, value: None)
    with pytest.raises(UsageError, match=r"needs torch 2\.12"):
        varlen_module.varlen()


@pytest.mark.parametrize("wrong", [{"attention": "flash"}, {"attention": "varlen"}])
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="attention"):
        Compute(**wrong)
