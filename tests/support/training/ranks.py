"""A function run by several processes that know each other, and what each of them returns.

Processes come from a fork server that has torch loaded; each runs one thread.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import joined

HANGS_S = 240  # no measure of speed: after so long nothing comes any more
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["torch", "codeflow.train.trainer", "torch.distributed.fsdp"])


_MEETINGS: list[TCPStore] = []


def meeting_port() -> int:
    """Where the ranks of one run find each other: a store of this process, as torchrun has one.

    It listens from now on, so that no other process can take the port before the ranks are there.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    _MEETINGS.append(store)
    return int(store.port)


def become(rank: int, world: int, port: int) -> None:
    """What torchrun sets, for this process."""
    torch.set_num_threads(1)
    if world > 1:
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }


def on_ranks(
    world: int, how: recipes.Parallel, function: Callable[..., Any], *arguments: Any
) -> list[Any]:
    """`function(world, *arguments)` on every rank of a joined world; results by rank.

    Raises AssertionError with the traceback of a rank that failed.
    """
    port, results = meeting_port(), context.Queue()
    processes = [
        context.Process(
            target=_one, args=(rank, world, port, how, results, function, arguments), daemon=True
        )
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    found = dict(
        results.get(timeout=HANGS_S) for _ in processes
    )  # bytes, since tensors would be shared
    for process in processes:
        process.join(HANGS_S)
    for value in found.values():
        if isinstance(value, str):
            raise AssertionError(value)
    return [torch.load(io.BytesIO(found[rank])) for rank in range(world)]


def _one(
    rank: int,
    size: int,
    port: int,
    how: recipes.Parallel,
    results: Any,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    become(rank, size, port)
    try:
        with joined(how) as world:
            value = function(world, *arguments)
    except BaseException:
        results.put((rank, traceback.format_exc()))
    else:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        results.put((rank, buffer.getvalue()))
