"""Copies of a rank's tensors in CPU memory, for a thread that writes them while training goes on.

From a GPU, a copy into pinned memory runs at the bus's speed, and none waits for the one before:
0.4 s for a model of 1.5B with its optimiser, against 3 to 6 s into pageable memory (counted, never
measured). Pinning costs more than copying, so that memory is kept from one time to the next.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class HostCopies:
    """The copies of one run. Those of a call are good until the next one."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._pinned: dict[str, Tensor] = {}

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """By name, all of them complete."""
        if self._device == "cpu":
            return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        copies = {n: self._room(n, t).copy_(t, non_blocking=True) for n, t in tensors.items()}
        wait_for(self._device)
        return copies

    def _room(self, name: str, tensor: Tensor) -> Tensor:
        room = self._pinned.get(name)
        if room is None or (room.shape, room.dtype) != (tensor.shape, tensor.dtype):
            room = self._pinned[name] = pinned_like(tensor)
        return room


def pinned_like(tensor: Tensor) -> Tensor:
    """Memory of its shape that the GPU reaches by itself."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)


def wait_for(device: str) -> None:
    torch.cuda.synchronize(device)
