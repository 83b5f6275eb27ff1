"""How often a path's whole text may be learnt in an epoch.

A file that every change touches would be written a hundred times, each time nearly the same: on
four audited histories the texts of whole-file renderings were 6 to 44 times the distinct paths.
Which of a path's triples write it is drawn by hash, so it depends on no order. Costs a read of the
columns `repo`, `id`, `files` and `weight`, and some numbers a path.
"""

from __future__ import annotations

import hashlib
from bisect import insort
from collections.abc import Callable, Iterable
from typing import Final

from codeflow.records import SYMLINK_MODE
from codeflow.triple import Triple

MOST: Final = 4
"""Times that a path is written whole in an epoch, over all versions of it."""


class Repeats:
    """Which paths a triple may write whole: those of which it is among the `MOST` first by hash."""

    def __init__(
        self, triples: Iterable[Triple], seed: int, copies: Callable[[Triple], int]
    ) -> None:
        """Reads all triples; `copies` says how often each is rendered."""
        self._seed = seed
        self._lowest: dict[tuple[str, str], list[int]] = {}
        for triple in triples:
            for path in {f.new_path for f in triple.files if f.new_mode != SYMLINK_MODE}:
                if path is not None:
                    own = self._lowest.setdefault((triple.repo, path), [])
                    draw = self._draw(triple, path)
                    for _ in range(min(copies(triple), MOST + 1)):
                        insort(own, draw)
                    del own[MOST + 1 :]

    def __call__(self, triple: Triple, path: str) -> bool:
        """Whether it may, with all its copies."""
        lowest = self._lowest[triple.repo, path]
        return len(lowest) <= MOST or self._draw(triple, path) < lowest[MOST]

    def _draw(self, triple: Triple, path: str) -> int:
        text = f"{self._seed}\0{triple.id}\0{path}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
