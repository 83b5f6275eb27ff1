"""Tree differences and renames against `git diff-tree`."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from codeflow_miners.changes.treediff import PathChange, Side, TreeDiffer
from codeflow_miners.objects.reader import ObjectReader
from edits import Files, commit_files, tree_of, two_trees
from gitdag import Entry, Gitlink, Repo

SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.create(tmp_path_factory.mktemp("treediff") / "r.git")


def by_git(repo: Repo, old: str, new: str) -> set[PathChange]:
    """`git diff-tree` of two trees; a change of type is one change."""
    raw = repo.git("diff-tree", "-r", "-z", "--no-renames", "--raw", old, new).split(b"\0")[:-1]
    found = set()
    for meta, path in zip(raw[::2], raw[1::2], strict=True):
        old_mode, new_mode, old_id, new_id, _ = meta[1:].split()
        sides = [
            None if mode == b"000000" else Side(mode, bytes.fromhex(oid.decode()))
            for mode, oid in ((old_mode, old_id), (new_mode, new_id))
        ]
        found.add(PathChange(path, *sides))
    return found


def by_us(differ: TreeDiffer, old: str, new: str) -> set[PathChange]:
    changes = differ.changes(bytes.fromhex(old), bytes.fromhex(new))
    assert len({change.path for change in changes}) == len(changes)
    return set(changes)


@pytest.mark.slow
@SLOW
@given(two_trees())
@example(({b"a": ("100644", b"x")}, {b"a/b": ("100644", b"x"), b"a.b": ("100644", b"x")}))
@example(({b"a/b/c": ("100644", b"x"), b"a-": ("100644", b"x")}, {b"a/b": ("120000", b"x")}))
def test_differences_are_gits(repo: Repo, trees: tuple[Files, Files]) -> None:
    old, new = (tree_of(repo, commit_files(repo, files)) for files in trees)
    differ = TreeDiffer(ObjectReader(repo.git_dir))
    for a, b in ((old, new), (new, old)):  # the second time from remembered trees
        assert by_us(differ, a, b) == by_git(repo, a, b)
    empty = tree_of(repo, commit_files(repo, {}))
    assert set(differ.files(bytes.fromhex(new))) == by_git(repo, empty, new)


def test_a_long_walk_with_a_small_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees that were forgotten are read again, submodules and odd modes among them."""
    monkeypatch.setattr("codeflow_miners.changes.treediff._CACHED_ENTRIES", 12)
    repo = Repo.create(tmp_path / "r.git")
    draw = random.Random(1)
    commits = [repo.commit({f"d{k % 5}/e{k % 3}/f{k}": f"{k}\n" for k in range(40)})]
    for number in range(40):
        path = f"d{draw.randrange(5)}/e{draw.randrange(3)}/f{draw.randrange(40)}"
        content = draw.choice(
            [
                None,
                f"{number}\n",
                Entry("100664", b"odd"),
                Gitlink(commits[0]),
                Entry("120000", b"t"),
            ]
        )
        commits.append(repo.commit({path: content}))
    differ = TreeDiffer(ObjectReader(repo.git_dir))
    for old, new in pairwise(commits):
        a, b = tree_of(repo, old), tree_of(repo, new)
        told = {
            PathChange(change.path, canonical(change.old), canonical(change.new))
            for change in by_git(repo, a, b)
        }
        assert by_us(differ, a, b) == {change for change in told if change.old != change.new}


def canonical(side: Side | None) -> Side | None:
    """diff-tree prints old modes as they are stored."""
    return side._replace(mode=b"100644") if side and side.mode == b"100664" else side
