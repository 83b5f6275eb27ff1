"""The miner of kind `branch`: a merged branch, from its fork point to its head.

It lies beside the chain, so it is found while the history is read (`history/branches.py`) and its
changes are read by `changes/beside.py`; the parameters are here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codeflow.contracts import History, Pair
from codeflow.errors import UsageError

BRANCH_KIND = "branch"


@dataclass(frozen=True)
class BranchMiner:
    """Branches of merges that bring in `min_commits` to `max_commits` commits, merges apart."""

    min_commits: int = 2
    max_commits: int = 32

    def __post_init__(self) -> None:
        if not 2 <= self.min_commits <= self.max_commits:
            raise UsageError("mine.miners.branch: 2 <= min_commits <= max_commits must hold")

    @property
    def why(self) -> str:
        return "a merged branch, from where it left what was there to its head, commit by commit"

    @property
    def lookahead(self) -> int:
        return 1

    @property
    def wants_features(self) -> bool:
        return False

    def pairs(self, history: History) -> Iterator[Pair]:
        """None: no branch lies on the chain."""
        yield from ()
