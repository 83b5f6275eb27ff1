"""Checkpoints: atomic, written behind the training, a file a rank, readable by any number of ranks.

    RUN/checkpoints/step-00000100/rank-00000.safetensors    that rank's tensors
    RUN/checkpoints/step-00000100/meta.json                 the marker; the folder is renamed last

Tensors are `model/NAME`, `optim/NAME/KEY` and `rng/RANK/DEVICE`. What is spread (FSDP2) is in every
rank's file (of the first replica) and is put together along its first dimension; what is replicated
is in rank 0's alone.
`save` copies to CPU memory (one copy of model and optimiser) and returns; a thread writes, hashes
and flushes. A killed run leaves a `.tmp` folder, which the next start removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from codeflow.errors import CodeflowError, DataError
from codeflow.loopcoder.hf_reader import Weights
from codeflow.loopcoder.model import LoopCoder
from codeflow.storage.files import usual_mode
from codeflow.train.state.host_copies import HostCopies
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World, shard_range, share, spread_as, to_local

META: Final = "meta.json"
FORMAT: Final = 1
_TEMPORARY: Final = ".tmp"
_POLL_S: Final = 0.02
_LAST_WAIT_S: Final = 10.0
"""How long rank 0 waits for the others' parts once training has ended: by then they are on disk, or
a rank is lost and will not write."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of what this rank has to write, apart from the live tensors."""

    step: int
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]


def live_tensors(model: LoopCoder, optimizer: Optimizer) -> dict[str, Tensor]:
    """Every tensor that decides what follows, by its name in a checkpoint; not copied."""
    parameters = {f"model/{n}": p.detach() for n, p in model.named_parameters()}
    return parameters | {f"optim/{n}": t for n, t in optimizer.state().items()}


def snapshot(
    model: LoopCoder,
    optimizer: Optimizer,
    world: World,
    step: int,
    meta: Mapping[str, Any],
    copies: HostCopies,
) -> Snapshot:
    """Copies to CPU memory. `meta` is what rank 0 writes beside the tensors; `copies` are those of
    the snapshot before, which has to be written."""
    tensors = live_tensors(model, optimizer)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    mine = copies.of(
        {
            name: to_local(tensor)
            for name, tensor in tensors.items()
            if world.first or (isinstance(tensor, DTensor) and world.rank < world.shards)
        }
    )
    mine[f"rng/{world.rank}/cpu"] = torch.get_rng_state()
    if world.device != "cpu":
        mine[f"rng/{world.rank}/cuda"] = torch.cuda.get_rng_state(world.device)
    spread = {"format": FORMAT, "step": step, "world": world.size, "mode": world.mode}
    return Snapshot(step, mine, {**meta, **spread, "shapes": shapes})


