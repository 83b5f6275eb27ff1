"""Whole trees as mappings of paths to files: edits, and git's id."""

from __future__ import annotations

from collections.abc import Mapping

from codeflow.git.apply import File
from codeflow.git.objects import EMPTY_TREE, blob_id, edited_tree_id


def edited(files: Mapping[str, File], edits: Mapping[str, File | None]) -> dict[str, File]:
    """Files after edits, as they are."""
    new = {path: file for path, file in files.items() if path not in edits}
    new.update((path, file) for path, file in edits.items() if file is not None)
    return new


def tree_of(files: Mapping[str, File]) -> str:
    """Git's id of a whole tree. Raises DataError where a file and a folder share a path."""
    edits = {path: (mode, blob_id(content)) for path, (mode, content) in files.items()}
    return edited_tree_id(EMPTY_TREE, edits, lambda tree: ())
