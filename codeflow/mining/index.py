"""`mined/index.json`: what mining gave, for every later stage.

With it and the files it names no later stage needs Git, or anything else of the run that mined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from codeflow.config import stage_hash
from codeflow.errors import UsageError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import files, tables
from codeflow.storage.damage import damaged, reading
from codeflow.storage.layout import MINED_INDEX
from codeflow.storage.shape import build, require_schema

_FAILURE = {"rule", "reason", "deterministic"}


@dataclass(frozen=True)
class MinedRepository:
    """One source of the list and what came of it.

    Attributes:
        key: name of its folder in `mined/`.
        repo, url, ref, head: as published; `head` is None where it could not be opened.
        family: smallest root commit of its family of forks; None where it could not be opened.
        tables: mined files by table, relative to the dataset folder.
        kinds: triples of each kind.
        unreached: number of mined blobs that no triple's snapshots hold.
        steps, bytes: commits and contents read.
        failure: the `Failure` that ended it, as a mapping.
    """

    key: str
    repo: str
    url: str
    ref: str | None
    head: str | None
    family: str | None
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    unreached: int = 0
    steps: int = 0
    bytes: int = 0
    failure: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class MinedIndex:
    """All of a list, in order of `repo`; `ledger` is the file of what failed as a whole."""

    config: Mapping[str, Any]
    projection: str
    ledger: str
    repositories: tuple[MinedRepository, ...]

    @property
    def good(self) -> tuple[MinedRepository, ...]:
        """Those that were mined."""
        return tuple(r for r in self.repositories if r.failure is None)

    @property
    def kinds(self) -> dict[str, int]:
        """Triples of each kind."""
        kinds: dict[str, int] = {}
        for repository in self.good:
            for kind, count in repository.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count
        return kinds

    @property
    def deterministic(self) -> bool:
        """Whether another machine would give the same."""
        return all(r.failure is None or r.failure["deterministic"] for r in self.repositories)

    @cached_property
    def stamp(self) -> str:
        """Identity of what was mined, wherever it was: of the configuration, the heads, and what
        came of them."""
        mined = [[r.repo, r.url, r.ref, r.head, r.family, r.kinds] for r in self.repositories]
        return stage_hash({"repositories": mined}, stage_hash(self.config))


def read(folder: Path) -> MinedIndex | None:
    """The index of a folder; None where mining has not ended, or `mined/` was deleted.

    Raises:
        DataError: it is damaged.
        UsageError: a codeflow of another schema version wrote it.
    """
    path = folder / MINED_INDEX
    values = files.read_json(path)
    if values is None:
        return None
    if isinstance(values, Mapping):
        require_schema(folder, values.get("schema_version", 1))
    with reading(path, ValueError):
        checksum = values.pop("checksum", None)  # those of before have none
        if checksum is not None and checksum != stage_hash(values):
            raise ValueError("its checksum is not that of what it holds")
        index = build(MinedIndex, values)
        for repository in index.repositories:
            if not (repository.failure or dict.fromkeys(_FAILURE)).keys() >= _FAILURE:
                raise ValueError(f"the failure of {repository.repo} lacks a key")
        return index


def absent(folder: Path) -> UsageError:
    """The error for a folder in which mining has not ended."""
    return UsageError(f"{folder}: holds no {MINED_INDEX}; mine first, with `codeflow mine`")


def require(folder: Path, index: MinedIndex, contents: bool = False) -> None:
    """Looks whether the mined files are there; with `contents`, whether all of them decode, too.

    Raises:
        DataError: names the first that is not, and that it has to be mined again.
    """
    for name in (index.ledger, *(n for r in index.good for ns in r.tables.values() for n in ns)):
        if not (folder / name).is_file():
            raise damaged(folder / name, "is missing")
        if contents:
            tables.check(folder / name)


def write(folder: Path, index: MinedIndex) -> None:
    """Writes the index, with a checksum of itself: from here on mining is done."""
    values = {"schema_version": SCHEMA_VERSION, **asdict(index)}
    files.write_json(folder / MINED_INDEX, {**values, "checksum": stage_hash(values)})