class Saver:
    """Writes the checkpoints of one run, one at a time, behind the training.

    Args:
        saved: told of each that is complete, on the first rank, from the thread that writes.
    """

    def __init__(
        self,
        folder: Path,
        world: World,
        keep: int,
        timeout_s: float,
        saved: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self.folder, self.world, self.keep, self.timeout_s = folder, world, keep, timeout_s
        self._saved, self._closed = saved, threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        if world.first:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(f"*{_TEMPORARY}"):
                shutil.rmtree(left, ignore_errors=True)
        world.barrier()

    def save(self, taken: Snapshot) -> None:
        """Starts writing, once the checkpoint before is written."""
        self.settle()
        self._pending = self._pool.submit(self._write, taken)

    def check(self) -> None:
        """Raises what went wrong with the checkpoint being written, without waiting for it."""
        if self._pending is not None and self._pending.done():
            self.settle()

    def settle(self) -> None:
        """Waits for the checkpoint being written. Raises CodeflowError when that failed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Ends the thread; what is being written is finished first, if no rank is lost."""
        self._closed.set()
        self._pool.shutdown(wait=True)

    def _write(self, taken: Snapshot) -> None:
        target = self.folder / f"step-{taken.step:08}"
        part = target.with_name(target.name + _TEMPORARY)
        try:
            part.mkdir(parents=True, exist_ok=True)
            self._write_mine(part, taken)
            if self.world.first:
                self._complete(part, target, taken)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                (part / f"rank-{self.world.rank:05}.failed").touch()
            if self.world.size == 1:
                shutil.rmtree(part, ignore_errors=True)
            last = latest(self.folder)
            raise CodeflowError(
                f"{target}: could not be written ({error}); {_kept(last)}; make room and start "
                "again"
            ) from None

    def _write_mine(self, part: Path, taken: Snapshot) -> None:
        path = part / f"rank-{self.world.rank:05}.safetensors"
        with usual_mode(path):
            save_file(dict(taken.tensors), path)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        entry = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        done = path.with_suffix(".json")
        done.with_suffix(".part").write_text(json.dumps(entry))
        os.replace(done.with_suffix(".part"), done)

    def _complete(self, part: Path, target: Path, taken: Snapshot) -> None:
        names = [f"rank-{rank:05}" for rank in range(self.world.size)]
        deadline = time.monotonic() + self.timeout_s
        while absent := [name for name in names if not (part / f"{name}.json").exists()]:
            if self._closed.is_set():
                deadline = min(deadline, time.monotonic() + _LAST_WAIT_S)
                self._closed.clear()
            if any((part / f"{name}.failed").exists() for name in absent):
                raise OSError(f"{absent[0]} could not write its part")
            if time.monotonic() > deadline:
                raise OSError(f"{absent[0]} did not write its part within {self.timeout_s:g} s")
            time.sleep(_POLL_S)
        files = {f"{n}.safetensors": json.loads((part / f"{n}.json").read_text()) for n in names}
        meta = json.dumps({**taken.meta, "files": files}, indent=1, sort_keys=True)
        for name in names:
            (part / f"{name}.json").unlink()
        with (part / META).open("w", encoding="utf-8") as file:
            file.write(meta + "\n")
            file.flush()
            os.fsync(file.fileno())
        if target.exists():  # an earlier run of another recipe never gets here: see train
            shutil.rmtree(target)
        os.replace(part, target)
        for old in complete(self.folder)[: -self.keep]:
            going = old.with_name(old.name + _TEMPORARY)
            os.replace(old, going)
            shutil.rmtree(going, ignore_errors=True)
        self._saved(target)


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = folder.glob("step-????????")
    return sorted(path for path in found if (path / META).is_file())


def latest(folder: Path) -> Path | None:
    """The last complete checkpoint, or None."""
    found = complete(folder)
    return found[-1] if found else None


def read_meta(path: Path) -> dict[str, Any]:
    """A checkpoint's `meta.json`. Raises DataError when it cannot be read."""
    try:
        meta: dict[str, Any] = json.loads((path / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path / META}: {error}") from None
    if meta.get("format") != FORMAT:
        raise DataError(
            f"{path / META}: format {meta.get('format')!r}, this version reads {FORMAT}"
        )
    return meta


def check_files(path: Path, meta: Mapping[str, Any], world: World) -> None:
    """Compares every file with its hash, each rank its share; all ranks raise together."""
    wrong = []
    for number, (name, entry) in enumerate(sorted(meta["files"].items())):
        file = path / name
        if number % world.size != world.rank:
            continue
        if not file.is_file():
            wrong.append(f"{file}: missing: this rank's part of the checkpoint is lost")
        elif file.stat().st_size != entry["bytes"] or _sha256(file) != entry["sha256"]:
            wrong.append(f"{file}: damaged, its content is not what was written")
    for messages in world.gather(wrong):
        if messages:
            raise DataError(f"{messages[0]}; remove {path} to go on from the one before")


class Reader:
    """The tensors of one checkpoint, whole or in part, whatever number of ranks wrote it."""

    def __init__(self, path: Path, files: list[Any]) -> None:
        self.path = path
        self._holders: dict[str, list[Any]] = {}
        for file in files:
            for name in file.keys():  # noqa: SIM118  (not a mapping)
                self._holders.setdefault(name, []).append(file)

    @property
    def names(self) -> list[str]:
        return list(self._holders)

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows `start:stop` of a tensor along its first dimension."""
        holders = self._holders[name]
        if len(holders) == 1 and stop is None:
            whole: Tensor = holders[0].get_tensor(name)
            return whole
        parts, offset = [], 0
        for holder in holders:
            piece = holder.get_slice(name)
            length = piece.get_shape()[0]
            first = max(0, start - offset)
            last = length if stop is None else min(length, stop - offset)
            if first < last:
                parts.append(piece[first:last])
            offset += length
        return torch.cat(parts) if parts else holders[0].get_tensor(name)[:0]

    def shape(self, name: str) -> tuple[int, ...]:
        pieces = [holder.get_slice(name).get_shape() for holder in self._holders[name]]
        if not pieces[0]:
            return ()
        return (sum(piece[0] for piece in pieces), *pieces[0][1:])


@contextlib.contextmanager
def opened(path: Path, meta: Mapping[str, Any]) -> Iterator[Reader]:
    """Opens a checkpoint's files, memory-mapped. Raises DataError naming a bad one."""
    with contextlib.ExitStack() as stack:
        files = []
        for name in sorted(meta["files"]):
            try:
                files.append(stack.enter_context(safe_open(path / name, framework="pt")))
            except (OSError, SafetensorError) as error:
                raise DataError(f"{path / name}: {error}") from None
        yield Reader(path, files)


@torch.no_grad()
def load_model(
    reader: Reader | Weights,
    model: LoopCoder,
    optional: tuple[str, ...] = (),
    prefix: str = "model/",
) -> None:
    """Fills the model. Raises DataError for a missing or misshapen tensor.

    Args:
        optional: parts of names that may be missing (the gates, when a dense model is folded).
        prefix: what stands before a parameter's name there.
    """
    for name, parameter in model.named_parameters():
        stored = f"{prefix}{name}"
        if stored not in reader.names:
            if any(part in name for part in optional):
                continue
            raise DataError(f"{reader.path}: no tensor {name}: it is a checkpoint of another model")
        if reader.shape(stored) != tuple(parameter.shape):
            raise DataError(
                f"{reader.path}: {name} is {reader.shape(stored)}, the recipe's model has "
                f"{tuple(parameter.shape)}: it is a checkpoint of another shape"
            )
        to_local(parameter).copy_(_part(reader, stored, parameter))


def load_optimizer(reader: Reader, optimizer: Optimizer) -> None:
    """Restores the optimiser's state, spread as its parameters are."""
    state: dict[str, Tensor] = {}
    for stored in reader.names:
        if not stored.startswith("optim/"):
            continue
        path = stored.removeprefix("optim/")
        parameter = optimizer.parameters.get(path.rpartition("/")[0])
        if parameter is None:
            raise DataError(f"{reader.path}: {stored}: it is a checkpoint of another model")
        if reader.shape(stored) == ():
            state[path] = reader.rows(stored).clone()
            continue
        mine = _part(reader, stored, parameter).to(to_local(parameter).device, copy=True)
        if isinstance(parameter, DTensor):
            mine = spread_as(parameter, mine)
        state[path] = mine
    optimizer.load(state)


def load_rng(reader: Reader, world: World) -> None:
    """Restores this rank's generators, when as many ranks wrote the checkpoint."""
    if f"rng/{world.rank}/cpu" in reader.names:
        torch.set_rng_state(reader.rows(f"rng/{world.rank}/cpu").clone())
    if world.device != "cpu" and f"rng/{world.rank}/cuda" in reader.names:
        torch.cuda.set_rng_state(reader.rows(f"rng/{world.rank}/cuda").clone(), world.device)


def state_hash(path: Path) -> str:
    """SHA-256 over a checkpoint's names, shapes and bits, the same however it is spread."""
    meta = read_meta(path)
    digest = hashlib.sha256(json.dumps([meta["step"], meta["position"]]).encode())
    with opened(path, meta) as reader:
        for name in sorted(reader.names):
            tensor = reader.rows(name)
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _part(reader: Reader | Weights, stored: str, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return reader.rows(stored)
    return reader.rows(stored, *shard_range(like.shape[0], *share(like)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(last: Path | None) -> str:
    return f"{last.name} is kept" if last else "no checkpoint was written before"
