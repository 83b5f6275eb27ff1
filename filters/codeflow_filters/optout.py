"""`optout`: drops what its owners do not want to be used.

Names are owners (`octocat`), repositories (`octocat/hello`), either with a host before it
(`example.org/octocat`), or a repository's identity as the `repo` column has it; upper and lower
case are the same. The Stack honours such lists. A file has one name a line; empty lines and what
follows a `#` do not count. Its names join `names`, so that a run's identity holds what the file
said, not only where it lay.

Cost: 2 µs a triple.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from codeflow.config import read_text
from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.errors import UsageError
from codeflow.triple import Triple

_SCHEME: Final = re.compile(r"^[a-z+]+://(?:[^/@]*@)?")
_SCP: Final = re.compile(r"^(?:[\w.-]+@)?([\w.-]+):(?!/)")


@dataclass(frozen=True)
class OptOut:
    """Drops the repositories of a list."""

    names: tuple[str, ...] = ()
    file: str = ""

    why: ClassVar[str] = "repositories whose owners opted out"
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"repo", "repo_url"})

    def __post_init__(self) -> None:
        names = [*self.names, *(_read(self.file) if self.file else ())]
        for name in names:
            if not isinstance(name, str) or not _plain(name):
                raise UsageError(f"optout.names: {name!r} names nothing; write owner or owner/name")
        object.__setattr__(self, "names", tuple(sorted({_plain(name) for name in names})))

    def __call__(self, triple: Triple) -> Verdict:
        listed = frozenset(self.names)
        for name in _names_of(triple):
            if name in listed:
                return drop("opted-out", name)
        return keep()


def _read(path: str) -> Iterator[str]:
    try:
        text = read_text(path, "opt-out list")
    except UsageError as error:
        raise UsageError(f"optout.file: {error}") from None
    for line in text.split("\n"):
        name = line.partition("#")[0].strip()
        if name:
            yield name


def _plain(name: str) -> str:
    """`host/owner/name` of any way to write it: lower case, without scheme, user and `.git`."""
    name = _SCHEME.sub("", name.strip().lower())
    return _SCP.sub(r"\1/", name).strip("/").removesuffix(".git")


def _names_of(triple: Triple) -> Iterator[str]:
    """All the names by which a repository may be listed; of a local one, the last of its path."""
    parts = triple.repo.lower().split("/")
    if len(parts) == 1:
        yield from {parts[0], triple.repo_url.lower()}
    else:
        for stop in range(2, len(parts) + 1):
            yield "/".join(parts[:stop])
            yield "/".join(parts[1:stop])
