"""Triples made by hand, for the filters: files before and after, messages, and no repository.

The patch is libgit2's; nothing of codeflow's own diff takes part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pygit2 import Patch
from pygit2.enums import DiffOption

from codeflow.git.objects import TreeEntry
from codeflow.records import FILE_MODE, TRIPLES, FileChange
from codeflow.triple import Triple

Text = str | bytes | None
Sides = tuple[Text, Text]
"""A file before and after; None is a side on which it does not exist."""
FILES_ONLY = frozenset({"id", "repo", "files", "patch"})
LANGUAGES = {
    ".c": "C", ".h": "C", ".cc": "C++", ".cs": "C#", ".go": "Go", ".java": "Java",
    ".js": "JavaScript", ".jsx": "JavaScript", ".md": "Markdown", ".php": "PHP", ".py": "Python",
    ".rb": "Ruby", ".rs": "Rust", ".sh": "Shell", ".ts": "TypeScript", ".tsx": "TSX",
}  # fmt: skip


class Blobs:
    """The contents of a few files, as a triple's reader; several triples may share them."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def add(self, text: Text) -> str | None:
        if text is None:
            return None
        content = encoded(text)
        id = hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
        self.contents[id] = content
        return id

    def tree(self, repo: str, id: str) -> Sequence[TreeEntry]:
        raise AssertionError("a filter looked at a tree")

    def blob(self, repo: str, id: str) -> bytes:
        return self.contents[id]

    def steps(self, triple: str) -> Sequence[Any]:
        raise AssertionError("a filter looked at steps")


def encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def commit_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def change(path: str, sides: Sides, blobs: Blobs, **fields: Any) -> FileChange:
    """The change of one file; `additions` and so on as libgit2 counts them, unless given."""
    old, new = sides
    _, additions, deletions = difference(path, sides)
    values = {
        "status": "A" if old is None else "D" if new is None else "M",
        "old_path": None if old is None else path,
        "new_path": None if new is None else path,
        "old_mode": None if old is None else FILE_MODE,
        "new_mode": None if new is None else FILE_MODE,
        "old_blob": blobs.add(old),
        "new_blob": blobs.add(new),
        "additions": additions,
        "deletions": deletions,
        "language": LANGUAGES.get(PurePosixPath(path).suffix),
        "generated": False,
        "vendored": False,
        "file_kind": "source",
    }
    return FileChange(**{**values, **fields})


def difference(path: str, sides: Sides) -> tuple[str, int, int]:
    """A file's part of the patch, lines added, lines deleted: as libgit2 has them.

    A `Patch` reads the contents it was made of, and keeps none of them alive: it is used up here.
    """
    old, new = (None if text is None else encoded(text) for text in sides)
    patch = Patch.create_from(old, new, path, path, flag=DiffOption.FORCE_TEXT)
    _, additions, deletions = patch.line_stats
    text = patch.data.decode("utf-8", "replace") or f"diff --git a/{path} b/{path}\n"
    return text, additions, deletions


def section(path: str, sides: Sides) -> str:
    """A file's part of the patch."""
    return difference(path, sides)[0]


def triple(
    files: Mapping[str, Sides] | None = None,
    messages: Sequence[str | Sequence[str]] = ("Add a function that parses dates",),
    *,
    only: frozenset[str] | None = None,
    blobs: Blobs | None = None,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    **columns: Any,
) -> Triple:
    """A triple of these files, one commit a message.

    Args:
        files: the two sides of each changed file, None for the one that does not exist.
        messages: of each commit; a list is a merge's message and the subjects it brings in.
        only: the columns that are there at all.
        blobs: where the contents go, if others are to share them.
        changes: fields of the changed files that differ from the plain ones, by path.
        columns: values of columns that differ from the plain ones.
    """
    files = {"a.py": ("a = 1\n", "a = 1\nb = 2\n")} if files is None else files
    blobs = blobs or Blobs()
    changed = [
        change(path, files[path], blobs, **(changes or {}).get(path, {})) for path in sorted(files)
    ]
    lists = [[message] if isinstance(message, str) else list(message) for message in messages]
    commits = [commit_id(f"{lists}{k}") for k in range(len(lists))]
    at = datetime(2020, 1, 1, tzinfo=UTC)
    row: dict[str, Any] = {
        "id": hashlib.sha256(repr((sorted(files), lists)).encode()).hexdigest()[:32],
        "repo": "example.org/owner/name",
        "repo_url": "https://example.org/owner/name",
        "kind": "commit" if len(lists) <= 1 else "span",
        "old_commit": commit_id("start"),
        "new_commit": commits[-1] if commits else commit_id("end"),
        "commits": commits,
        "messages": lists,
        "old_tree": "0" * 40,
        "new_tree": "1" * 40,
        "patch": "".join(section(path, files[path]) for path in sorted(files)),
        "files": [file._asdict() for file in changed],
        "language": changed[0].language if changed else None,
        "additions": sum(file.additions for file in changed),
        "deletions": sum(file.deletions for file in changed),
        "position": 0.5,
        "window_by": "commits",
        "old_committed_at": at,
        "committed_at": at,
        "authored_at": at,
        "author_kind": "human",
        "assisted": False,
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
    return Triple.from_row({name: row[name] for name in row if only is None or name in only}, blobs)


def plant(old: Mapping[str, str], new: Mapping[str, str], **more: Any) -> Triple:
    """The triple between two sets of files; more as `triple` takes it."""
    sides = {path: (old.get(path), new.get(path)) for path in {*old, *new}}
    changed: dict[str, Sides] = {path: pair for path, pair in sides.items() if pair[0] != pair[1]}
    return triple(changed, **more)
