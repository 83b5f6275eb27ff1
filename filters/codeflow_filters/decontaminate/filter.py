"""The filter `decontaminate`, which knows the history of each repository that it judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import pyarrow.compute as pc

from codeflow.config import require_within
from codeflow.contracts import Cost, RepositoryView, Verdict
from codeflow.errors import UsageError
from codeflow_filters.decontaminate.decontaminator import Decontaminator

if TYPE_CHECKING:
    from codeflow.triple import Triple


@dataclass(frozen=True)
class Decontaminate:
    """Drops what would give the instances of a benchmark away; see `Decontaminator`.

    Attributes:
        files: JSON lines of instances; on a cluster, at the same path on every node.
        ngram: how many tokens in a row are no coincidence.
        gold_share: how much of what a gold patch adds makes a copy of it, edited or not.
    """

    files: tuple[str, ...] = ()
    ngram: int = 13
    gold_share: float = 0.5

    why: ClassVar[str] = Decontaminator.why
    reasons: ClassVar[Mapping[str, str]] = {
        "base-commit": "its new side holds or follows the commit that an instance starts from",
        "after-instance": "later than an instance of its repository",
        "undated-instance": "its repository has an instance that cannot be placed in its history",
        "gold-patch": "makes the change that solves or tests an instance",
        "gold-lines": "adds all lines that the patch of an instance adds",
        "gold-share": "adds most of the lines that the patch of an instance adds",
        "ngram": "has text of an instance in its messages or its patch",
    }
    cost: ClassVar[Cost] = Decontaminator.cost
    reads: ClassVar[frozenset[str]] = Decontaminator.reads

    def __post_init__(self) -> None:
        require_within(self, gold_share=(0.1, 1))
        for file in self.files:
            if not isinstance(file, str):
                raise UsageError(f"files: {file!r} is no path; write it as 'instances.jsonl'")
        if self.files:
            _alone(
                self.files, self.ngram, self.gold_share
            )  # what is wrong with them is said at once

    def within(self, repository: RepositoryView) -> Callable[[Triple], Verdict]:
        """What judges a repository, knowing which base commits each of its commits contains."""
        made = self._made()
        table = repository.contained()
        chain = table.filter(pc.field("on_chain"))
        merged = table.filter(~pc.field("on_chain"))
        indices = merged.column("index").to_pylist()
        made.chain(
            repository.repo,
            [id.hex() for id in chain.column("id").to_pylist()],
            {id.hex(): k for id, k in zip(merged["id"].to_pylist(), indices, strict=True)},
        )
        return made

    def __call__(self, triple: Triple) -> Verdict:
        self._made()
        return _alone(self.files, self.ngram, self.gold_share)(triple)

    def _made(self) -> Decontaminator:
        if not self.files:
            raise UsageError("filter decontaminate: name files of instances, as --decontaminate F")
        return Decontaminator(self.files, self.ngram, self.gold_share)


@lru_cache(maxsize=2)
def _alone(files: tuple[str, ...], ngram: int, gold_share: float) -> Decontaminator:
    """One that knows no history."""
    return Decontaminator(files, ngram, gold_share)
