"""Merged branches as lines of steps: from where one left what was there to its head.

A merge of the chain brings in the commits that nothing before it on the chain reaches. Its *line*
are those of them that are first parents, from the merge's other parent back; the *fork point* is
the first parent that was there already, on the chain or not. A merge on the line is one step of
its own, unless it brings in what the chain had by then (a *sync*): such a step would hold other
people's work, so it ends one stretch of the line and begins the next. Every stretch of two and
more steps is a branch, and exact: each of its commits is the first parent of the next.

What is no one's iteration is told by what it is, and left out by a rule of `NO_BRANCH`. All of it
is decided by the history up to its head, before any tree is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from codeflow.text.merges import bookkeeping
from codeflow_miners.history.commit import RawCommit
from codeflow_miners.history.messages import clean, decode, subject
from codeflow_miners.history.reached import newest_reached

NO_BRANCH: Final[Mapping[str, str]] = {
    "too-many-commits": "the merge brings in more commits than a branch may have",
    "octopus": "the merge brings in more than one branch",
    "unrelated": "the branch has a root of its own and no fork point",
    "release": "it is a branch of releases or maintenance, by its name or a tag on it",
    "sync": "it brings one main branch into another, by its name",
    "long-lived": "its line was merged four times or more",
    "integration": "it merges several branches of others",
    "one-step": "no two of its commits follow each other without a merge from the main branch",
}
_LONG_LIVED_MERGES: Final = 4
_INTEGRATED: Final = 2


class Branch(NamedTuple):
    """A branch, or why a merge's is none.

    Attributes:
        merge: chain index of the merge.
        base: chain index of the newest commit of the chain that the fork point reaches, or -1.
        commits: the fork point and the branch's commits in order; of one that is left out only
            both ends, as far as there are any.
        rule: of `NO_BRANCH`, for one that is left out.
    """

    merge: int
    base: int
    commits: tuple[bytes, ...]
    rule: str | None = None
    detail: str | None = None


class _Line(NamedTuple):
    """The line of a merge, oldest first, and its fork point."""

    fork: bytes | None
    commits: list[bytes]


def find_branches(
    commits: Mapping[bytes, RawCommit],
    chain: Sequence[bytes],
    brought: Mapping[int, Sequence[bytes]],
    tags: Sequence[tuple[str, str]],
    merges: range,
    sizes: tuple[int, int],
) -> list[Branch]:
    """The branches of some merges of the chain.

    Args:
        brought: by chain index, what each merge brings in.
        tags: (name, commit id).
        merges: chain indices to look at.
        sizes: the least and the most commits, no merges, that a merge may bring in.
    """
    tagged = {bytes.fromhex(commit): name for name, commit in tags if any(map(str.isdigit, name))}
    newest = {commit_id: k for k, commit_id in enumerate(chain)}
    lines = {k: _line(commits, chain[k], set(inner)) for k, inner in brought.items()}
    merged = _times_merged(lines)
    found: list[Branch] = []
    for k in merges:
        inner = brought.get(k, ())
        plain = sum(len(commits[i].parents) < 2 for i in inner)
        if plain < sizes[0]:
            continue
        line = lines[k]
        rule, detail = _left_out(commits, chain[k], inner, plain, line, tagged, merged[k], sizes[1])
        pieces: list[list[bytes]] = []
        if rule is None and line is not None and line.fork is not None:
            pieces = _stretches(commits, line, set(inner), newest)
            nested = sum(len(commits[i].parents) > 1 for piece in pieces for i in piece[1:])
            pieces = [piece for piece in pieces if len(piece) > 2]
            if nested >= _INTEGRATED:
                rule, detail = "integration", f"{nested} merges"
            elif not pieces:
                rule, detail = "one-step", None
            elif max(map(len, pieces)) - 1 > sizes[1]:
                rule, detail = "too-many-commits", f"{max(map(len, pieces)) - 1} steps"
        if rule is not None:
            ends = (line.fork or b"", line.commits[-1]) if line else ()
            found.append(Branch(k, -1, ends, rule, detail))
            continue
        for piece in pieces:
            base = newest_reached(piece[0], newest, lambda i: commits[i].parents)
            found.append(Branch(k, base, tuple(piece)))
    return found


def _line(commits: Mapping[bytes, RawCommit], merge: bytes, inner: set[bytes]) -> _Line | None:
    """The line of a merge; None where it merges several."""
    tips = {parent for parent in commits[merge].parents[1:] if parent in inner}
    if len(tips) != 1:
        return None
    line = []
    current: bytes | None = tips.pop()
    while current is not None and current in inner:
        line.append(current)
        parents = commits[current].parents
        current = parents[0] if parents else None
    line.reverse()
    return _Line(current, line)


def _times_merged(lines: Mapping[int, _Line | None]) -> dict[int, int]:
    """How often the line of each merge was merged: one that forks from the line of an earlier
    merge goes on with it."""
    first: dict[bytes, int] = {}  # the first merge of the line that a commit is on
    group: dict[int, int] = {}
    counts: dict[int, int] = {}
    for k, line in sorted(lines.items()):
        known = line is not None and line.fork is not None
        group[k] = first.get(line.fork, k) if known else k  # type: ignore[union-attr,arg-type]
        counts[group[k]] = counts.get(group[k], 0) + 1
        for commit_id in line.commits if line else ():
            first[commit_id] = group[k]
    return {k: counts[own] for k, own in group.items()}


def _left_out(
    commits: Mapping[bytes, RawCommit],
    merge: bytes,
    inner: Sequence[bytes],
    plain: int,
    line: _Line | None,
    tagged: Mapping[bytes, str],
    times: int,
    most: int,
) -> tuple[str | None, str | None]:
    """The rule that leaves a merge's branch out, and what it goes by."""
    if plain > most:
        return "too-many-commits", f"{plain} commits"
    if line is None:
        return "octopus", None
    if line.fork is None:
        return "unrelated", None
    words = subject(clean(decode(commits[merge].message, commits[merge].encoding)))[:200]
    tag = min((tagged[i] for i in inner if i in tagged), default=None)
    if tag is not None:
        return "release", f"tag {tag}"
    rule = bookkeeping(words)
    if rule is not None:
        return rule, words
    if times >= _LONG_LIVED_MERGES:
        return "long-lived", f"{times} merges"
    return None, None


def _stretches(
    commits: Mapping[bytes, RawCommit], line: _Line, inner: set[bytes], newest: dict[bytes, int]
) -> list[list[bytes]]:
    """The line with its fork point, cut at the syncs: each begins the next stretch."""

    def reach(commit_id: bytes) -> int:
        return newest_reached(commit_id, newest, lambda i: commits[i].parents)

    assert line.fork is not None
    pieces = [[line.fork]]
    for commit_id in line.commits:
        first, *others = commits[commit_id].parents
        is_sync = any(other not in inner and other != first for other in others)
        if is_sync or (others and reach(commit_id) > reach(first)):
            pieces.append([commit_id])
        else:
            pieces[-1].append(commit_id)
    return pieces
