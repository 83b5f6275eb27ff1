"""The patch of any change between two small trees, against real git and against our own apply."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from codeflow.errors import DataError
from codeflow.git.apply import apply_patch
from edits import Files, commit_files, tree_of, two_trees
from gitdag import Repo
from mining import described, git_apply, patch_of, staged

SLOW = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = b"".join(b"line %d\n" % k for k in range(12))


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.create(tmp_path_factory.mktemp("content") / "r.git")


@pytest.mark.slow
@SLOW
@given(two_trees())
@example(({b"a": ("100644", TEXT), b"b": ("100644", b"x\n")}, {b"b": ("100644", TEXT)}))
@example(({b"a": ("100644", TEXT)}, {b"a/a": ("100644", TEXT + b"x")}))
@example(({b"a/a": ("100644", TEXT)}, {b"a": ("100755", TEXT + b"x")}))
@example(({b"a": ("120000", b"b"), b"b": ("100644", b"")}, {b"a": ("100644", b"b")}))
@example(({b"a b": ("100644", b"x")}, {b"A b": ("100644", b"x"), b"a": ("120000", b"x")}))
@example(({}, {b"a /b": ("100644", b"")}))
@example(({b"l": ("120000", b"x")}, {b"l/l": ("120000", b"x")}))
def test_any_patch_gives_the_new_tree(repo: Repo, trees: tuple[Files, Files]) -> None:
    old, new = trees
    old_tree, new_tree = (tree_of(repo, commit_files(repo, files)) for files in trees)
    assert staged(repo, old) == old_tree
    assert staged(repo, new) == new_tree
    patch = patch_of(described(repo, old_tree, new_tree))
    applied = git_apply(repo, old_tree, patch)
    assert applied.tree == new_tree, applied.said
    assert "offset" not in applied.said
    assert "fuzz" not in applied.said
    as_text = {path.decode(): file for path, file in old.items()}
    assert apply_patch(patch, as_text) == {path.decode(): file for path, file in new.items()}


@SLOW
@given(two_trees(least=2))
def test_files_tell_what_git_tells(repo: Repo, trees: tuple[Files, Files]) -> None:
    """Without renames, statuses, modes and blobs are those of `git diff-tree`, each path once."""
    old_tree, new_tree = (tree_of(repo, commit_files(repo, files)) for files in trees)
    told: dict[bytes, tuple[str, str, str, str, str]] = {}
    raw = repo.git("diff-tree", "-r", "-z", "--no-renames", "--raw", old_tree, new_tree)
    fields = raw.split(b"\0")[:-1]
    for meta, path in zip(fields[::2], fields[1::2], strict=True):
        old_mode, new_mode, old_blob, new_blob, status = meta[1:].decode().split()
        told[path] = (status, old_mode, new_mode, old_blob, new_blob)
    ours: dict[bytes, tuple[str, str, str, str, str]] = {}
    for file in described(repo, old_tree, new_tree):
        row, none = file.row, ("000000", "0" * 40)
        old = (row.old.mode.decode(), row.old.blob.hex()) if row.old else none
        new = (row.new.mode.decode(), row.new.blob.hex()) if row.new else none
        if file.status == "R":
            assert row.old_path is not None
            assert row.new_path is not None
            assert row.old_path not in ours
            assert row.new_path not in ours
            ours[row.old_path] = ("D", old[0], "000000", old[1], "0" * 40)
            ours[row.new_path] = ("A", "000000", new[0], "0" * 40, new[1])
        else:
            at = row.new_path if row.new_path is not None else row.old_path
            assert at is not None
            assert at not in ours
            ours[at] = (file.status, old[0], new[0], old[1], new[1])
    assert ours == told


def _without_shift(patch: bytes) -> bytes:
    """The second hunk numbered as if nothing stood above it."""
    return patch.replace(b"@@ -30,7 +31,7 @@", b"@@ -1,7 +1,7 @@")


WRONG: dict[str, tuple[Files, Files, Callable[[bytes], bytes]]] = {
    "a hunk whose place was not shifted": (
        {b"f": ("100644", b"".join(b"%d\n" % k for k in range(60)))},
        {
            b"f": (
                "100644",
                b"new\n" + b"".join(b"%d\n" % (k if k != 32 else 99) for k in range(60)),
            )
        },
        _without_shift,
    ),
    "no mark of a missing newline": (
        {b"f": ("100644", b"a\nb")},
        {b"f": ("100644", b"a\nc")},
        lambda patch: patch.replace(b"\\ No newline at end of file\n", b""),
    ),
    "no tab behind a name with a space": (
        {b"a b": ("100644", b"x\n")},
        {b"a b": ("100644", b"y\n")},
        lambda patch: patch.replace(b"\t\n", b"\n"),
    ),
    "a change of type told as a modification": (
        {b"f": ("100644", b"x")},
        {b"f": ("120000", b"y")},
        lambda patch: (
            b"diff --git a/f b/f\nold mode 100644\nnew mode 120000\n"
            b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n"
            b"+y\n\\ No newline at end of file\n"
        ),
    ),
    "no mode where only the mode changes": (
        {b"f": ("100644", b"x\n")},
        {b"f": ("100755", b"y\n")},
        lambda patch: patch.replace(b"old mode 100644\nnew mode 100755\n", b""),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_patches_are_caught(tmp_path: Path, name: str) -> None:
    """The judges above are no formality: each of these mistakes fails with git or with us."""
    repo = Repo.create(tmp_path / "r.git")
    old, new, spoil = WRONG[name]
    old_tree, new_tree = (tree_of(repo, commit_files(repo, files)) for files in (old, new))
    patch = patch_of(described(repo, old_tree, new_tree))
    assert git_apply(repo, old_tree, patch).tree == new_tree
    wrong = spoil(patch)
    assert wrong != patch
    applied = git_apply(repo, old_tree, wrong)
    by_git = applied.tree != new_tree or "offset" in applied.said
    try:
        result = apply_patch(wrong, {path.decode(): file for path, file in old.items()})
        by_us = result != {path.decode(): file for path, file in new.items()}
    except DataError:
        by_us = True
    assert by_us
    assert by_git or name == "no tab behind a name with a space"  # git reads its own header, too


def test_a_ring_applied_one_after_the_other_is_wrong(tmp_path: Path) -> None:
    """Renames happen at once: taken in sequence, the second would read what the first wrote."""
    repo = Repo.create(tmp_path / "r.git")
    one, two = TEXT, b"other\n" + TEXT[::-1]
    old: Files = {b"a": ("100644", one), b"d/b": ("100644", two)}
    new: Files = {b"d/b": ("100644", one), b"c": ("100644", two)}
    old_tree, new_tree = (tree_of(repo, commit_files(repo, files)) for files in (old, new))
    files = described(repo, old_tree, new_tree)
    assert git_apply(repo, old_tree, patch_of(files)).tree == new_tree
    assert {file.status for file in files} >= {"M"}, "a path on both sides is never a rename"
    in_sequence = dict(old)
    for a, b in ((b"a", b"d/b"), (b"d/b", b"c")):
        in_sequence[b] = in_sequence.pop(a)
    assert in_sequence != new
