"""`bots`: drops changes made by programs alone.

Dependency updates, translations and formatting by services repeat across repositories; BigCode's
commit data leave out known bots, too. Mining decides from name and address who is one
(`author_kind`), because no identity is stored; a span is a bot's only if all its commits are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.triple import Triple


@dataclass(frozen=True)
class Bots:
    """Drops what programs committed."""

    why: ClassVar[str] = "changes of which every commit is a bot's"
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"author_kind"})

    def __call__(self, triple: Triple) -> Verdict:
        return drop("bot") if triple.author_kind == "bot" else keep()
