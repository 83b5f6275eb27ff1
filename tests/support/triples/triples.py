"""Triples made by hand, for the filters: files before and after, messages, and no repository.

The patch is written here with difflib, in Git's form; nothing of codeflow's own diff takes part.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from codeflow.records import TRIPLES, FileChange
from codeflow.triple import Triple

Sides = tuple[str | None, str | None]


class Blobs:
    """The contents of a few files, as a triple's reader."""

    def __init__(self, files: Mapping[str, Sides]) -> None:
        texts = [text for sides in files.values() for text in sides if text is not None]
        self.contents = {blob_id(text): text.encode() for text in texts}

    def tree(self, repo: str, id: str) -> Sequence[Any]:
        raise AssertionError("a filter looked at a tree")

    def blob(self, repo: str, id: str) -> bytes:
        return self.contents[id]

    def steps(self, triple: str) -> Sequence[Any]:
        raise AssertionError("a filter looked at steps")


def blob_id(text: str) -> str:
    data = text.encode()
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


def commit_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def change(path: str, sides: Sides, **fields: Any) -> FileChange:
    """The change of one file; `additions` and so on as difflib counts them, unless given."""
    old, new = sides
    lines = hunks(sides)
    values = {
        "status": "A" if old is None else "D" if new is None else "M",
        "old_path": None if old is None else path,
        "new_path": None if new is None else path,
        "old_mode": None if old is None else "100644",
        "new_mode": None if new is None else "100644",
        "old_blob": None if old is None else blob_id(old),
        "new_blob": None if new is None else blob_id(new),
        "additions": sum(line[0] == "+" for line in lines),
        "deletions": sum(line[0] == "-" for line in lines),
        "language": None,
        "generated": False,
        "vendored": False,
        "file_kind": "source",
    }
    return FileChange(**{**values, **fields})


def hunks(sides: Sides) -> list[str]:
    """The hunks of a unified diff, without the names before them."""
    old, new = ((text or "").splitlines() for text in sides)
    return list(difflib.unified_diff(old, new, lineterm=""))[2:]


def section(path: str, sides: Sides) -> str:
    lines = hunks(sides)
    names = [f"--- a/{path}", f"+++ b/{path}"] if lines else []
    return "\n".join([f"diff --git a/{path} b/{path}", *names, *lines]) + "\n"


def triple(
    files: Mapping[str, Sides] | None = None,
    messages: Sequence[str | Sequence[str]] = ("Add a function that parses dates",),
    *,
    only: frozenset[str] | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    **columns: Any,
) -> Triple:
    """A triple of these files, one commit a message.

    Args:
        files: the two sides of each changed file, None for the one that does not exist.
        messages: of each commit; a list is a merge's message and the subjects it brings in.
        only: the columns that are there at all.
        changes: fields of the changed files that differ from the plain ones, by path.
        columns: values of columns that differ from the plain ones.
    """
    files = {"a.py": ("a = 1\n", "a = 1\nb = 2\n")} if files is None else files
    changed = [change(path, files[path], **(changes or {}).get(path, {})) for path in sorted(files)]
    lists = [[message] if isinstance(message, str) else list(message) for message in messages]
    commits = [commit_id(f"{lists}{k}") for k in range(len(lists))]
    at = datetime(2020, 1, 1, tzinfo=UTC)
    row: dict[str, Any] = {
        "id": hashlib.sha256(repr((sorted(files), lists)).encode()).hexdigest()[:32],
        "repo": "example.org/owner/name",
        "repo_url": "https://example.org/owner/name",
        "kind": "commit" if len(lists) == 1 else "span",
        "old_commit": commit_id("start"),
        "new_commit": commits[-1],
        "commits": commits,
        "messages": lists,
        "old_tree": "0" * 40,
        "new_tree": "1" * 40,
        "patch": "".join(section(path, files[path]) for path in sorted(files)),
        "files": [file._asdict() for file in changed],
        "language": None,
        "additions": sum(file.additions for file in changed),
        "deletions": sum(file.deletions for file in changed),
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
    }
    assert row.keys() == set(TRIPLES.names)
    row |= columns
    return Triple.from_row(
        {name: row[name] for name in row if only is None or name in only}, Blobs(files)
    )
