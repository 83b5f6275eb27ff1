"""What a process needs so that the same step gives the same bits, in this process and in the next.

- Inductor chooses among kernels by timing them, so two processes may round differently: its
  deterministic mode chooses by shape alone.
- Beyond its limit of shapes Dynamo goes on uncompiled in silence, which rounds otherwise: an error.
- cuBLAS and torch have kernels that add up in the order of arrival: they are turned off where torch
  has another one, and named in a warning where it has none.
- Deterministic mode also fills every new tensor with NaN, for programs that read what they never
  wrote. This one does not, and filling costs a write of all memory that a step uses.
"""

from __future__ import annotations

import os
from typing import Final

import torch
import torch._dynamo.config
import torch._inductor.config as inductor

from codeflow.execution.process import keep_pages

TENSOR_BYTES: Final = 1 << 30
"""Tensors on a CPU below this size are made of pages that the process has already: fresh ones cost
their clearing, 4% of a step at T = 8,192, and let the window's cost grow faster than T."""


def compute_exactly(device: str) -> None:
    """Settings of this process, before its first operation on the device."""
    inductor.deterministic = True
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    if device == "cpu":  # all that is used here is deterministic as it is
        keep_pages(TENSOR_BYTES, TENSOR_BYTES)
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
