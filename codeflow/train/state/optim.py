"""AdamW and Muon behind one small interface, the learning rate by step, and gradient clipping.

The schedule is a function of the step alone, so there is no schedule state to lose. The state of
the optimiser is read and restored by parameter *name*, which survives another order of parameters,
another number of ranks and a change from DDP to FSDP2. Muon is written here rather than taken from
torch because its matrices must be whole: under FSDP2 the gathered gradient is orthogonalised on
every rank and each keeps its slice. It costs 5 x 3 products of the smaller side a matrix, and
matrices of one shape go through them together: one by one, a model of 1.5B needs 4,200 launches.

On a GPU, AdamW is torch's fused one, whose step counts live on the device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from codeflow.errors import DataError
from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import shard_of, spread_as, to_local

NEWTON_SCHULZ: Final = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS: Final = 5
MUON_RMS: Final = 0.2  # brings an update's RMS to AdamW's usual one, so that both share an lr
STACK_ELEMENTS: Final = 1 << 27
"""How many numbers are orthogonalised together at most, since their stack is a copy."""


def learning_rate(step: int, schedule: recipes.Schedule, peak: float) -> float:
    """The rate of step 0, 1, ...: linear warm-up (never 0), then flat and decay, or a cosine and
    its tail."""
    if step < schedule.warmup_steps:
        return peak * (step + 1) / schedule.warmup_steps
    floor = schedule.final_lr_fraction
    if schedule.name == "cosine":
        span = max(1, schedule.steps - schedule.warmup_steps - schedule.tail_steps)
        share = 0.5 * (1 + math.cos(math.pi * min(span, step - schedule.warmup_steps) / span))
    else:
        share = min(1.0, (schedule.steps - step) / max(1, schedule.decay_steps))
    return peak * (floor + (1 - floor) * max(0.0, share))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Newton-Schulz: each (R, C) of (..., R, C) to nearly U V^T of its singular values.

    The quintic's coefficients bring every singular value to about 0.7..1.2 in five steps. In
    float32 on a CPU, in bfloat16 elsewhere.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.float() if matrices.device.type == "cpu" else matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    norms = torch.stack(
        torch._foreach_norm(x.flatten(0, -3).unbind()) if x.ndim > 2 else [x.norm()]
    )
    x = x / (norms.view(*x.shape[:-2], 1, 1) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    out: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return out


def stacks(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """The parameters by shape, no more of them together than `STACK_ELEMENTS` allows."""
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_shape.setdefault(parameter.shape, []).append(parameter)
    for shape, alike in by_shape.items():
        count = max(1, STACK_ELEMENTS // shape.numel())
        for first in range(0, len(alike), count):
            yield alike[first : first + count]


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; for matrices only."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameters in stacks(group["params"]):
                self._update(parameters, **{k: group[k] for k in self.defaults})

    def _update(
        self, parameters: Sequence[nn.Parameter], lr: float, momentum: float, weight_decay: float
    ) -> None:
        """Of matrices of one shape: every operation is one on all of them."""
        gradients, buffers = [], []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter.grad)
            gradients.append(to_local(parameter.grad))
            buffers.append(to_local(state["momentum_buffer"]))
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        nesterov = torch._foreach_lerp(gradients, buffers, momentum)
        whole = torch.stack(
            [
                spread_as(parameter, part).full_tensor() if isinstance(parameter, DTensor) else part
                for parameter, part in zip(parameters, nesterov, strict=True)
            ]
        )
        update = orthogonalised(whole).mul_(MUON_RMS * math.sqrt(max(whole.shape[1:])))
        parts = [to_local(parameter) for parameter in parameters]
        torch._foreach_mul_(parts, 1 - lr * weight_decay)
        pairs = zip(update.unbind(), parameters, strict=True)
        torch._foreach_sub_(parts, [shard_of(whole, p) for whole, p in pairs], alpha=lr)


class Optimizer:
    """The parameters of a model, in groups by name, and their optimisers."""

    def __init__(self, model: nn.Module, settings: recipes.Optimizer) -> None:
        self.settings = settings
        self.parameters = dict(model.named_parameters())
        matrices = {n: p for n, p in self.parameters.items() if is_layer_matrix(n, p)}
        by_muon = matrices if settings.name == "muon" else {}
        rest = {n: p for n, p in self.parameters.items() if n not in by_muon}
        decayed = [p for n, p in rest.items() if has_decay(n, p)]
        plain = [p for n, p in rest.items() if not has_decay(n, p)]
        decay = settings.weight_decay
        self._fused = all(p.device.type != "cpu" for p in self.parameters.values())
        self._all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [
                    {"params": decayed, "weight_decay": decay},
                    {"params": plain, "weight_decay": 0.0},
                ],
                lr=settings.lr,
                betas=(settings.beta1, settings.beta2),
                eps=settings.eps,
                fused=self._fused,
            )
        ]
        if by_muon:
            self._all.append(Muon(by_muon.values(), settings.lr, settings.momentum, decay))

    def clip(self) -> Tensor:
        """Clips the gradients to `clip_norm` over all parameters; their norm before, a scalar."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def step(self, lr: float) -> None:
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()

    def zero_grad(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """`NAME/KEY` to tensor, of every parameter that was ever updated."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.parameters.items()
            for optimizer in self._all
            for key, value in optimizer.state.get(parameter, {}).items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state` gave. Raises DataError when it is another optimiser's."""
        for optimizer in self._all:
            optimizer.state.clear()
        keys: dict[str, dict[str, Tensor]] = {}
        for path, value in state.items():
            name, _, key = path.rpartition("/")
            keys.setdefault(name, {})[key] = value
        for name, values in keys.items():
            parameter = self.parameters[name]
            owner = next(
                o
                for o in self._all
                if any(parameter is p for g in o.param_groups for p in g["params"])
            )
            expected = (
                {"momentum_buffer"}
                if isinstance(owner, Muon)
                else {"step", "exp_avg", "exp_avg_sq"}
            )
            if values.keys() != expected:
                raise DataError(
                    f"optimiser state of {name} holds {', '.join(sorted(values))}, "
                    f"{type(owner).__name__} needs {', '.join(sorted(expected))}"
                )
            if "step" in values:  # a fused kernel reads and counts it where the parameter is
                values["step"] = values["step"].to(parameter.device if self._fused else "cpu")
            owner.state[parameter] = values


def is_layer_matrix(name: str, parameter: Tensor) -> bool:
    """What Muon takes: the projections inside the layers."""
    return parameter.ndim == 2 and ".layers." in name


def has_decay(name: str, parameter: Tensor) -> bool:
    """Matrices decay; norms and gates do not (decay would pull a gate's bias from its start)."""
    return parameter.ndim == 2 and "gate_projections" not in name
