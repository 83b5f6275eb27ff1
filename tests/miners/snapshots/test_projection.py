"""A tree edited in memory has, after every edit, the ids that `git write-tree` gives."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codeflow_miners.changes.treediff import Side
from codeflow_miners.snapshots.projection import ProjectedTree, TreeRow, entry_fields
from edits import NAMES, Files, two_trees
from gitdag import Repo
from mining import staged


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.create(tmp_path_factory.mktemp("projection") / "r.git")


def objects_below(repo: Repo, root: str) -> dict[str, list[tuple[str, bytes, str]]]:
    """Every tree object below a root, by git: id to (mode, name, id) entries."""
    found: dict[str, list[tuple[str, bytes, str]]] = {}
    pending = [root]
    while pending:
        tree = pending.pop()
        if tree not in found:
            found[tree] = []
            for line in repo.git("ls-tree", "-z", tree).split(b"\0")[:-1]:
                meta, _, name = line.partition(b"\t")
                mode, kind, oid = meta.decode().split()
                found[tree].append((mode.lstrip("0"), name, oid))
                if kind == "tree":
                    pending.append(oid)
    return found


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(two_trees().map(lambda trees: trees[1]), min_size=1, max_size=4), NAMES)
@example([{b"a/b": ("100644", b"")}, {b"a": ("100644", b"")}, {b"a/b": ("120000", b"x")}], "a")
@example([{b"a/b/c": ("100644", b""), b"a.": ("100644", b"")}, {}, {b"a0": ("100644", b"")}], "a")
def test_ids_are_those_of_write_tree(repo: Repo, snapshots: list[Files], name: str) -> None:
    tree = ProjectedTree()
    current: Files = {}
    emitted: dict[str, TreeRow] = {}

    def emit(row: TreeRow) -> None:
        emitted[row.id.hex()] = row

    for files in snapshots:
        for path in sorted(current):
            if files.get(path) != current[path] and not (path in files and name < "m"):
                tree.remove(path)  # a file that only changes may be removed first, or not
        for path, (mode, content) in files.items():
            if current.get(path) != (mode, content):
                tree.set(path, Side(mode.encode(), bytes.fromhex(repo.blob(content))))
        current = files
        root = tree.write(emit).hex()
        assert root == staged(repo, files)
        assert set(tree.top_files) == {p for p in files if b"/" not in p}
        for oid, entries in objects_below(repo, root).items():
            row = emitted[oid]
            ours = map(entry_fields, row.entries)
            assert [(m, n.encode(), c) for m, n, c in ours] == entries
    emitted.clear()
    assert tree.write(emit).hex() == root
    assert not emitted, "nothing changed since the last call"


def test_only_changed_folders_are_emitted() -> None:
    tree = ProjectedTree()
    side = Side(b"100644", b"\1" * 20)
    for path in (b"a/x", b"a/b/y", b"c/z"):
        tree.set(path, side)
    rows: list[TreeRow] = []
    tree.write(rows.append)
    assert len(rows) == 4
    rows.clear()
    tree.set(b"c/z", Side(b"100755", b"\1" * 20))
    tree.write(rows.append)
    assert [[entry_fields(entry)[1] for entry in row.entries] for row in rows] == [
        ["z"],
        ["a", "c"],
    ]
