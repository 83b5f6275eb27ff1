"""The miner of kind `commit`: every first-parent step whose old side lies in the window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codeflow.contracts import History, Pair

COMMIT_KIND = "commit"


@dataclass(frozen=True)
class CommitMiner:
    """Single commits, a data category of their own in the paper's mid-training."""

    @property
    def why(self) -> str:
        return "one commit of the first-parent chain, a merge counting as one change"

    @property
    def lookahead(self) -> int:
        return 1

    @property
    def wants_features(self) -> bool:
        return False

    def pairs(self, history: History) -> Iterator[Pair]:
        """One pair a start."""
        for start in history.starts:
            yield Pair(start, start + 1, {})
