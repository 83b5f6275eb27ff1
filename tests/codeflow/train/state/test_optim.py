"""The optimisers against float64 numpy steps written from their papers, and the schedules."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from codeflow.errors import UsageError
from codeflow.train.recipe import Optimizer as Settings
from codeflow.train.recipe import Schedule
from codeflow.train.state.optim import Optimizer, has_decay, is_layer_matrix, learning_rate
from loopcoder_models import random_model

Array = npt.NDArray[np.float64]
SETTINGS = Settings("adamw", lr=0.01, weight_decay=0.3, eps=1e-8)


def adamw(w: Array, grads: list[Array], rates: list[float], decay: float, s: Settings) -> Array:
    """Loshchilov & Hutter, with decoupled decay and bias correction."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), 1):
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g * g
        m_hat, v_hat = m / (1 - s.beta1**t), v / (1 - s.beta2**t)
        w = w - lr * decay * w - lr * m_hat / (np.sqrt(v_hat) + s.eps)
    return w


def muon(w: Array, grads: list[Array], rates: list[float], s: Settings) -> Array:
    """Nesterov momentum, five quintic iterations, and an update's RMS of 0.2."""
    buffer = np.zeros_like(w)
    for g, lr in zip(grads, rates, strict=True):
        buffer = s.momentum * buffer + (1 - s.momentum) * g
        x = s.momentum * buffer + (1 - s.momentum) * g
        x = x / np.linalg.norm(x)
        for _ in range(5):
            # the polynomial acts on singular values: p(s) = a s + b s^3 + c s^5
            u, sv, vt = np.linalg.svd(x, full_matrices=False)
            x = u @ np.diag(3.4445 * sv - 4.7750 * sv**3 + 2.0315 * sv**5) @ vt
        w = w - lr * s.weight_decay * w - lr * 0.2 * np.sqrt(max(w.shape)) * x
    return w


def stepped(settings: Settings, rates: list[float]) -> tuple[Any, Any, Any]:
    """Parameters before and after some steps on random gradients, and the gradients."""
    model = random_model()
    optimizer = Optimizer(model, settings)
    before = {n: p.detach().double().numpy().copy() for n, p in optimizer.parameters.items()}
    random = torch.Generator().manual_seed(1)
    grads: dict[str, list[Array]] = {name: [] for name in before}
    for lr in rates:
        for name, parameter in optimizer.parameters.items():
            parameter.grad = torch.randn(parameter.shape, generator=random)
            grads[name].append(parameter.grad.double().numpy().copy())
        optimizer.step(lr)
    after = {n: p.detach().double().numpy() for n, p in optimizer.parameters.items()}
    return before, after, grads


def wanted(name: str, w: Array, grads: list[Array], rates: list[float], s: Settings) -> Array:
    plain = name.endswith("norm.weight") or "gate_projections" in name
    if s.name == "muon" and ".layers." in name and w.ndim == 2:
        return muon(w, grads, rates, s)
    return adamw(w, grads, rates, 0.0 if plain else s.weight_decay, s)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_steps_equal_numpy(kind: str) -> None:
    settings = dataclasses.replace(SETTINGS, name=kind)
    rates = [0.01, 0.02, 0.005]
    before, after, grads = stepped(settings, rates)
    for name, w in before.items():
        expected = wanted(name, w, grads[name], rates, settings)
        moved = np.abs(expected - w).max()
        assert np.abs(after[name] - expected).max() < 2e-4 * moved, name


@pytest.mark.parametrize(
    "wrong", [{"momentum": 0.9}, {"weight_decay": 0.0}, {"beta2": 0.99}, {"name": "adamw"}]
)
def test_the_comparison_can_fail(wrong: dict[str, Any]) -> None:
    settings = dataclasses.replace(SETTINGS, name="muon")
    rates = [0.01, 0.02]
    before, after, grads = stepped(settings, rates)
    other = dataclasses.replace(settings, **wrong)
    errors = [
        np.abs(after[n] - wanted(n, w, grads[n], rates, other)).max() / np.abs(after[n] - w).max()
        for n, w in before.items()
    ]
    assert max(errors) > 0.002  # the right one: below 2e-4


def test_groups() -> None:
    names = dict(random_model().named_parameters())
    undecayed = {n for n, p in names.items() if not has_decay(n, p)}
    assert undecayed == {n for n in names if "norm" in n or "gate_projections" in n}
    matrices = {n for n, p in names.items() if is_layer_matrix(n, p)}
    assert len(matrices) == 2 * 7
    assert all("_proj.weight" in n for n in matrices)


def test_wsd() -> None:
    schedule = Schedule("wsd", steps=100, warmup_steps=10, decay_steps=20, final_lr_fraction=0.1)
    rates = [learning_rate(step, schedule, 2.0) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10:81] == [2.0] * 71
    assert rates[90] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert 0.2 < rates[99] < 0.3
    assert all(rate > 0 for rate in rates)


def test_cosine() -> None:
    schedule = Schedule("cosine", steps=110, warmup_steps=10, decay_steps=0)
    rates = [learning_rate(step, schedule, 1.0) for step in range(110)]
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.5)
    assert rates[35] == pytest.approx(0.5 + 0.5 * np.sqrt(0.5))
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)


def test_a_cosine_may_end_in_a_tail() -> None:
    """At the floor, not rising again; without one the rates are those of before."""
    schedule = Schedule("cosine", steps=110, warmup_steps=10, final_lr_fraction=0.05, tail_steps=40)
    rates = [learning_rate(step, schedule, 1.0) for step in range(110)]
    assert rates[10] == 1.0
    assert rates[40] == pytest.approx(0.05 + 0.95 * 0.5)  # half way through 60 steps
    assert rates[70:] == [0.05] * 40
    assert rates[69] > 0.05
    with pytest.raises(UsageError, match="tail_steps is a cosine's"):
        Schedule("wsd", tail_steps=1)
    with pytest.raises(UsageError, match="warm-up and tail take 120 of 110"):
        Schedule("cosine", steps=110, warmup_steps=10, tail_steps=110)
