"""A function run by several processes that know each other, and what each of them returns.

Processes come from a fork server that has torch loaded; each runs one thread.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch

from codeflow.train import recipe as recipes
from codeflow.train.state.parallel import joined

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["torch", "codeflow.train.trainer", "torch.distributed.fsdp"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def become(rank: int, world: int, port: int) -> None:
    """What torchrun sets, for this process."""
    torch.set_num_threads(1)
    if world > 1:
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }


def on_ranks(
    world: int, how: recipes.Parallel, function: Callable[..., Any], *arguments: Any
) -> list[Any]:
    """`function(world, *arguments)` on every rank of a joined world; results by rank.

    Raises AssertionError with the traceback of a rank that failed.
    """
    port, results = free_port(), context.Queue()
    processes = [
        context.Process(
            target=_one, args=(rank, world, port, how, results, function, arguments), daemon=True
        )
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    found = dict(
        results.get(timeout=120) for _ in processes
    )  # bytes, since tensors would be shared
    for process in processes:
        process.join(60)
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
