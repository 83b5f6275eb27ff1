"""The model against an independent float64 numpy reference, and wrong models that must fail."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import loopcoder_reference as reference
from codeflow.loopcoder import attention, model
from codeflow.loopcoder.attention import BlockAttention, Documents
from codeflow.loopcoder.config import Compute
from live_bytes import LiveBytes
from loopcoder_models import SMALL, random_ids, random_model, relative_error

TOLERANCE = 1e-4
TOKENS = 230
PACKINGS = {
    "unpacked": Documents.whole(2, TOKENS),
    # around the window's length, single tokens, and a boundary that no block shares
    "packed": Documents.of([[64, 1, 65, 100], [130, 63, 2, 35]]),
}
SHAPE = reference.Shape(
    layers=SMALL.num_hidden_layers,
    heads=SMALL.num_attention_heads,
    kv_heads=SMALL.num_key_value_heads,
    head_dim=SMALL.head_dim,
)


def weights_of(net: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in net.state_dict().items()}


def expected_logits(net: torch.nn.Module, documents: Documents, passes: int = 2) -> np.ndarray:
    ids = random_ids(2, TOKENS).tolist()
    shape = SHAPE._replace(passes=passes)
    return reference.logits(weights_of(net), shape, ids, documents.lengths)


def logits_error(net: model.LoopCoder, documents: Documents, expected: np.ndarray) -> float:
    with torch.no_grad():
        return relative_error(net(random_ids(2, TOKENS), documents), expected)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("passes", [1, 2])
def test_logits_equal_the_reference(packing: str, passes: int) -> None:
    net = random_model(loop_num=passes)
    documents = PACKINGS[packing]
    assert logits_error(net, documents, expected_logits(net, documents, passes)) <= TOLERANCE


def loss_inputs(documents: Documents) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = len(documents.lengths)
    ids, targets = random_ids(rows, TOKENS), random_ids(rows, TOKENS, seed=1)
    weights = torch.rand(rows, TOKENS, generator=torch.Generator().manual_seed(2))
    return ids, targets, weights


def gradients(net: model.LoopCoder, documents: Documents) -> dict[str, np.ndarray]:
    ids, targets, weights = loss_inputs(documents)
    net.zero_grad()
    net(ids, documents, targets, weights).sum.backward()
    named = [(name, p.grad) for name, p in net.named_parameters()]
    return {name: grad.double().numpy() for name, grad in named if grad is not None}


def gradient_errors(
    net: model.LoopCoder, documents: Documents, names: list[str] | None = None
) -> dict[str, float]:
    """Per tensor: the slope along a random direction, by backward pass and by differences.

    The error is relative to the slope's typical size, |gradient| for a normal direction.
    """
    grads = gradients(net, documents)
    weights = weights_of(net)
    ids, targets, token_weights = loss_inputs(documents)
    rng = np.random.default_rng(0)

    def loss_with(name: str, value: np.ndarray) -> float:
        out = reference.logits(weights | {name: value}, SHAPE, ids.tolist(), documents.lengths)
        return reference.loss(out, targets.numpy(), token_weights.double().numpy())

    errors = {}
    for name in names or list(grads):
        direction = rng.standard_normal(weights[name].shape)
        step = 1e-5 * direction
        up, down = (loss_with(name, weights[name] + sign * step) for sign in (1, -1))
        slope = (up - down) / 2e-5
        errors[name] = abs(slope - (grads[name] * direction).sum()) / np.linalg.norm(grads[name])
    return errors


@pytest.mark.parametrize("packing", PACKINGS)
def test_gradients_equal_finite_differences_of_the_reference(packing: str) -> None:
    one_row = Documents(PACKINGS[packing].lengths[:1])  # differences take two passes a tensor
    errors = gradient_errors(random_model(), one_row)
    assert len(errors) == 2 * 11 + 3
    assert max(errors.values()) <= TOLERANCE, errors


@pytest.mark.parametrize("packing", PACKINGS)
def test_checkpointing_changes_no_gradient(packing: str) -> None:
    net = random_model()
    plain = gradients(net, PACKINGS[packing])
    net.compute = Compute(activation_checkpointing=True)
    recomputed = gradients(net, PACKINGS[packing])
    for name, grad in plain.items():
        np.testing.assert_array_equal(recomputed[name], grad)


def test_bfloat16_stays_near_and_keeps_float32_parameters_and_gradients() -> None:
    net, documents = random_model(), PACKINGS["packed"]
    wide = gradients(net, documents)
    expected = net(random_ids(2, TOKENS), documents)
    net.compute = Compute(dtype="bfloat16")
    error = relative_error(net(random_ids(2, TOKENS), documents), expected)
    assert 1e-5 < error < 0.1  # rounded, but the same function
    narrow = gradients(net, documents)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())
    for name, grad in wide.items():
        cosine = (narrow[name] * grad).sum() / np.linalg.norm(narrow[name]) / np.linalg.norm(grad)
        assert cosine > 0.95, name


def test_checkpointing_keeps_no_bfloat16_copy_of_the_weights() -> None:
    """Without it both passes do, half of a float32 layer each."""

    def forward_peak(layers: int, checkpointing: bool) -> int:
        net = random_model(num_hidden_layers=layers, intermediate_size=2048)
        net.compute = Compute("bfloat16", activation_checkpointing=checkpointing)
        ids = random_ids(1, 8)
        with LiveBytes() as live:
            net(ids, None, ids, torch.ones(ids.shape))
        return live.peak

    layer = 4 * sum(
        p.numel() for p in random_model(intermediate_size=2048).model.layers[0].parameters()
    )
    growth = {
        checkpointing: (forward_peak(6, checkpointing) - forward_peak(2, checkpointing)) / 4 / layer
        for checkpointing in (True, False)
    }
    assert growth[True] == pytest.approx(0, abs=0.05)
    assert growth[False] > 0.95


# --- wrong models: each one must be seen ---------------------------------------------------------

Patch = Callable[[model.LoopCoder, pytest.MonkeyPatch], Any]


def layer_variant(monkeypatch: pytest.MonkeyPatch, heads_of: Callable[..., torch.Tensor]) -> None:
    """Replaces what pass 2 does between the projections and the output projection."""

    def forward(
        self: model.Layer, h: Any, rope: Any, attend: Any, first: Any = None, gate: Any = None
    ) -> Any:
        q, k, v = self.self_attn.project(self.input_layernorm(h), rope)
        heads = attend.causal(q, k, v)
        if first is not None:
            heads = heads_of(attend, rope, gate, q, k, v, first)
        return self.finish(h, heads), model.KeyValue(k, v)

    monkeypatch.setattr(model.Layer, "forward", forward)


def right_heads(
    attend: Any, rope: Any, gate: Any, q: Tensor, k: Tensor, v: Tensor, first: Any
) -> Tensor:
    return model.mix(gate(q), attend.causal(q, *first), attend.sliding(q, k, v))


def gate_before_rope(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def heads(
        attend: Any, rope: Any, gate: Any, q: Tensor, k: Tensor, v: Tensor, first: Any
    ) -> Tensor:
        unrotated = model.rotate(q, model.Rope(rope.cos, -rope.sin))
        return model.mix(gate(unrotated), attend.causal(q, *first), attend.sliding(q, k, v))

    layer_variant(monkeypatch, heads)


def global_over_k2(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def heads(
        attend: Any, rope: Any, gate: Any, q: Tensor, k: Tensor, v: Tensor, first: Any
    ) -> Tensor:
        return model.mix(gate(q), attend.causal(q, k, v), attend.sliding(q, k, v))

    layer_variant(monkeypatch, heads)


def no_window(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockAttention, "sliding", BlockAttention.causal)


def window_of(size: int) -> Patch:
    def patch(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
        right = attention.for_batch
        monkeypatch.setattr(attention, "for_batch", lambda d, w, *rest: right(d, size, *rest))

    return patch


def norm_between_passes(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    decoder: Any = net.model

    def before(layer: Any, arguments: Any) -> Any:
        calls.append(layer)
        if len(calls) % 2 == 0:  # the layer's second pass
            return (decoder.norm(arguments[0]), *arguments[1:])
        return None

    decoder.layers[0].register_forward_pre_hook(before)


def window_leaks_across_documents(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    right = BlockAttention.sliding

    def sliding(self: BlockAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        whole = Documents.whole(q.shape[0], q.shape[2])
        return right(BlockAttention(whole, self.window, self.device), q, k, v)

    monkeypatch.setattr(BlockAttention, "sliding", sliding)


def positions_not_restarted(net: model.LoopCoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def positions(self: Documents, device: Any) -> Tensor:
        return torch.arange(self.tokens).repeat(len(self.lengths), 1)

    monkeypatch.setattr(Documents, "positions", positions)


WRONG: dict[str, tuple[Patch, tuple[str, ...]]] = {
    "gate before RoPE": (gate_before_rope, ("unpacked", "packed")),
    "global attention over K2": (global_over_k2, ("unpacked", "packed")),
    "no window": (no_window, ("unpacked", "packed")),
    "window of 63": (window_of(63), ("unpacked", "packed")),
    "window of 65": (window_of(65), ("unpacked", "packed")),
    "norm between passes": (norm_between_passes, ("unpacked", "packed")),
    "window leaking across documents": (window_leaks_across_documents, ("packed",)),
    "positions not restarted": (positions_not_restarted, ("packed",)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_model_fails_the_comparison(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, packings = WRONG[wrong]
    for packing in packings:
        net, documents = random_model(), PACKINGS[packing]
        expected = expected_logits(net, documents)
        assert logits_error(net, documents, expected) <= TOLERANCE
        with monkeypatch.context() as context:
            patch(net, context)
            assert logits_error(net, documents, expected) > 10 * TOLERANCE, packing


def test_detached_first_pass_keys_fail_the_gradient_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"model.layers.{i}.self_attn.{kv}_proj.weight" for i in (0, 1) for kv in "kv"]
    net, documents = random_model(), PACKINGS["packed"]
    layer_variant(monkeypatch, right_heads)
    assert max(gradient_errors(net, documents, names).values()) <= TOLERANCE

    def detached(
        attend: Any, rope: Any, gate: Any, q: Tensor, k: Tensor, v: Tensor, first: Any
    ) -> Tensor:
        return right_heads(attend, rope, gate, q, k, v, [x.detach() for x in first])

    layer_variant(monkeypatch, detached)
    assert logits_error(net, documents, expected_logits(net, documents)) <= TOLERANCE
    assert min(gradient_errors(net, documents, names).values()) > 100 * TOLERANCE
