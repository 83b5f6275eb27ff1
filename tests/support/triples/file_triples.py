"""Triples made of a few files, for filters that look at contents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from pygit2 import Patch
from pygit2.enums import DiffOption

from codeflow.git.objects import TreeEntry
from codeflow.records import FILE_MODE, FileChange
from codeflow.triple import Triple

LANGUAGES = {
    ".c": "C", ".h": "C", ".cc": "C++", ".cs": "C#", ".go": "Go", ".java": "Java",
    ".js": "JavaScript", ".jsx": "JavaScript", ".md": "Markdown", ".php": "PHP", ".py": "Python",
    ".rb": "Ruby", ".rs": "Rust", ".sh": "Shell", ".ts": "TypeScript", ".tsx": "TSX",
}  # fmt: skip


class Blobs:
    """Contents by id: what a triple reads from."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def add(self, content: bytes | None) -> str | None:
        if content is None:
            return None
        id = hashlib.sha1(content).hexdigest()
        self.contents[id] = content
        return id

    def steps(self, triple: str) -> Sequence[Mapping[str, object]]:
        raise AssertionError("a filter looked at steps")

    def tree(self, repo: str, id: str) -> Sequence[TreeEntry]:
        raise AssertionError("a filter that declares CONTENTS reads no trees")

    def blob(self, repo: str, id: str) -> bytes:
        return self.contents[id]


def change(blobs: Blobs, path: str, old: bytes | None, new: bytes | None) -> FileChange:
    """A change of one file, added or deleted where a side is None."""
    status = "A" if old is None else "D" if new is None else "M"
    return FileChange(
        status,
        None if old is None else path,
        None if new is None else path,
        None if old is None else FILE_MODE,
        None if new is None else FILE_MODE,
        blobs.add(old),
        blobs.add(new),
        1,
        1,
        LANGUAGES.get(PurePosixPath(path).suffix),
        False,
        False,
        "source",
    )


def triple_of(blobs: Blobs, *files: FileChange) -> Triple:
    """A triple with no columns but `id`, `repo`, `files` and `patch`."""
    row = {
        "id": "0" * 32,
        "repo": "r",
        "files": [file._asdict() for file in files],
        "patch": "".join(_section(blobs, file) for file in files),
    }
    return Triple.from_row(row, blobs)


def hunks_of(old: bytes, new: bytes) -> str:
    """The hunks between two texts, by libgit2, after the lines that stand before them."""
    return Patch.create_from(old, new, flag=DiffOption.FORCE_TEXT).data.decode("utf-8", "replace")


def _section(blobs: Blobs, file: FileChange) -> str:
    """A file's part of the patch."""
    old, new = (blobs.contents.get(id or "", b"") for id in (file.old_blob, file.new_blob))
    hunks = hunks_of(old, new)
    body = hunks[hunks.find("@@ ") :] if "@@ " in hunks else ""
    path = file.path
    return f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n{body}"
