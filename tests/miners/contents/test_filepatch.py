"""One file's section of a patch, against what git writes and what git can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from codeflow.git.patch import parse_patch
from edits import Files, commit_files, tree_of
from gitdag import Repo
from mining import described, git_apply, patch_of


def patched(repo: Repo, old: Files, new: Files) -> bytes:
    """Our patch between two snapshots, after git has turned the one into the other with it."""
    old_tree, new_tree = (tree_of(repo, commit_files(repo, files)) for files in (old, new))
    patch = patch_of(described(repo, old_tree, new_tree))
    applied = git_apply(repo, old_tree, patch)
    assert applied.tree == new_tree, applied.said
    return patch


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {b"a /b": ("100644", b"")}),
        ({b"a /b": ("100644", b"")}, {}),
        ({b"a /b c": ("100644", b"x\n")}, {b"a /b c": ("100755", b"x\n")}),
    ],
)
def test_a_folder_name_that_ends_in_a_space(tmp_path: Path, old: Files, new: Files) -> None:
    """git cannot read its own header here, when no other line names the file; quotes help it."""
    repo = Repo.create(tmp_path / "r.git")
    ours = patched(repo, old, new)
    old_tree, new_tree = (tree_of(repo, commit) for commit in _two(repo))
    by_git = repo.git("diff-tree", "-p", "-r", "--full-index", old_tree, new_tree)
    assert git_apply(repo, old_tree, by_git).tree is None, "git has learned it; drop the quotes"
    assert parse_patch(ours) == parse_patch(by_git)


def _two(repo: Repo) -> list[str]:
    """The last two commits, older first."""
    assert repo.tip is not None
    return [repo.git("rev-parse", f"{repo.tip}^").decode().strip(), repo.tip]


@pytest.mark.parametrize(
    "new",
    [
        {b"l/l": ("120000", b"x"), b"f": ("100644", b"f\n")},
        {b"m": ("120000", b"x"), b"l/f": ("100644", b"f\n")},
    ],
)
def test_a_folder_where_a_renamed_symlink_was(tmp_path: Path, new: Files) -> None:
    """git lets nothing below a symlink unless the patch says that it is one and goes away."""
    repo = Repo.create(tmp_path / "r.git")
    patch = patched(repo, {b"l": ("120000", b"x"), b"f": ("100644", b"f\n")}, new)
    assert b"rename from l\n" in patch
    assert [p.status for p in parse_patch(patch)] == ["R"] * (1 + (b"m" in new))
