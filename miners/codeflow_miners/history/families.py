"""Forks: each step belongs to one repository of its family, decided by ids before content is read.

A family is the repositories that share a root commit. Its members are taken longest chain first,
ties by name, and a step (old, new) belongs to the first that has it in its window, so that no
(old, new) is mined twice and the result does not depend on the order of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from codeflow.contracts import Sink
from codeflow_miners import tables


class Member(NamedTuple):
    """A repository of a family; `commits` is the file of its COMMITS."""

    key: str
    repo: str
    length: int
    commits: str
    starts: tuple[int, ...]


@dataclass(frozen=True)
class FamilyArguments:
    """The members of one family, two or more."""

    members: tuple[Member, ...]


def families(roots: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Groups keys that share a root, directly or through others; each sorted, in order.

    Args:
        roots: root commits of each repository, by its key.
    """
    parent = {key: key for key in roots}

    def find(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first: dict[str, str] = {}
    for key in sorted(roots):
        for root in roots[key]:
            a, b = find(first.setdefault(root, key)), find(key)
            if a != b:
                parent[max(a, b)] = min(a, b)
    groups: dict[str, list[str]] = {}
    for key in sorted(roots):
        groups.setdefault(find(key), []).append(key)
    return [tuple(group) for group in groups.values()]


def divide(arguments: FamilyArguments, sink: Sink) -> dict[str, Any]:
    """Returns `starts`: the steps that each member keeps, by its key."""
    taken: set[bytes] = set()
    starts: dict[str, Sequence[int]] = {}
    for member in sorted(arguments.members, key=lambda m: (-m.length, m.repo)):
        ids = tables.read(member.commits).column("id").to_pylist()
        kept = []
        for start in member.starts:
            step = bytes.fromhex(ids[start] + ids[start + 1])
            if step not in taken:
                taken.add(step)
                kept.append(start)
        starts[member.key] = kept
    return {"starts": starts}
