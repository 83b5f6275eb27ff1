"""The first-parent chain of a repository: its commits, positions, window and messages.

A merge is one step of the chain, its difference from the first parent, and carries the subjects of
the commits it brings in. All commits reachable from the head are read once, because what a merge
brings in is whatever no earlier commit of the chain reaches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from codeflow.config import MineConfig, Window
from codeflow.contracts import Commit
from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.changes.treediff import TreeDiffer
from codeflow_miners.history.assisted import is_assisted
from codeflow_miners.history.authors import (
    AuthorKind,
    author_ids,
    author_kind,
    is_agent,
    merge_kind,
)
from codeflow_miners.history.branches import Branch, find_branches
from codeflow_miners.history.commit import RawCommit, identity
from codeflow_miners.history.dates import time_marks
from codeflow_miners.history.messages import clean, decode, subject
from codeflow_miners.history.reached import newest_reached
from codeflow_miners.objects.reader import ObjectReader

MAX_BROUGHT_SUBJECTS = 200
MAX_MESSAGE_CHARACTERS = 20_000


class Chain(NamedTuple):
    """What mining keeps of a history.

    `commits` are the chain's commits `first .. first + len(commits) - 1`, oldest first, and
    `starts` the indices into `commits` whose position lies in the window and that have a successor.
    `length` counts the commits of the whole chain, `roots` are all parentless commits reached.
    `contained` has a row of `codeflow.records.CONTAINED` for every commit reached. `branches` are
    those that the merges of the window bring in, nearest the root first, with `merge` and `base` as
    indices into `commits` (a base before the first is the first); `beside` are their commits, the
    fork points included, end to end.
    """

    length: int
    roots: tuple[str, ...]
    first: int
    commits: list[Commit]
    starts: list[int]
    contained: list[tuple[bytes, int, float, bool]]
    branches: list[Branch]
    beside: list[Commit]


def read_chain(
    reader: ObjectReader,
    repo: str,
    head: bytes,
    tags: Sequence[tuple[str, str]],
    config: MineConfig,
    lookahead: int,
    branch_sizes: tuple[int, int] | None = None,
) -> Chain:
    """Reads the chain that ends at `head` and finds the window on it.

    Args:
        repo: the identity of the repository, which pseudonyms of authors are made of.
        tags: (name, commit id) of the repository's tags, peeled to commits.
        lookahead: how many commits past the window to keep, for endpoints.
        branch_sizes: the least and the most commits of a branch; None to look for none.

    Raises:
        RepositoryError: `too-short`, `missing-object`, `corrupt`; LimitExceededError `max-commits`.
    """
    commits = _reachable(reader, head, config.limits.max_commits)
    chain = _first_parents(commits, head)
    if len(chain) < config.limits.min_commits:
        raise RepositoryError(
            "too-short",
            f"{len(chain)} commits on the first-parent chain; "
            f"limits.min_commits is {config.limits.min_commits}",
        )
    positions = _positions(reader, chain, commits, config.window)
    start, stop = _window(positions, config.window)
    stop = min(stop, len(chain) - 1)  # the last commit has no step after it
    last = min(stop + lookahead, len(chain) - 1) if start < stop else start - 1
    brought = _brought(commits, chain)
    everyone = [i for k, own in enumerate(chain) for i in (own, *brought.get(k, ()))]
    authors: Mapping[bytes, str] = {}
    if config.author_ids:
        ids = author_ids(repo, (commits[i].author for i in everyone))
        authors = dict(zip(everyone, ids, strict=True))
    named = _tags_on_chain(reader, commits, chain, tags)
    kept = [
        _commit(chain[k], commits, positions[k], brought.get(k, ()), named.get(k, ()), authors)
        for k in range(start, last + 1)
    ]
    branches: list[Branch] = []
    beside: list[Commit] = []
    if branch_sizes is not None:
        merges = range(start + 1, stop + 1)
        found = find_branches(commits, chain, brought, tags, merges, branch_sizes)
        for branch in sorted(found, key=lambda b: (max(b.base, start), b.merge)):
            base = max(branch.base, start) - start
            branches.append(branch._replace(merge=branch.merge - start, base=base))
            if branch.rule is None:
                inner = set(brought[branch.merge])
                own = _along(commits, branch.commits, inner)
                beside += [
                    _commit(i, commits, positions[branch.merge - 1], own.get(i, ()), (), authors)
                    for i in branch.commits
                ]
    roots = tuple(sorted(i.hex() for i, commit in commits.items() if not commit.parents))
    contained = [
        row
        for k, commit_id in enumerate(chain)
        for row in (
            (commit_id, k, positions[k], True),
            *((other, k, positions[k], False) for other in brought.get(k, ())),
        )
    ]
    return Chain(
        len(chain),
        roots,
        start,
        kept,
        list(range(max(0, stop - start))),
        contained,
        branches,
        beside,
    )


def _reachable(reader: ObjectReader, head: bytes, limit: int) -> dict[bytes, RawCommit]:
    commits: dict[bytes, RawCommit] = {}
    pending = [head]
    while pending:
        commit_id = pending.pop()
        if commit_id in commits:
            continue
        if len(commits) >= limit:
            raise LimitExceededError("max-commits", f"more than limits.max_commits = {limit}")
        commit = commits[commit_id] = reader.commit(commit_id)
        pending.extend(commit.parents)
    return commits


def _first_parents(commits: Mapping[bytes, RawCommit], head: bytes) -> list[bytes]:
    chain = [head]
    while parents := commits[chain[-1]].parents:
        chain.append(parents[0])
    chain.reverse()
    return chain


def _positions(
    reader: ObjectReader,
    chain: Sequence[bytes],
    commits: Mapping[bytes, RawCommit],
    window: Window,
) -> list[float]:
    """Position of each commit of the chain, in [0, 1], never decreasing."""
    if window.by == "time":
        marks = time_marks([commits[commit_id].committed_at for commit_id in chain])
    elif window.by == "changes":
        differ = TreeDiffer(reader)
        marks, total = [], 0
        tree: bytes | None = None
        for commit_id in chain:
            previous, tree = tree, commits[commit_id].tree
            total += len(differ.changes(previous, tree))
            marks.append(total)
    else:
        marks = list(range(len(chain)))
    span = marks[-1] - marks[0]
    return [(mark - marks[0]) / span if span else 0.0 for mark in marks]


def _window(positions: Sequence[float], window: Window) -> tuple[int, int]:
    """Half-open range of chain indices whose positions lie in [start, stop)."""
    return bisect_left(positions, window.start), bisect_left(positions, window.stop)


def _brought(
    commits: Mapping[bytes, RawCommit], chain: Sequence[bytes]
) -> dict[int, tuple[bytes, ...]]:
    """For each merge of the chain, the commits that nothing before it on the chain reaches."""
    seen: set[bytes] = set()
    brought: dict[int, tuple[bytes, ...]] = {}
    for index, commit_id in enumerate(chain):
        seen.add(commit_id)
        found = []
        pending = list(commits[commit_id].parents[1:])
        while pending:
            other = pending.pop()
            if other not in seen:
                seen.add(other)
                found.append(other)
                pending.extend(commits[other].parents)
        if found:
            brought[index] = tuple(reversed(found))
    return brought


def _along(
    commits: Mapping[bytes, RawCommit], line: Sequence[bytes], inner: set[bytes]
) -> dict[bytes, tuple[bytes, ...]]:
    """For each merge on a branch, what it brings in of `inner` that nothing before it reaches."""
    seen = set(line)
    brought = {}
    for commit_id in line[1:]:
        found = []
        pending = list(commits[commit_id].parents[1:])
        while pending:
            other = pending.pop()
            if other in inner and other not in seen:
                seen.add(other)
                found.append(other)
                pending.extend(commits[other].parents)
        brought[commit_id] = tuple(reversed(found))
    return brought


def _tags_on_chain(
    reader: ObjectReader,
    commits: Mapping[bytes, RawCommit],
    chain: Sequence[bytes],
    tags: Sequence[tuple[str, str]],
) -> dict[int, tuple[str, ...]]:
    """Tags by the chain index of their merge-base with the chain.

    Release tags often lie on a branch beside the chain that nothing merged back, so commits that
    the head does not reach are read here, down to the first ones known.
    """
    newest: dict[bytes, int] = {commit_id: k for k, commit_id in enumerate(chain)}
    beside: dict[bytes, RawCommit] = {}

    def parents_of(commit_id: bytes) -> tuple[bytes, ...]:
        commit = commits.get(commit_id) or beside.get(commit_id)
        if commit is None:
            commit = beside[commit_id] = reader.commit(commit_id)
        return commit.parents

    named: dict[int, list[str]] = {}
    for name, commit_hex in tags:
        tagged = bytes.fromhex(commit_hex)
        try:
            index = newest_reached(tagged, newest, parents_of)
        except RepositoryError:
            continue  # a damaged commit beside the chain costs a tag, not the repository
        if index >= 0:
            named.setdefault(index, []).append(name)
    return {k: tuple(sorted(names)) for k, names in named.items()}


def _commit(
    commit_id: bytes,
    commits: Mapping[bytes, RawCommit],
    position: float,
    brought: Sequence[bytes],
    tags: tuple[str, ...],
    authors: Mapping[bytes, str],
) -> Commit:
    raw = commits[commit_id]
    messages = [clean(decode(raw.message, raw.encoding))[:MAX_MESSAGE_CHARACTERS]]
    for other in brought[:MAX_BROUGHT_SUBJECTS]:
        message = subject(clean(decode(commits[other].message, commits[other].encoding)))
        if message:
            messages.append(message[:MAX_MESSAGE_CHARACTERS])
    return Commit(
        id=commit_id.hex(),
        tree=raw.tree.hex(),
        committed_at=raw.committed_at,
        position=position,
        author_kind=_author_kind(raw, [commits[other] for other in brought]),
        authored_at=raw.authored_at,
        author_id=authors.get(commit_id),
        is_merge=len(raw.parents) > 1,
        assisted=any(map(_is_assisted, (raw, *(commits[other] for other in brought)))),
        parents=len(set(raw.parents)),
        messages=tuple(messages),
        tags=tags,
    )


def _is_assisted(commit: RawCommit) -> bool:
    """Whether an agent had a part in one commit."""
    if is_agent(*identity(commit.author)):
        return True
    return is_assisted(decode(commit.message, commit.encoding))


def _author_kind(commit: RawCommit, brought: Sequence[RawCommit]) -> AuthorKind:
    """Whose work a commit of the chain is: for a merge, that of what it brings in."""
    own = author_kind(*identity(commit.author))
    return merge_kind(
        own, (author_kind(*identity(c.author)) for c in brought if len(c.parents) < 2)
    )
