"""A hostile repository and what must come of it; and the ordinary history that most hide in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gitdag import Content, Path_, Repo

COMMITS: Final = 30
MIDDLE: Final = 15  # index of the commit that carries the mischief
MINED: Final = frozenset({"mined"})


@dataclass(frozen=True)
class HostileCase:
    """A repository and what must come of it.

    Attributes:
        line: what to write in the list.
        expect: `mined` (triples are published and nothing of it fails), or rules of which one must
            stand in the ledger for it, or both where either is right. Whatever is published in
            spite of damage must still be exact.
        left_out: paths that exist in Git and must not be in any published snapshot.
        canaries: a folder that must stay empty: a file in it names the setting that was executed.
    """

    line: str
    expect: frozenset[str] = MINED
    left_out: frozenset[bytes] = frozenset()
    canaries: Path | None = None


Builder = Callable[[Path], HostileCase]


class Cases(dict[str, Builder]):
    """Builders by the name of what they make, which is also the name of its folder."""

    def case(self, name: str) -> Callable[[Builder], Builder]:
        def register(builder: Builder) -> Builder:
            self[name] = lambda folder: builder(folder / name)
            return builder

        return register


def history(
    path: Path,
    mischief: Mapping[Path_, Content | None] | None = None,
    *,
    bare: bool = True,
    **commit: Any,
) -> tuple[Repo, list[str]]:
    """30 commits on src/app.py and lib/util.py; the middle one has `mischief` and `commit`.

    Folders of different names give different roots, so that none is another's fork.
    """
    repo, ids = Repo.create(path, bare), []
    for n in range(COMMITS):
        lines = "".join(f"value_{k} = {k * (n + 1)}\n" for k in range(n, n + 20))
        changes: dict[Path_, Content | None] = {"src/app.py": f"# version {n}\n{lines}"}
        if n % 3 == 0:
            changes["lib/util.py"] = f"def util():\n    return {n}\n"
        if n == MIDDLE:
            changes |= mischief or {}
        extra = commit if n == MIDDLE else {}
        message = f"Change {n}" if n else f"Start {path.name}"  # no two share a root
        ids.append(repo.commit(changes, **{"message": message, **extra}))
    return repo, ids


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
