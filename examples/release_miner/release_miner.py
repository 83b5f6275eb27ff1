"""A plug-in that adds a kind of triple, `release`, and a filter for it, `release-notes`.

Install it beside codeflow, and they are a kind and a filter like ours:

    pip install examples/release_miner
    codeflow mine --repos list.txt --out data --kinds release --filter default release-notes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from typing import ClassVar

from codeflow.contracts import Cost, History, Pair, Verdict, drop, keep
from codeflow.triple import Triple


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


@dataclass(frozen=True)
class ReleaseNotes:
    """Keeps a release that says what is new; its fields are the keys of
    `[filter.rules.release-notes]`."""

    min_lines: int = 1

    why: ClassVar[str] = "releases that say nothing of what is new in them"
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"kind", "files"})

    def __call__(self, triple: Triple) -> Verdict:
        """Drops a release with too few new lines in its change log; keeps other kinds."""
        if triple.kind != "release":
            return keep()
        notes = [file for file in triple.files if _is_change_log(file.path)]
        lines = sum(file.additions for file in notes)
        if lines < self.min_lines:
            return drop("no-notes", detail=f"{lines} lines")
        return keep({"note_lines": float(lines)})


def _is_change_log(path: str) -> bool:
    return PurePosixPath(path).stem.lower() in ("changelog", "changes", "history", "news")


MINERS = {"release": ReleaseMiner}
FILTERS = {"release-notes": ReleaseNotes}
