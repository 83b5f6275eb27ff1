"""Finding triples in a dataset, for `codeflow inspect --list`.

Only the columns that a question needs are read, row group by row group; the patch is never among
them. A listing goes repository by repository and there in the order of history, so all matches are
looked at, and the first ones kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from codeflow.dataset.reader import Dataset
from codeflow.errors import UsageError
from codeflow.triple import Triple

COLUMNS: Final = (
    "id",
    "repo",
    "kind",
    "new_commit",
    "messages",
    "language",
    "additions",
    "deletions",
    "files",
    "position",
    "committed_at",
    "authored_at",
    "author_kind",
    "author_id",
    "is_merge",
)
"""What a listing shows and is asked for."""


@dataclass(frozen=True)
class Query:
    """What is looked for; every condition that is given must hold.

    Attributes:
        grep: text in any of the messages, in whatever case.
        path: a path before or after the change: a glob whose `*` also spans folders, as in git, or
            a file or folder by its name.
        repo, kind, language: exactly; `repo` also by its last name.
    """

    grep: str | None = None
    path: str | None = None
    repo: str | None = None
    kind: str | None = None
    language: str | None = None
    split: str | None = None

    def __call__(self, triple: Triple) -> bool:
        return (
            (self.grep is None or self._said(self.grep.casefold(), triple))
            and (self.path is None or self._touched(self.path.rstrip("/"), triple))
            and (self.repo is None or self.repo in (triple.repo, triple.repo.rpartition("/")[2]))
            and (self.kind is None or self.kind == triple.kind)
            and (self.language is None or self.language.casefold() == _folded(triple.language))
        )

    @staticmethod
    def _said(text: str, triple: Triple) -> bool:
        return any(text in said.casefold() for message in triple.messages for said in message)

    @staticmethod
    def _touched(pattern: str, triple: Triple) -> bool:
        return any(
            path is not None
            and (path == pattern or path.startswith(f"{pattern}/") or fnmatchcase(path, pattern))
            for change in triple.files
            for path in (change.old_path, change.new_path)
        )


@dataclass(frozen=True)
class Found:
    """The first matches, and how many there are in all."""

    triples: list[Triple]
    total: int


def search(dataset: Dataset, query: Query, limit: int) -> Found:
    """The first triples that match, by repository, position and kind.

    Args:
        limit: how many at most; 0 for all.

    Raises:
        UsageError: a negative limit.
    """
    if limit < 0:
        raise UsageError(f"--limit {limit}: give 0 for all, or how many")
    total = 0

    def matching() -> Iterator[Triple]:
        nonlocal total
        for triple in dataset.triples(query.split, columns=COLUMNS):
            if query(triple):
                total += 1
                yield triple

    order = _order
    found = heapq.nsmallest(limit, matching(), order) if limit else sorted(matching(), key=order)
    return Found(found, total)


def as_row(triple: Triple) -> dict[str, Any]:
    """A match as JSON values: its columns, its subject, and the paths of its files."""
    values = {name: getattr(triple, name) for name in COLUMNS if name != "files"}
    return values | {
        **{name: values[name].isoformat() for name in ("committed_at", "authored_at")},
        "messages": [list(message) for message in triple.messages],
        "paths": [change.path for change in triple.files],
    }


def subject_of(triple: Triple) -> str:
    """The first line of what the last commit says."""
    return triple.messages[-1][0].strip().partition("\n")[0]


def _order(triple: Triple) -> tuple[str, float, str, str]:
    return triple.repo, triple.position, triple.kind, triple.id


def _folded(language: str | None) -> str | None:
    return None if language is None else language.casefold()
