"""Rename detection with a bound: exact renames always, similar ones while they stay cheap.

The rule is Git's (gitdiffcore(7)): a deleted and an added file are a rename when at least half of
the larger one's bytes, taken line by line, stand in the other; same file names are tried first,
then the most similar pairs. Git's and libgit2's detectors can take minutes on one large commit;
here a commit with more than `rename_candidates` deleted or added files, or with too many bytes to
read, keeps its exact renames only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from codeflow_miners.changes.treediff import GITLINK, PathChange, Side

MIN_SIMILARITY = 50
_MAX_BYTES = 16 << 20
_SYMLINK = b"120000"


class FileRow(NamedTuple):
    """One file of a change: paths and sides, None where a side does not exist."""

    old_path: bytes | None
    old: Side | None
    new_path: bytes | None
    new: Side | None


def pair_renames(
    changes: Sequence[PathChange],
    candidates: int,
    read: Callable[[bytes], bytes],
    size: Callable[[bytes], int],
) -> list[FileRow]:
    """Turns path changes into file rows, deleted and added files joined into renames.

    Args:
        candidates: most deleted or added files for which similarity is looked at.
        read: content of a blob. size: its size in bytes, cheaper.
    """
    rows = [FileRow(c.path, c.old, c.path, c.new) for c in changes if c.old and c.new]
    gone = {c.path: c.old for c in changes if c.old and not c.new}
    come = {c.path: c.new for c in changes if c.new and not c.old}
    if gone and come:
        pairs = _exact(gone, come)
        for old_path, new_path in pairs:
            rows.append(FileRow(old_path, gone.pop(old_path), new_path, come.pop(new_path)))
        if gone and come and max(len(gone), len(come)) <= candidates:
            for old_path, new_path in _similar(gone, come, read, size):
                rows.append(FileRow(old_path, gone.pop(old_path), new_path, come.pop(new_path)))
    rows += [FileRow(path, side, None, None) for path, side in gone.items()]
    rows += [FileRow(None, None, path, side) for path, side in come.items()]
    return rows


def _exact(gone: dict[bytes, Side], come: dict[bytes, Side]) -> list[tuple[bytes, bytes]]:
    """Pairs with the same content and file type; same file names first, then in path order."""
    by_content: dict[tuple[bool, bytes], list[bytes]] = {}
    for path in sorted(gone):
        side = gone[path]
        if side.mode != GITLINK:
            by_content.setdefault((side.mode == _SYMLINK, side.blob), []).append(path)
    pairs = []
    waiting = []
    for path in sorted(come):
        side = come[path]
        olds = by_content.get((side.mode == _SYMLINK, side.blob), [])
        same = next((old for old in olds if _name(old) == _name(path)), None)
        if same is not None:
            olds.remove(same)
            pairs.append((same, path))
        elif olds:
            waiting.append((olds, path))
    for olds, path in waiting:
        if olds:
            pairs.append((olds.pop(0), path))
    return pairs


def _similar(
    gone: dict[bytes, Side],
    come: dict[bytes, Side],
    read: Callable[[bytes], bytes],
    size: Callable[[bytes], int],
) -> list[tuple[bytes, bytes]]:
    olds = {p: size(s.blob) for p, s in gone.items() if s.mode not in (_SYMLINK, GITLINK)}
    news = {p: size(s.blob) for p, s in come.items() if s.mode not in (_SYMLINK, GITLINK)}
    possible = [
        (old, new)
        for old, old_bytes in olds.items()
        for new, new_bytes in news.items()
        if 100 * min(old_bytes, new_bytes) >= MIN_SIMILARITY * max(old_bytes, new_bytes) > 0
    ]
    needed = {old for old, _ in possible} | {new for _, new in possible}
    if (
        sum(size_bytes for p, size_bytes in [*olds.items(), *news.items()] if p in needed)
        > _MAX_BYTES
    ):
        return []
    old_lines = {p: line_bytes(read(gone[p].blob)) for p in {old for old, _ in possible}}
    new_lines = {p: line_bytes(read(come[p].blob)) for p in {new for _, new in possible}}
    scored = []
    for old, new in possible:
        score = similarity(old_lines[old], new_lines[new])
        if score >= MIN_SIMILARITY:
            scored.append((_name(old) != _name(new), -score, old, new))
    pairs: list[tuple[bytes, bytes]] = []
    used: set[bytes] = set()
    for _, _, old, new in sorted(scored):
        # a path is on one side only, so one set serves for both
        if old not in used and new not in used:
            used |= {old, new}
            pairs.append((old, new))
    return pairs


def line_bytes(content: bytes) -> Counter[bytes]:
    """Bytes of a file by distinct line (with its newline): what similarity is measured on."""
    counts = Counter(content.split(b"\n"))
    return Counter({line: n * (len(line) + 1) for line, n in counts.items()})


def similarity(old: Counter[bytes], new: Counter[bytes]) -> int:
    """Share of the larger file that the other holds too, in whole percent (Git's score)."""
    larger = max(old.total(), new.total())
    if not larger:
        return 100
    small, large = (old, new) if len(old) < len(new) else (new, old)
    copied = sum(min(n, large[line]) for line, n in small.items() if line in large)
    return copied * 100 // larger


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def lineages(rows: Iterable[FileRow]) -> dict[bytes, bytes]:
    """Representative path of each renamed path: paths that renames connect share one."""
    parent: dict[bytes, bytes] = {}

    def find(path: bytes) -> bytes:
        root = path
        while (above := parent.get(root, root)) != root:
            root = above
        while path != root:
            parent[path], path = root, parent[path]
        return root

    for row in rows:
        if row.old_path is not None and row.new_path is not None and row.old_path != row.new_path:
            a, b = find(row.old_path), find(row.new_path)
            parent.setdefault(a, a)
            parent.setdefault(b, b)
            if a != b:
                parent[max(a, b)] = min(a, b)
    return {path: find(path) for path in parent}
