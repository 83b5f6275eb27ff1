"""Silent errors, and the proof that resuming changes nothing.

A *fingerprint* of a tensor is the sum of its bits read as integers: one flipped bit always changes
it, and it costs one read of the tensor. Three uses, as the papers describe: of what rests between
two steps, of replicas that must agree, and of a step computed twice from the same state.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from codeflow.errors import CodeflowError, UsageError
from codeflow.train.recipe import Recipe
from codeflow.train.state.parallel import World, local

Fingerprint = dict[str, int]
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class SilentError(CodeflowError):
    """Memory or arithmetic gave a wrong result without any other sign of it."""


def fingerprint(tensors: Mapping[str, Tensor]) -> Fingerprint:
    """Of this rank's part of every tensor. Costs one read of it, and a number back each."""
    by_device: dict[torch.device, dict[str, Tensor]] = {}  # one wait for each
    for name, tensor in tensors.items():
        part = local(tensor)
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
    """DDP: every rank holds the same bits. The rank named is one that differs from most."""
    if world.mode != "ddp" or world.size == 1:
        return
    everyone: list[Fingerprint] = world.gather(mine)
    usual = {
        name: max(values := [each.get(name, 0) for each in everyone], key=values.count)
        for name in mine
    }
    agree(differing(mine, usual), "differs between replicas", step, world)


@dataclass(frozen=True)
class Proof:
    """Two runs of the same steps: one in one go, one stopped and resumed."""

    steps: int
    stopped_at: int
    straight: str
    resumed: str

    @property
    def ok(self) -> bool:
        return self.straight == self.resumed

    def __str__(self) -> str:
        verdict = "equal: resuming is exact" if self.ok else "DIFFERENT: resuming is not exact"
        return (
            f"{self.steps} steps in one go            {self.straight}\n"
            f"{self.stopped_at} steps, resumed, {self.steps - self.stopped_at} more  "
            f"{self.resumed}\n"
            f"{verdict}"
        )


def verify_resume(
    recipe_path: Path,
    data: Path,
    work: Path,
    steps: int,
    at: int,
    settings: Sequence[str] = (),
) -> Proof:
    """Trains `steps` steps twice in `work`, the second time stopped after `at` and resumed with
    another number of data workers; the hashes are over weights, optimiser, generators, position.

    Each of the three trainings is a process of its own that compiles its own kernels, since a run
    that is resumed is one, too.
    """
    from codeflow.train.recipe import read_recipe
    from codeflow.train.state.checkpoint import state_hash

    recipe = read_recipe(recipe_path, settings)
    if not 0 < at < steps <= recipe.schedule.steps:
        raise UsageError(
            f"verify-resume: need 0 < {at} < {steps} <= schedule.steps = {recipe.schedule.steps}"
        )
    quiet = replace(recipe.run, checkpoint_every_steps=0, tensorboard=False)
    recipe = replace(recipe, run=quiet, validation=replace(recipe.validation, every_steps=0))
    other = replace(recipe, run=replace(quiet, data_workers=quiet.data_workers + 2))
    straight = _trained_apart(recipe, data, work / "straight", steps)
    _trained_apart(recipe, data, work / "resumed", at)
    resumed = _trained_apart(other, data, work / "resumed", steps)
    return Proof(steps, at, state_hash(straight), state_hash(resumed))


def _trained_apart(recipe: Recipe, data: Path, out: Path, steps: int) -> Path:
    """The checkpoint after so many steps, from a new process. Raises what it raises."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        try:
            return apart.submit(_train, recipe, data, out, steps).result()
        except BrokenProcessPool:
            raise CodeflowError(
                f"{out}: the process that trained was killed; is there too little memory?"
            ) from None


def _train(recipe: Recipe, data: Path, out: Path, steps: int) -> Path:
    """Runs in the new process. Kernels that another one has compiled are not taken from it."""
    from codeflow.train.trainer import train

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(out.parent / f"kernels-{os.getpid()}")
    return train(recipe, data, out, stop_after=steps).checkpoint
