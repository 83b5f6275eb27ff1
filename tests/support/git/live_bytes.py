"""How many bytes the tensors take that are alive, those that autograd holds included."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Inside, `peak` is the most that was alive at once of what was made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._known.setdefault(storage._cdata, weakref.ref(storage))
        live = {key: alive for key, ref in self._known.items() if (alive := ref()) is not None}
        self._known = {key: self._known[key] for key in live}
        self.peak = max(self.peak, sum(storage.nbytes() for storage in live.values()))
        return out
