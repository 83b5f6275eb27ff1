"""Renames: exact ones always, similar ones as git finds them, and never beyond the bound."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow_miners.changes.renames import (
    FileRow,
    line_bytes,
    lineages,
    pair_renames,
    similarity,
)
from codeflow_miners.changes.treediff import PathChange, Side, TreeDiffer
from codeflow_miners.objects.reader import ObjectReader
from edits import Files, commit_files, tree_of, two_trees
from gitdag import Repo

SLOW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.create(tmp_path_factory.mktemp("renames") / "r.git")


def rows_between(repo: Repo, old: Files, new: Files, candidates: int = 100) -> list[FileRow]:
    trees = [bytes.fromhex(tree_of(repo, commit_files(repo, files))) for files in (old, new)]
    reader = ObjectReader(repo.git_dir)
    changes = TreeDiffer(reader).changes(trees[0], trees[1])
    return pair_renames(changes, candidates, reader.blob, reader.blob_size)


def renames(rows: list[FileRow]) -> set[tuple[bytes, bytes]]:
    return {
        (row.old_path, row.new_path)
        for row in rows
        if row.old_path is not None and row.new_path is not None and row.old_path != row.new_path
    }


def renames_by_git(repo: Repo, old: Files, new: Files) -> set[tuple[bytes, bytes]]:
    a, b = (tree_of(repo, commit_files(repo, files)) for files in (old, new))
    fields = repo.git("diff-tree", "-r", "-z", "--raw", "-M", a, b).split(b"\0")
    found, at = set(), 0
    while at < len(fields) - 1:
        if fields[at].split()[4].startswith(b"R"):
            found.add((fields[at + 1], fields[at + 2]))
            at += 3
        else:
            at += 2
    return found


@SLOW
@given(two_trees(least=2), st.sampled_from([0, 100]))
def test_rows_are_the_changes(repo: Repo, trees: tuple[Files, Files], candidates: int) -> None:
    """Every changed path stands in exactly one row a side, whatever is paired with what."""
    old, new = trees
    rows = rows_between(repo, old, new, candidates)
    changed = {p for p in old.keys() | new.keys() if old.get(p) != new.get(p)}
    olds = [row.old_path for row in rows if row.old_path is not None]
    news = [row.new_path for row in rows if row.new_path is not None]
    assert sorted(olds) == sorted(changed & old.keys())
    assert sorted(news) == sorted(changed & new.keys())
    for old_path, new_path in renames(rows):
        assert old_path not in new
        assert new_path not in old
        if candidates == 0:
            assert old[old_path][1] == new[new_path][1]
        assert (old[old_path][0] == "120000") == (new[new_path][0] == "120000")


@pytest.mark.slow
@SLOW
@given(two_trees(least=3))
def test_exact_renames_are_all_found(repo: Repo, trees: tuple[Files, Files]) -> None:
    """As many as there are pairs of equal content, counted without any matching."""
    old, new = trees
    expected = 0
    kinds = {(m == "120000", c) for m, c in [*old.values(), *new.values()]}
    for kind in kinds:
        gone = sum((m == "120000", c) == kind for p, (m, c) in old.items() if p not in new)
        come = sum((m == "120000", c) == kind for p, (m, c) in new.items() if p not in old)
        expected += min(gone, come)
    assert len(renames(rows_between(repo, old, new, candidates=0))) == expected


def test_same_names_win_among_equal_contents(repo: Repo) -> None:
    text = ("100644", b"same\n" * 9)
    old: Files = {b"a/x": text, b"a/y": text, b"a/z": text}
    new: Files = {b"b/z": text, b"b/y": text, b"c/w": text}
    expected = {(b"a/z", b"b/z"), (b"a/y", b"b/y"), (b"a/x", b"c/w")}
    assert renames(rows_between(repo, old, new)) == expected == renames_by_git(repo, old, new)


def test_an_old_file_is_taken_once(repo: Repo) -> None:
    """Two new files like one old: the exact one wins, else the more similar; one stays new."""
    lines = words(1)
    old: Files = {b"a/x": ("100644", b"".join(lines))}
    near, far = b"".join(lines[2:]), b"".join(lines[9:])
    for news in ({b"b/x": old[b"a/x"], b"c/x": old[b"a/x"]}, {b"n": ("100644", near)}):
        new: Files = {**news, b"z": ("100644", far)}
        rows = rows_between(repo, old, new)
        assert len(renames(rows)) == 1
        assert len(rows) == len(new)
        if b"n" in new:
            assert renames(rows) == {(b"a/x", b"n")} == renames_by_git(repo, old, new)


def words(seed: int, lines: int = 60) -> list[bytes]:
    draw = random.Random(seed)
    return [b"%d %d\n" % (draw.randrange(10**9), draw.randrange(10**9)) for _ in range(lines)]


@pytest.mark.parametrize("seed", range(6))
def test_clear_cases_are_gits(repo: Repo, seed: int) -> None:
    """Files that keep most of their lines, or nearly none, among others: git says the same."""
    draw = random.Random(seed)
    old: Files = {}
    new: Files = {}
    for k in range(12):
        lines = words(100 * seed + k)
        old[b"old/%d.c" % k] = ("100644", b"".join(lines))
        for at in draw.sample(range(60), draw.choice([0, 3, 15, 50, 60])):
            lines[at] = b"%d\n" % draw.randrange(10**18)
        new[b"new/%d.c" % draw.randrange(10**6)] = ("100644", b"".join(lines))
    assert renames(rows_between(repo, old, new)) == renames_by_git(repo, old, new)


def test_beyond_the_bound_only_exact_renames(repo: Repo) -> None:
    """One file too many on either side and nothing is read; the exact pairs do not count."""
    old: Files = {b"o%d" % k: ("100644", b"".join(words(k))) for k in range(5)}
    new: Files = {b"n%d" % k: ("100644", b"".join(words(k)[1:])) for k in range(5)}
    old[b"kept"] = new[b"moved"] = ("100644", b"exact\n")
    exact = {(b"kept", b"moved")}
    assert renames(rows_between(repo, old, new, 4)) == exact
    assert len(renames(rows_between(repo, old, new, 5))) == 6


def test_what_is_beyond_the_bound_is_never_read() -> None:
    def read(blob: bytes) -> Any:
        raise AssertionError("read")

    def changes(count: int) -> list[PathChange]:
        gone = [PathChange(b"o%d" % k, Side(b"100644", b"o%d" % k), None) for k in range(count)]
        come = [PathChange(b"n%d" % k, None, Side(b"100644", b"n%d" % k)) for k in range(count)]
        return gone + come

    assert len(pair_renames(changes(200), 100, read, read)) == 400
    # few files, but more bytes than may be read
    assert len(pair_renames(changes(50), 100, read, lambda blob: 1 << 20)) == 100
    # sizes too unlike to be half of each other
    sizes = {b"o0": 1000, b"n0": 2001}
    assert len(pair_renames(changes(1), 100, read, sizes.__getitem__)) == 2


@given(
    st.lists(st.sampled_from([b"a\n", b"bb\n", b"ccc\n"])),
    st.lists(st.sampled_from([b"a\n", b"d\n"])),
)
def test_similarity_is_the_share_of_common_lines(old: list[bytes], new: list[bytes]) -> None:
    rest = list(new)
    common = 0
    for line in old:
        if line in rest:
            rest.remove(line)
            common += len(line)
    # the empty string after the last newline counts as an empty line of one byte, on both sides
    larger = max(sum(map(len, old)), sum(map(len, new))) + 1
    expected = (common + 1) * 100 // larger
    assert similarity(line_bytes(b"".join(old)), line_bytes(b"".join(new))) == expected


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15))
def test_lineages_connect_what_renames_connect(edges: list[tuple[int, int]]) -> None:
    side = Side(b"100644", b"x")
    rows = [FileRow(b"%02d" % a, side, b"%02d" % b, side) for a, b in edges]
    found = lineages([*rows, FileRow(None, None, b"77", side)])
    reach = {n: {n} for edge in edges if edge[0] != edge[1] for n in edge}
    for _ in range(13):
        for a, b in edges:
            if a != b:
                reach[a] = reach[b] = reach[a] | reach[b]
                for n in reach[a]:
                    reach[n] = reach[n] | reach[a]
    assert {path: min(reach[int(path)]) for path in found} == {
        path: int(root) for path, root in found.items()
    }
    assert set(found) == {b"%02d" % n for n in reach}


def test_a_file_that_swaps_with_a_folder_is_paired(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r.git")
    text = b"".join(words(1))
    rows = rows_between(repo, {b"a": ("100644", text)}, {b"a/b": ("100755", text + b"x\n")})
    assert renames(rows) == {(b"a", b"a/b")}
