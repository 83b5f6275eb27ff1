"""Triples made by hand, for filters: a row, and the contents it names, without a repository."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from codeflow.git.objects import TreeEntry
from codeflow.triple import Triple


class Contents:
    """The `RepoReader` of such triples."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, content: bytes) -> str:
        id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        self.blobs[id] = content
        return id

    def blob(self, repo: str, id: str) -> bytes:
        return self.blobs[id]

    def steps(self, triple: str) -> Sequence[Any]:
        raise AssertionError("a filter looked at steps")

    def tree(self, repo: str, id: str) -> Sequence[TreeEntry]:
        raise AssertionError("no filter here looks at whole repositories")


def plant(
    old: Mapping[str, str], new: Mapping[str, str], drop_columns: Sequence[str] = (), **row: Any
) -> Triple:
    """The triple between two sets of files.

    Args:
        drop_columns: left out, as when a stage reads only what its filters ask for.
        row: columns that matter to the test.
    """
    reader = Contents()
    files: list[dict[str, Any]] = []
    parts: list[str] = []
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before == after:
            continue
        lines = list(difflib.unified_diff(_lines(before), _lines(after), lineterm=""))
        body = [line.removesuffix("\n") for line in lines[2:]]
        signs = [line[0] for line in body]
        parts.append(
            f"diff --git a/{path} b/{path}\n"
            + f"--- {'/dev/null' if before is None else f'a/{path}'}\n"
            + f"+++ {'/dev/null' if after is None else f'b/{path}'}\n"
            + "".join(f"{line}\n" for line in body)
        )
        files.append(
            {
                "status": "A" if before is None else "D" if after is None else "M",
                "old_path": None if before is None else path,
                "new_path": None if after is None else path,
                "old_mode": None if before is None else "100644",
                "new_mode": None if after is None else "100644",
                "old_blob": None if before is None else reader.add(before.encode()),
                "new_blob": None if after is None else reader.add(after.encode()),
                "additions": signs.count("+"),
                "deletions": signs.count("-"),
                "language": "Python" if path.endswith(".py") else None,
                "generated": False,
                "vendored": False,
                "file_kind": "source",
            }
        )
    at = datetime(2020, 1, 1, tzinfo=UTC)
    values = {
        "id": "0" * 32,
        "repo": "github.com/someone/project",
        "repo_url": "https://github.com/someone/project",
        "kind": "commit",
        "old_commit": "a" * 40,
        "new_commit": "b" * 40,
        "commits": ["b" * 40],
        "messages": [["Change something"]],
        "old_tree": "1" * 40,
        "new_tree": "2" * 40,
        "patch": "".join(parts),
        "files": files,
        "language": "Python",
        "additions": sum(file["additions"] for file in files),
        "deletions": sum(file["deletions"] for file in files),
        "position": 0.5,
        "window_by": "commits",
        "old_committed_at": at,
        "committed_at": at,
        "authored_at": at,
        "author_kind": "human",
        "author_id": "0123456789abcdef",
        "is_merge": False,
        "license": "MIT",
        "license_source": "text:LICENSE",
        "scores": [],
        "cluster": None,
        "weight": 1.0,
        **row,
    }
    for name in drop_columns:
        del values[name]
    return Triple.from_row(values, reader)


def _lines(text: str | None) -> list[str]:
    return [] if text is None else text.splitlines(keepends=True)
