"""A plug-in that adds a kind of triple, `release`: from one tag of the window to the next.

Install it beside codeflow and it is a kind like ours:

    pip install examples/release_miner
    codeflow mine --repos list.txt --out data --kinds release
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from codeflow.contracts import History, Pair


@dataclass(frozen=True)
class ReleaseMiner:
    """Pairs of successive tags; its fields are the keys of `[mine.miners.release]`.

    A tag off the first-parent chain stands where it left it, so every pair lies on the chain.
    """

    max_commits: int = 200

    @property
    def why(self) -> str:
        return "what changed from one release to the next"

    @property
    def lookahead(self) -> int:
        return self.max_commits

    @property
    def wants_features(self) -> bool:
        return False

    def pairs(self, history: History) -> Iterator[Pair]:
        """Yields (tag, next tag) where the first is a start and they are near enough."""
        tagged = [k for k, commit in enumerate(history.commits) if commit.tags]
        starts = set(history.starts)
        for old, new in pairwise(tagged):
            if old in starts and new - old <= self.max_commits:
                yield Pair(old, new, {"commits": float(new - old)})


MINERS = {"release": ReleaseMiner}
