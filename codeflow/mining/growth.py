"""A list that grew and heads that moved: which repositories of a mined folder are mined anew.

A repository is mined as a whole, and only where it is new, its head moved, or its family changed:
repositories that share history divide their commits, so one that comes, moves or goes has its
relatives mined again, at the heads that they have. The rest stays as it is, and all of it is what a
new folder would hold.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from codeflow.execution.failures import Failure
from codeflow.mining.index import MinedIndex
from codeflow.storage import files
from codeflow.storage.layout import DONE, INTERMEDIATE, MINED

if TYPE_CHECKING:
    from codeflow_miners.acquire.open import Opened
    from codeflow_miners.acquire.repositories import Source

PASSING: Final = frozenset({"unreachable", "stalled", "rate-limited", "busy", "timeout"})
"""Rules of failures that are the network's, not the repository's: the next run tries again."""

ACQUIRED: Final = "acquire.json"
"""The marker that pins a head, among those of a repository."""

_ASIDE: Final = ".before"


@dataclass(frozen=True)
class Growth:
    """What a list asks for beyond what a folder was mined from; keys of sources.

    Attributes:
        added: not in the folder.
        retried: failed for a reason that may have passed.
        gone: not on the list.
    """

    added: tuple[str, ...]
    retried: tuple[str, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.retried or self.gone)


def growth(index: MinedIndex, sources: Iterable[Source]) -> Growth:
    """What is to be mined although mining has ended."""
    keys = {source.key for source in sources}
    known = {repository.key: repository.failure for repository in index.repositories}
    failed = {key for key, failure in known.items() if failure and failure["rule"] in PASSING}
    return Growth(
        tuple(sorted(keys - known.keys())),
        tuple(sorted(keys & failed)),
        tuple(sorted(known.keys() - keys)),
    )


def may_pass(outcome: Opened | Failure | None) -> bool:
    """Whether opening is to be tried: again after a failure of the network's, or for once."""
    return outcome is None or (isinstance(outcome, Failure) and outcome.rule in PASSING)


def relatives(changed: Set[str], opened: Mapping[str, Opened | Failure]) -> set[str]:
    """Keys of those that did not change themselves, but share history with one that did."""
    from codeflow_miners.history.families import families

    roots = {key: one.roots for key, one in opened.items() if not isinstance(one, Failure)}
    groups = [group for group in families(roots) if not changed.isdisjoint(group)]
    return {key for group in groups for key in group} - changed


def forget(folder: Path, keys: Collection[str]) -> None:
    """Removes what mining made of repositories, and what was settled between their relatives.

    The marker that pins a head stays, unless the head was not found.
    """
    for key in keys:
        for names in (f"{key}", f"{key}.*"):  # with the rounds in which it was mined
            for place in (MINED, INTERMEDIATE):
                _remove((folder / place).glob(names))
            for markers in (folder / DONE).glob(names):
                _remove(path for path in markers.iterdir() if path.name != ACQUIRED)
            _remove((folder / DONE / "families").glob(f"{names}.json"))


def same_head(before: Any, now: Mapping[str, Any]) -> bool:
    """Whether a repository was acquired with the same head and tags, wherever its clone is."""
    value = before.get("value") if isinstance(before, Mapping) else None
    if not isinstance(value, Mapping):
        return False
    # what was stored has been JSON: a pair is a list there
    return all(value.get(k) == json.loads(json.dumps(now[k])) for k in ("head", "tags"))


def unpin(folder: Path, key: str) -> Any:
    """Sets the marker of a head aside, so that the head is looked for again; what it said.

    One that a stopped run set aside is the one that counts.
    """
    marker = folder / DONE / key / ACQUIRED
    aside = marker.with_suffix(_ASIDE)
    if aside.exists():
        marker.unlink(missing_ok=True)
    elif marker.exists():
        os.replace(marker, aside)
    return files.read_json(aside)


def pin(folder: Path, key: str) -> None:
    """Takes back the marker that was set aside."""
    marker = folder / DONE / key / ACQUIRED
    aside = marker.with_suffix(_ASIDE)
    if aside.exists():
        os.replace(aside, marker)


def pin_all(folder: Path, keys: Iterable[str]) -> set[str]:
    """As `pin`, after a run that was stopped while it looked for heads; no key has moved."""
    for key in keys:
        pin(folder, key)
    return set()


def remove(folder: Path, keys: Collection[str]) -> None:
    """As `forget`, of repositories that are gone: nothing of them stays."""
    forget(folder, keys)
    _remove(folder / DONE / key for key in keys)


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        files.remove(path)
