"""How far along the chain a commit beside it reaches."""

from __future__ import annotations

from collections.abc import Callable


def newest_reached(
    commit_id: bytes,
    newest: dict[bytes, int],
    parents_of: Callable[[bytes], tuple[bytes, ...]],
) -> int:
    """Newest chain index that a commit reaches, or -1; `newest` is the memory between calls, and
    holds the chain to begin with."""
    pending = [commit_id]
    while pending:
        current = pending[-1]
        if current in newest:
            pending.pop()
            continue
        parents = parents_of(current)
        waiting = [parent for parent in parents if parent not in newest]
        if waiting:
            pending.extend(waiting)
        else:
            newest[current] = max((newest[parent] for parent in parents), default=-1)
            pending.pop()
    return newest[commit_id]
