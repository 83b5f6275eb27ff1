"""How far the mining of repositories has come, in steps, told by the units of their flows.

A repository counts with its steps, and each kind of unit with its share of the work: as measured,
contents take most of it. How many units of a kind there are is told by the unit before them, so
that a large repository is seen to move and not to jump from nothing to all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_SHARES: Final[Mapping[str, float]] = {
    "steps": 0.15,
    "content": 0.55,
    "pairs": 0.1,
    "snapshots": 0.1,
    "assemble": 0.1,
}
_TELLS: Final[Mapping[str, tuple[str, str]]] = {
    "plan": ("content", "units"),
    "choose": ("pairs", "units"),
    "snapshots": ("assemble", "buckets"),
}


class Pace:
    """Turns ended units into steps done.

    Args:
        steps: of each repository, by the folder that begins the keys of its units.
    """

    def __init__(self, steps: Mapping[str, int]) -> None:
        self._steps = steps
        self._share = dict.fromkeys(steps, 0.0)
        self._told = dict.fromkeys(steps, 0)
        self._units: dict[tuple[str, str], int] = {}

    def ended(self, key: str, value: Mapping[str, Any]) -> int:
        """How many steps more are done, now that a unit has ended with a value."""
        repository, _, unit = key.rpartition("/")
        if repository not in self._steps:
            return 0
        kind = unit.partition("-")[0]
        if kind in _TELLS:
            after, what = _TELLS[kind]
            told = value[what]
            self._units[repository, after] = told if isinstance(told, int) else len(told)
        if kind == "steps":
            part = value["steps"] / max(1, self._steps[repository])
        else:
            part = 1 / max(1, self._units.get((repository, kind), 1))
        self._share[repository] += _SHARES.get(kind, 0.0) * part
        return self._tell(repository, min(0.99, self._share[repository]))

    def rest(self, repository: str) -> int:
        """How many are left of a repository that has ended."""
        return self._tell(repository, 1.0)

    def _tell(self, repository: str, share: float) -> int:
        done = int(share * self._steps[repository])
        more = max(0, done - self._told[repository])
        self._told[repository] += more
        return more
