"""Silent errors: memory or arithmetic that gives a wrong result without any other sign of it.

A *fingerprint* of a tensor is the sum of its bits read as integers: one flipped bit always changes
it, and it costs one read of the tensor. Three uses, as the papers describe: of what rests between
two steps, of replicas that must agree, and of a step computed twice from the same state.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from codeflow.errors import CodeflowError
from codeflow.loopcoder.model import LoopCoder
from codeflow.train import recipe as recipes
from codeflow.train.outcome import Outcome
from codeflow.train.state.checkpoint import live_tensors
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World, to_local

Fingerprint = dict[str, int]
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class SilentError(CodeflowError):
    """Memory or arithmetic gave a wrong result without any other sign of it."""


class Guard:
    """The checks of one run, on every rank alike; all of them raise SilentError."""

    def __init__(
        self, settings: recipes.Guard, model: LoopCoder, optimizer: Optimizer, world: World
    ) -> None:
        self._settings, self._world = settings, world
        self._model, self._optimizer = model, optimizer
        self._state_at_rest: Fingerprint | None = None

    def before(self, done: int) -> None:
        """Before a step, when so many are done: nothing has changed since `after`."""
        state_at_rest, self._state_at_rest = self._state_at_rest, None
        if state_at_rest is not None:
            wrong = differing(state_at_rest, fingerprint(self._live()))
            agree(wrong, "changed between two steps", done, self._world)

    def computed(self, number: int, compute: Callable[[], Outcome]) -> Outcome:
        """What a step gives, computed twice from the same state when that is its turn.

        Twice costs a copy of the state and a second step.
        """
        every = self._settings.recompute_every_steps
        if not every or number % every:
            return compute()
        start = {name: to_local(tensor).clone() for name, tensor in self._live().items()}
        first = compute()
        result = fingerprint(self._live())
        if not any(name.startswith("optim/") for name in start):
            self._optimizer.load({})
        for name, tensor in self._live().items():
            to_local(tensor).copy_(start[name])
        second = compute()
        wrong = differing(result, fingerprint(self._live()))
        same = (first.loss, first.grad_norm) == (second.loss, second.grad_norm)
        if first.state == "good" and not same:
            wrong = wrong or ["the loss"]
        agree(wrong, "came out different when computed again", number, self._world)
        return second

    def after(self, done: int, saving: bool) -> None:
        """After a step, when so many are done: replicas agree; keeps what `before` compares."""
        every = self._settings.fingerprint_every_steps
        if every and (saving or done % every == 0):
            self._state_at_rest = fingerprint(self._live())
            compare_replicas(self._state_at_rest, done, self._world)

    def _live(self) -> dict[str, Tensor]:
        return live_tensors(self._model, self._optimizer)


def fingerprint(tensors: Mapping[str, Tensor]) -> Fingerprint:
    """Of this rank's part of every tensor. Costs one read of it, and a number back each."""
    by_device: dict[torch.device, dict[str, Tensor]] = {}  # one wait for each
    for name, tensor in tensors.items():
        part = to_local(tensor)
        bits = part.contiguous().view(_INTEGERS[part.element_size()])
        by_device.setdefault(part.device, {})[name] = bits.sum(dtype=torch.int64)
    found: Fingerprint = {}
    for sums in by_device.values():
        found |= zip(sums, torch.stack(list(sums.values())).tolist(), strict=True)
    return {name: found[name] for name in tensors}


def differing(a: Fingerprint, b: Fingerprint) -> list[str]:
    """Names whose bits differ."""
    return [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]


def agree(wrong: list[str], what: str, step: int, world: World) -> None:
    """Raises SilentError on every rank when any found something wrong."""
    reports = world.gather((socket.gethostname(), wrong))
    for rank, (host, names) in enumerate(reports):
        if names:
            raise SilentError(
                f"step {step}: silent error: {names[0]}"
                f"{f' and {len(names) - 1} more' if len(names) > 1 else ''} {what} "
                f"(rank {rank}, {host}): "
                "check that machine, then start again (from the last checkpoint)"
            )


def compare_replicas(mine: Fingerprint, step: int, world: World) -> None:
    """Ranks that hold the same, all under DDP, have the same bits. The rank named is one that
    differs from most."""
    if world.shards == world.size:
        return
    everyone: list[Fingerprint] = world.gather(mine)[world.rank % world.shards :: world.shards]
    usual = {
        name: max(values := [each.get(name, 0) for each in everyone], key=values.count)
        for name in mine
    }
    agree(differing(mine, usual), "differs between replicas", step, world)
