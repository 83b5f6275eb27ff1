"""What a step and a run come to, a run that ends too early included."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from codeflow.errors import CodeflowError, UsageError
from codeflow.storage.lock import locked_file
from codeflow.train.metrics import Work
from codeflow.train.state.checkpoint import latest
from codeflow.train.state.parallel import World, is_lost_rank

LOCK: Final = ".lock"


@dataclass(frozen=True)
class Result:
    """Where a run stands: steps done, the loss of the last one, its last checkpoint."""

    step: int
    loss: float
    checkpoint: Path


@dataclass(frozen=True)
class Outcome:
    """What one step gave. `state` is `good`, `bad` (not finite) or `empty` (no target tokens);
    `work` what it had to compute, over all ranks; `diagnosis` what its loop did, where asked;
    `seen` what the feed's watch saw, as means over the tokens."""

    loss: float
    grad_norm: float
    lr: float
    weight: float
    state: str
    work: Work
    diagnosis: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def explained(out: Path, world: World) -> Iterator[None]:
    """Turns a full disk, too little memory and a lost rank into one line that says where the run
    can go on.

    Args:
        out: the run's folder.
    """
    try:
        yield
    except OSError as error:
        raise CodeflowError(
            f"{out}: cannot be written or read ({error}); mend that and give the same command, "
            f"which goes on from {last_of(out)}"
        ) from None
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise CodeflowError(
                f"rank {world.rank}, {world.device}: out of memory ({_first_line(error)}); "
                "codeflow train --dry-run says what takes it; more ranks with parallel.mode = "
                f'"fsdp2" go on from {last_of(out)}, and fewer batch.micro_batch_rows or '
                "compute.activation_checkpointing need another --out"
            ) from None
        if world.size == 1 or not is_lost_rank(error):
            raise
        raise CodeflowError(
            f"rank {world.rank} lost another rank ({_first_line(error)}); the same "
            f"command goes on from {last_of(out)}"
        ) from None


def is_out_of_memory(error: BaseException) -> bool:
    """Of a device, or of this machine, for which torch has no type of error."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextlib.contextmanager
def exclusive(out: Path, world: World) -> Iterator[None]:
    """Holds a run's folder. Raises UsageError, on every rank, when another trainer is in it."""
    with contextlib.ExitStack() as stack:
        taken = False
        if world.first:
            try:
                stack.enter_context(locked_file(out / LOCK))
            except BlockingIOError:
                taken = True
        if world.gather(taken)[0]:
            raise UsageError(
                f"{out}: another training run is at work in this folder; wait for it or stop it, "
                "or give another --out"
            )
        yield


def last_of(out: Path) -> str:
    """The name of a run's last complete checkpoint, for messages."""
    with contextlib.suppress(OSError):
        last = latest(out / "checkpoints")
        if last is not None:
            return last.name
    return "the start"
