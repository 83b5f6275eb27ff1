"""One process or several: joining, wrapping the model, and who holds which part of a tensor.

Under torchrun (`RANK` and `WORLD_SIZE` are set) a run is DDP or FSDP2; without it, one process and
no wrapping. Both average gradients over the ranks, so the loss is multiplied by their number and
divided by the global weight: the token mean over the global batch, exactly.

With `context = N` every N ranks in a row share their rows (`codeflow.loopcoder.context`), and the
groups read different ones. Weights are spread or replicated over all ranks as without it, since
every rank computes the loss of its own tokens, whether these are other rows or other parts of them.

Under FSDP2 every layer is one unit and the rest (embedding, head, norm, gates) the root's. A layer
runs twice in a step. Its gradient is reduced once per backward pass; with activation checkpointing
twice, after each pass's part (`gradients_by_pass`), as it would wait whole on every rank otherwise.
In bfloat16, layers are gathered in it, half the bytes, and their gradients reduced in float32. (So
a layer's norms are rounded to it, which they are not in one process or under DDP.)

With `replicas = N` (HSDP) the ranks form N groups in a row. Each holds all weights, spread over its
ranks; gradients are reduced within the groups, and with a step's last micro-batch between them.
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import _abort_process_group
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.nn.parallel import DistributedDataParallel

from codeflow.errors import CodeflowError, UsageError
from codeflow.loopcoder.config import Compute, ModelConfig
from codeflow.loopcoder.context import Part
from codeflow.loopcoder.model import LoopCoder, build, draw
from codeflow.train import recipe as recipes


@dataclass(frozen=True)
class World:
    """This process among all: its rank, their number, its device, how the model is spread.

    `part` is what it holds of its rows, None when they are whole; `replicas` how often all ranks
    together hold what FSDP2 spreads.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    mode: str = "single"
    part: Part | None = None
    replicas: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def shards(self) -> int:
        """How many ranks in a row hold all weights together."""
        return self.size // self.replicas if self.mode == "fsdp2" else 1

    @property
    def readers(self) -> int:
        """How many groups of ranks read different rows."""
        return self.size // (self.part.size if self.part else 1)

    @property
    def reader(self) -> int:
        """The number of this rank's group among them."""
        return self.rank // (self.part.size if self.part else 1)

    def sum(self, *values: float) -> list[float]:
        """Sums over the ranks, in float64."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()


@contextlib.contextmanager
def joined(how: recipes.Parallel) -> Iterator[World]:
    """The world that the environment names; one process alone takes whole rows.

    Raises:
        UsageError: the ranks do not divide into groups of `context`, or into `replicas`.
        CodeflowError: a rank does not come.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if "WORLD_SIZE" not in os.environ:
        yield World(device=device)
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if size % how.context:
        raise UsageError(
            f"{size} ranks are not a multiple of parallel.context = {how.context}: start as many "
            "as rows are to be split over, or a multiple"
        )
    if size % how.replicas:
        raise UsageError(
            f"{size} ranks are not a multiple of parallel.replicas = {how.replicas}: every replica "
            "needs as many"
        )
    timeout = datetime.timedelta(seconds=how.timeout_s)
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device != "cpu" else "gloo", timeout=timeout
        )
        part = _part(rank, size, how.context, timeout)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CodeflowError(
            f"rank {rank}: not all of {size} ranks came within {how.timeout_s:g} s ({reason}); "
            "start them all, or raise parallel.timeout_s"
        ) from None
    leave = dist.destroy_process_group
    try:
        yield World(rank, size, device, how.mode, part, how.replicas)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        if device != "cpu":
            # NCCL would wait for what other ranks have not begun, and they for this one.
            leave = _abort_process_group
        raise
    finally:
        # DDP's reducer must go before the group: as its last owner it would wait for the group's
        # threads with Python's lock held, which one of them may need to end. (Seen with gloo.)
        gc.collect()
        leave()


