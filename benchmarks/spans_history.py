"""Reads a repository for the span benchmarks: the chain as it is, or with its branches laid out.

This is the benchmarks' own reader (git's own diff, by subprocess), independent of the miner's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from codeflow.contracts import STEP_FEATURES, Commit, History
from codeflow_miners.contents.file_kind import file_kind
from codeflow_miners.kinds.span.features import line_features

CODE_SUFFIX = re.compile(
    r"\.(py|pyx|rb|erb|haml|slim|java|scala|kt|jsx?|tsx?|c|h|cc|cpp|hpp|cs|go|rs|php|pl|sh|tcl|lua"
    r"|swift|css|scss|y|l|m|asm|s|clj|ex|el|vim)$",
    re.IGNORECASE,
)


class Layout(NamedTuple):
    """Commits in the order they are laid out, and which runs of them were one merged branch.

    `branches` holds half-open pairs (i, j): the branch is the steps i..j-1 of the history, that is
    `Pair(i, j)`. Step k is the change that `commits[k + 1]` made to its own first parent.
    """

    history: History
    branches: list[tuple[int, int]]


class Raw(NamedTuple):
    id: str
    parents: tuple[str, ...]
    time: int
    message: str


def git(repo: Path, *args: str, stdin: bytes | None = None) -> bytes:
    command = ["git", "-c", "core.quotepath=false", "-C", str(repo), *args]
    return subprocess.run(command, check=True, input=stdin, capture_output=True).stdout


def read_commits(repo: Path) -> dict[str, Raw]:
    """Every commit reachable from HEAD."""
    out = git(repo, "log", "--format=%H%x1f%P%x1f%ct%x1f%B%x00", "HEAD").decode("utf-8", "replace")
    commits = {}
    for entry in out.split("\0"):
        if entry.strip():
            oid, parents, time, message = entry.strip("\n").split("\x1f", 3)
            commits[oid] = Raw(oid, tuple(dict.fromkeys(parents.split())), int(time), message)
    return commits


def first_parent_chain(repo: Path) -> list[str]:
    return git(repo, "rev-list", "--first-parent", "--reverse", "HEAD").decode().split()


def chain_history(repo: Path) -> History:
    """The first-parent chain as the miner sees it, merges and tags included."""
    raw = read_commits(repo)
    chain = first_parent_chain(repo)
    tags = read_tags(repo, chain)
    diffs = first_parent_diffs(repo, [raw[c] for c in chain[1:]])
    return _history(repo.name, [raw[c] for c in chain], diffs, tags)


def laid_out(repo: Path) -> Layout:
    """The hidden pull-request test's history: in place of each merge, the commits it brought in.

    A branch is laid out along its own first parents, and the branches merged into it in their own
    places, so nested pull requests stay whole. Merges are left out, as if every branch had been
    rebased, so no flag and no message of a merge is left; merges that only bring the main line up
    to date leave nothing. Tags stay only where they lie on a commit made on the main line itself.
    Dates never run backwards (running maximum), so that overlapping branches do not give
    themselves away by it.
    """
    raw = read_commits(repo)
    chain = first_parent_chain(repo)
    order: list[Raw] = []
    branches: list[tuple[int, int]] = []
    seen: set[str] = set()

    def lay(tip: str) -> None:
        line: list[Raw] = []
        oid: str | None = tip
        while oid is not None and oid in raw and oid not in seen:
            seen.add(oid)
            line.append(raw[oid])
            oid = raw[oid].parents[0] if raw[oid].parents else None
        for commit in reversed(line):
            for other in commit.parents[1:]:
                before = len(order)
                lay(other)
                if len(order) - before >= 2 and before > 0:
                    branches.append((before - 1, len(order) - 1))
            if len(commit.parents) == 1 or not order:
                order.append(commit)

    sys.setrecursionlimit(100_000)
    lay(chain[-1])
    single = {c for c in chain if len(raw[c].parents) <= 1}
    tags = {oid: names for oid, names in read_tags(repo, chain).items() if oid in single}
    diffs = first_parent_diffs(repo, order[1:])
    return Layout(_history(repo.name, order, diffs, tags), sorted(set(branches)))


def read_tags(repo: Path, chain: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Tags by the chain commit they lie on (for the benchmarks, tags off the chain are left)."""
    out = git(
        repo, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname:short)", "refs/tags"
    )
    on_chain = set(chain)
    tags: dict[str, tuple[str, ...]] = {}
    for line in out.decode("utf-8", "replace").splitlines():
        target, peeled, name = line.split(" ", 2)
        oid = peeled or target
        if oid in on_chain:
            tags[oid] = (*tags.get(oid, ()), name)
    return tags


