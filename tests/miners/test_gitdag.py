"""The test helper itself, against real git: what others build on must be what it says."""

from pathlib import Path

import gitdag
from gitdag import Entry, Exec, Gitlink, Repo, Symlink


def test_git_accepts_and_lists_what_was_written(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r", bare=False)
    first = repo.commit({"a/b": "1\n", "a.c": "2\n", "run": Exec("x"), "l": Symlink("a/b")})
    second = repo.commit({"a": None, "sub": Gitlink(first), b"\xff": b"\0"}, message="é")
    assert repo.rev_list() == [second, first]
    for commit in (first, second):
        assert repo.ls_tree(commit) == repo.snapshots[commit]
    assert repo.git("fsck", "--strict", "--no-dangling") == b""
    repo.pack()
    assert not repo.loose_path(first).exists()
    assert repo.git("cat-file", "blob", f"{first}:a/b") == b"1\n"


def test_the_graph_has_the_parents_that_were_asked_for(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r")
    ids = repo.build_graph([[1], [2, 1], [3, 1, 2], [4]])
    assert repo.git("rev-list", "--parents", "-1", ids[3]).split() == [
        ids[n].encode() for n in (3, 1, 2)
    ]
    assert repo.rev_list(ids[4]) == [ids[4]]
    assert repo.rev_list() == [ids[4]]


def test_trees_that_the_index_refuses(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r")
    commit = repo.commit({"../evil": "x", ".git/config": "y", "m": Entry("100664", b"z")})
    # ls-tree prints canonical modes and every name; --index-info would have refused the first two
    assert set(repo.ls_tree(commit)) == {b"../evil", b".git/config", b"m"}
    assert b"100664 m\0" in repo.git("cat-file", "tree", f"{commit}^{{tree}}")


def test_ids_are_gits_own(tmp_path: Path) -> None:
    for data in (b"", b"x" * 70000):
        asked = gitdag.git("hash-object", "--stdin", input=data, cwd=tmp_path)
        assert gitdag.object_id("blob", data) == asked.decode().strip()