def _part(rank: int, size: int, context: int, timeout: datetime.timedelta) -> Part | None:
    """This rank's part of its rows, with a process group of the ranks that share them."""
    if context == 1:
        return None
    groups = [list(range(first, first + context)) for first in range(0, size, context)]
    group, _ = dist.new_subgroups_by_enumeration(groups, timeout)  # type: ignore[no-untyped-call]
    return Part(rank % context, context, group.group_name)


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error of torch says that another process is gone, as far as its words tell."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        word in text
        for word in ("connection closed", "connection reset", "timed out", "gloo", "nccl")
    )


def make_model(
    config: ModelConfig,
    compute: Compute,
    world: World,
    seed: int,
    drawn: Callable[[str], bool] = lambda name: True,
) -> nn.Module:
    """The untrained model, wrapped for this world; equal values however it is spread.

    FSDP2 draws one whole parameter at a time and keeps its slice, so no rank ever holds more than
    its share and the largest parameter.

    Args:
        drawn: by a parameter's name, whether its value is used; false leaves the memory as it is,
            for what is read from a checkpoint. (All that is used is drawn by every rank, since a
            generator cannot skip any.)
    """
    model = build(config, compute)
    if compute.compile:
        model.compile_blocks()
    if world.mode == "fsdp2":
        _spread(model, compute, world)
    model.to_empty(device=world.device)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if drawn(name):
            whole = torch.empty(parameter.shape)
            draw(name, whole, config, generator)
            place(parameter, whole)
    if world.mode == "ddp":
        ids = None if world.device == "cpu" else [torch.device(world.device)]
        return DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)
    return model


def _spread(model: LoopCoder, compute: Compute, world: World) -> None:
    """FSDP2, over all ranks or within replicas."""
    # A layer hands on its values as a view, which nothing writes to in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    shape = (world.replicas, world.shards) if world.replicas > 1 else (world.size,)
    names = ("replicas", "shards")[-len(shape) :]
    mesh = init_device_mesh(torch.device(world.device).type, shape, mesh_dim_names=names)
    policy = MixedPrecisionPolicy()
    if compute.dtype == "bfloat16":  # the stream, a layer's input, stays float32
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh)
    model.model.gradients_by_pass = True


def unwrapped(model: nn.Module) -> LoopCoder:
    """The LoopCoder inside the wrapping; its parameters have the released names."""
    module = model.module if isinstance(model, DistributedDataParallel) else model
    assert isinstance(module, LoopCoder)
    return module


def accumulating(model: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Around a micro-batch: DDP, and FSDP2 between replicas, reduce with the last one alone. Within
    one FSDP2 reduces every one, since gradients that wait would be whole on every rank."""
    if isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    if isinstance(model, FSDPModule):
        model.set_requires_all_reduce(last)
    return contextlib.nullcontext()


def to_local(tensor: Tensor) -> Tensor:
    """This rank's part; the tensor itself when it is not spread."""
    part = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return part.detach()


def shard_range(rows: int, rank: int, size: int) -> tuple[int, int]:
    """The rows of a tensor that a rank holds when it is spread along its first dimension."""
    share = -(-rows // size)
    return min(rows, rank * share), min(rows, (rank + 1) * share)


def share(like: DTensor) -> tuple[int, int]:
    """Which of how many shares of a spread tensor this rank holds."""
    *copied, spread = like.placements
    assert spread == Shard(0)
    assert all(isinstance(each, Replicate) for each in copied)
    mesh, dimension = like.device_mesh, like.device_mesh.ndim - 1
    return mesh.get_local_rank(dimension), mesh.size(dimension)


def shard_of(whole: Tensor, like: Tensor) -> Tensor:
    """The part of `whole` that this rank holds of `like`."""
    if not isinstance(like, DTensor):
        return whole
    start, stop = shard_range(whole.shape[0], *share(like))
    return whole[start:stop]


def spread_as(like: DTensor, part: Tensor) -> DTensor:
    """This rank's part of a tensor that is spread as `like` is."""
    made: DTensor = DTensor.from_local(
        part,
        like.device_mesh,
        like.placements,
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )
    return made


@torch.no_grad()
def place(target: Tensor, whole: Tensor) -> None:
    """Fills this rank's part of `target` from a whole tensor."""
    to_local(target).copy_(shard_of(whole, target))