def first_parent_diffs(repo: Path, commits: Sequence[Raw]) -> Iterator[list[dict[str, object]]]:
    """Per commit the rows of its difference to its first parent, without `step`."""
    pairs = "".join(f"{c.id} {c.parents[0]}\n" for c in commits).encode()
    options = ["-r", "-M", "-l200", "-p", "--no-color", "--no-ext-diff", "--no-textconv"]
    command = ["git", "-c", "core.quotepath=false", "-c", "diff.renames=true", "-C", str(repo)]
    out = subprocess.run(
        [*command, "diff-tree", "--stdin", *options, "--format=%x00%H"],
        input=pairs,
        check=True,
        capture_output=True,
    ).stdout
    by_id: dict[str, list[dict[str, object]]] = {}
    for entry in re.split(rb"^\0", out, flags=re.MULTILINE)[1:]:
        head, _, body = entry.partition(b"\n")
        by_id[head.decode()] = list(_files(body))
    for commit in commits:
        yield by_id.get(commit.id, [])


def _files(body: bytes) -> Iterator[dict[str, object]]:
    for part in re.split(rb"^diff --git ", body, flags=re.MULTILINE)[1:]:
        cut = part.find(b"\n@@")
        header, hunks = (part[:cut], part[cut + 1 :]) if cut >= 0 else (part, b"")
        yield _row(header.decode("utf-8", "replace"), hunks, len(part))


def _row(header: str, hunks: bytes, size: int) -> dict[str, object]:
    lines = header.split("\n")
    status, old, new = "M", "", ""
    for line in lines[1:]:
        if line.startswith("new file"):
            status = "A"
        elif line.startswith("deleted file"):
            status = "D"
        elif line.startswith("rename from "):
            status, old = "R", line[12:]
        elif line.startswith("rename to "):
            new = line[10:]
        elif line.startswith("--- a/"):
            old = line[6:].rstrip("\t")
        elif line.startswith("+++ b/"):
            new = line[6:].rstrip("\t")
    if not old and not new:  # empty, binary or mode only: `a/path b/path` with equal paths
        old = new = lines[0][2 : 2 + (len(lines[0]) - 5) // 2]
    path = new or old
    found = line_features(hunks)
    return {
        "status": status,
        "old_path": None if status == "A" else old or path,
        "new_path": None if status == "D" else path,
        "file_kind": file_kind(path, "code" if CODE_SUFFIX.search(path) else None),
        "additions": len(found.added_lines),
        "deletions": len(found.removed_lines),
        "patch_bytes": size,
        "identifiers": found.identifiers,
        "added_lines": found.added_lines,
        "removed_lines": found.removed_lines,
    }


def _history(
    name: str,
    order: Sequence[Raw],
    diffs: Iterator[list[dict[str, object]]],
    tags: dict[str, tuple[str, ...]],
) -> History:
    clock, commits = 0, []
    for k, c in enumerate(order):
        clock = max(clock, c.time)
        position = k / max(1, len(order) - 1)
        commits.append(
            Commit(
                c.id, "", clock, position, "human", len(c.parents), (c.message,), tags.get(c.id, ())
            )
        )
    rows = [{"step": step, **row} for step, files in enumerate(diffs) for row in files]
    features = pa.Table.from_pylist(rows, schema=STEP_FEATURES)
    return History(name, commits, range(len(commits) - 1), features)
