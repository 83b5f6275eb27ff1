"""Net changes of many steps against the direct difference of their ends."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.contracts import Commit, History, Pair
from codeflow.errors import RepositoryError
from codeflow_miners.changes.renames import FileRow, pair_renames
from codeflow_miners.changes.treediff import PathChange, TreeDiffer
from codeflow_miners.kinds import choose
from codeflow_miners.kinds.choose import compose
from codeflow_miners.objects.reader import ObjectReader
from edits import Files, commit_files, tree_of, two_trees
from gitdag import Repo

SLOW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.create(tmp_path_factory.mktemp("choose") / "r.git")


def steps_between(
    repo: Repo, snapshots: list[Files]
) -> tuple[list[list[FileRow]], set[PathChange]]:
    """The rows of each step as history units make them, and the difference of the two ends."""
    trees = [bytes.fromhex(tree_of(repo, commit_files(repo, files))) for files in snapshots]
    reader = ObjectReader(repo.git_dir)
    differ = TreeDiffer(reader)
    steps = [
        pair_renames(differ.changes(a, b), 100, reader.blob, reader.blob_size)
        for a, b in pairwise(trees)
    ]
    return steps, set(differ.changes(trees[0], trees[-1]))


def as_changes(rows: list[FileRow]) -> list[PathChange]:
    """Rows without their pairing: a rename is a path that goes and one that comes."""
    found = []
    for row in rows:
        if row.old_path == row.new_path:
            assert row.old_path is not None
            found.append(PathChange(row.old_path, row.old, row.new))
            continue
        if row.old_path is not None:
            found.append(PathChange(row.old_path, row.old, None))
        if row.new_path is not None:
            found.append(PathChange(row.new_path, None, row.new))
    return found


@pytest.mark.slow
@SLOW
@given(st.lists(two_trees(least=2), min_size=1, max_size=3), st.booleans())
def test_net_change_is_the_difference_of_the_ends(
    repo: Repo, pairs: list[tuple[Files, Files]], returns: bool
) -> None:
    snapshots = [files for pair in pairs for files in pair]
    if returns:  # all the way back: no change at all
        snapshots = [*snapshots, *reversed(snapshots[:-1])]
    steps, direct = steps_between(repo, snapshots)
    net = as_changes(compose(steps))
    assert len({change.path for change in net}) == len(net)
    assert set(net) == direct
    if returns:
        assert net == []


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 4))]
)
def test_a_long_walk_of_moves(repo: Repo, seed: int) -> None:
    """Renames on renames, swaps through a third name, returns: 60 steps, every pair of ends."""
    draw = random.Random(seed)
    files: Files = {b"%d" % k: ("100644", b"%d\n" % k * 20) for k in range(6)}
    snapshots = [dict(files)]
    for _ in range(60):
        path = draw.choice(sorted(files))
        to = b"%d" % draw.randrange(9)
        if draw.random() < 0.6:
            files[to] = files.pop(path)
        elif draw.random() < 0.5:
            files[path] = ("100644", files[path][1] + b"more\n")
        else:
            files[to] = ("100755", files[path][1])
        snapshots.append(dict(files))
    for _ in range(12):
        a = draw.randrange(len(snapshots) - 1)
        b = draw.randrange(a + 1, len(snapshots))
        steps, direct = steps_between(repo, snapshots[a : b + 1])
        net = as_changes(compose(steps))
        assert set(net) == direct
        assert len(net) == len(direct)


def test_a_rename_is_followed_through_its_steps(repo: Repo) -> None:
    text = b"".join(b"%d\n" % k for k in range(30))
    a: Files = {b"a": ("100644", text)}
    b: Files = {b"b": ("100644", text + b"x\n")}
    c: Files = {b"c": ("100644", text + b"x\ny\n")}
    steps, _ = steps_between(repo, [a, b, c])
    [row] = compose(steps)
    assert (row.old_path, row.new_path) == (b"a", b"c")


def test_steps_added_up_without_order_are_wrong(repo: Repo) -> None:
    """What the first test would catch: the last word on a path must be the last step's."""
    one, two = {b"a": ("100644", b"1")}, {b"a": ("100644", b"2")}
    steps, direct = steps_between(repo, [one, two, {b"a": ("100644", b"3")}])
    assert set(as_changes(compose(reversed(steps)))) != direct


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (0, 9), (2, 3), (-1, 1)])
def test_a_miner_that_breaks_its_contract_ends_the_repository(pair: tuple[int, int]) -> None:
    commits = [Commit(str(k), "", 0, 0.0, "human", 1, ("",), ()) for k in range(4)]
    history = History("r", commits, [0, 1])
    choose._check("good", [Pair(0, 1, {}), Pair(1, 3, {})], history)
    for pairs in ([Pair(*pair, {})], [Pair(0, 1, {}), Pair(0, 1, {})]):
        with pytest.raises(RepositoryError, match="bad-pair"):
            choose._check("bad", pairs, history)
