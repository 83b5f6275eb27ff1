"""Triples made of a few files, for filters that look at contents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from codeflow.objects import TreeEntry
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
    )


def triple_of(blobs: Blobs, *files: FileChange) -> Triple:
    """A triple with no columns but `id`, `repo` and `files`."""
    row = {"id": "0" * 32, "repo": "r", "files": [file._asdict() for file in files]}
    return Triple.from_row(row, blobs)
