"""What a run's loop and layers do, every so many steps: gates, passes, gradients.

- `gate`: per layer mean, standard deviation, and share below 0.1 and above 0.9;
- `pass2_change`: |h2 - h1| / |h1| of the hidden state after pass 2 and after pass 1;
- `pass1_grad_norm`, `pass2_grad_norm`: of the loss by the hidden state at the end of each pass.
  (The parameters are shared, so their gradient has no cheap split by pass.)
- `grad_norm`: of the whole step's gradient, before clipping, by layer and what lies outside them.

All but the last are of one micro-batch on this rank.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from codeflow.loopcoder.model import Layer, LoopCoder


class Diagnostics:
    """What is seen of one micro-batch: filled by its forward and backward pass."""

    def __init__(self) -> None:
        self.gates: dict[int, dict[str, float]] = {}
        self.hidden: list[Tensor] = []
        self.grad_norms: dict[str, float] = {}

    def values(self) -> dict[str, Any]:
        out: dict[str, Any] = {**self.grad_norms}
        if len(self.hidden) == 2:
            first, second = (h.double() for h in self.hidden)
            out["pass2_change"] = float((second - first).norm() / first.norm())
        if self.gates:
            out["gate"] = {f"layer{i}": self.gates[i] for i in sorted(self.gates)}
        return out


@contextlib.contextmanager
def diagnosing(model: LoopCoder | None) -> Iterator[Diagnostics]:
    """Hooks for one forward and backward pass, of no model none. They copy the last layer's output
    twice."""
    found = Diagnostics()
    if model is None:
        yield found
        return
    backbone = model.model

    def after_last(module: nn.Module, inputs: Any, output: Any) -> None:
        number = len(found.hidden) + 1
        h = output[0]
        found.hidden.append(h.detach().clone())
        if h.requires_grad:
            name = f"pass{number}_grad_norm"
            h.register_hook(lambda g: found.grad_norms.__setitem__(name, float(g.double().norm())))

    def after_gate(layer: int, gate: Tensor) -> None:
        g = gate.float()
        found.gates[layer] = {
            "mean": float(g.mean()),
            "std": float(g.std()),
            "below_0.1": float((g < 0.1).float().mean()),
            "above_0.9": float((g > 0.9).float().mean()),
        }

    layers: list[Layer] = list(backbone.layers)  # type: ignore[arg-type]
    handle = layers[-1].register_forward_hook(after_last)
    for i, layer in enumerate(layers):
        layer.seen_gate = functools.partial(after_gate, i)
    try:
        yield found
    finally:
        handle.remove()
        for layer in layers:
            layer.seen_gate = None


def gradient_norms(parameters: Mapping[str, nn.Parameter]) -> dict[str, float]:
    """By layer, and of the embedding, head, last norm and gates. All ranks take part in it."""
    groups: dict[str, list[Tensor]] = {}
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            groups.setdefault(_place(name), []).append(parameter.grad)
    norms = [torch.nn.utils.get_total_norm(gradients) for gradients in groups.values()]
    whole = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    return dict(zip(groups, torch.stack(whole).tolist(), strict=True)) if whole else {}


def _place(name: str) -> str:
    """`model.layers.7.mlp.up_proj.weight` -> `layer7`, `lm_head.weight` -> `lm_head`."""
    within = re.match(r"model\.layers\.(\d+)\.", name)
    if within:
        return f"layer{within[1]}"
    return name.removeprefix("model.").split(".")[0]
