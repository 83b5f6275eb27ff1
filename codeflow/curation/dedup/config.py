"""Parameters of the dedup stage."""

from __future__ import annotations

from dataclasses import dataclass

from codeflow.errors import UsageError

_MOST_PERMUTATIONS = 4096


@dataclass(frozen=True)
class DedupConfig:
    """What counts as a duplicate; nothing does where `exact` and `near` are both off.

    The default bands find 97.7 % of the pairs of similarity 0.8, and 74.7 % of those of 0.7; fewer
    rows find more, at more comparisons (see `codeflow_filters.dedup.curve`).

    Attributes:
        exact: whether the same patch, or the same contents before and after, is a duplicate.
        near: whether changes whose token n-grams are similar are duplicates.
        threshold: Jaccard similarity from which on changes are near-duplicates.
        ngram: tokens of a shingle.
        bands, rows: of the signature; their product is the number of permutations.
        min_tokens: changes of fewer tokens are compared exactly only; `import re` in two projects
            is not the same change.
        score: name of the score, mined or of an earlier stage, by which the kept one of a cluster
            is chosen; a triple without it counts as 0.
        prefer: kinds that are compared with each other, the one that is kept first; other kinds are
            compared within themselves only. Empty for all kinds within themselves.
    """

    exact: bool = True
    near: bool = True
    threshold: float = 0.7
    ngram: int = 5
    bands: int = 16
    rows: int = 7
    min_tokens: int = 20
    score: str = "quality"
    prefer: tuple[str, ...] = ("branch", "span", "commit")

    def __post_init__(self) -> None:
        if len(set(self.prefer)) < len(self.prefer) or not all(self.prefer):
            raise UsageError(f"prefer = {list(self.prefer)}: give names of kinds, each once")
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold = {self.threshold}: give more than 0 and at most 1")
        for name in ("ngram", "bands", "rows"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: give 1 or more")
        if self.permutations > _MOST_PERMUTATIONS:
            raise UsageError(
                f"bands * rows = {self.permutations}: give {_MOST_PERMUTATIONS} at most"
            )
        if self.min_tokens < self.ngram:
            raise UsageError(
                f"min_tokens = {self.min_tokens}: give ngram = {self.ngram} or more, "
                "fewer tokens make no shingle"
            )

    @property
    def off(self) -> bool:
        """Whether nothing is a duplicate."""
        return not (self.exact or self.near)

    def group(self, kind: str) -> str:
        """The same for kinds that are compared with each other."""
        return "" if kind in self.prefer else kind

    def rank(self, kind: str) -> int:
        """The order of a kind among those that are compared with it, the kept one first."""
        return self.prefer.index(kind) if kind in self.prefer else 0

    @property
    def permutations(self) -> int:
        """Length of a signature."""
        return self.bands * self.rows
