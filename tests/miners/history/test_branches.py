"""Which merges are branches, where these begin and end, and why the others are none."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from codeflow.config import Limits, MineConfig, Window
from codeflow_miners.history.chain import Chain, read_chain
from codeflow_miners.objects.reader import ObjectReader
from gitdag import Repo
from strange import branched

SIZES = (2, 32)


def chain_of(repo: Repo, tags: list[tuple[str, str]] | None = None) -> Chain:
    config = MineConfig(window=Window(0.0, 1.0), limits=Limits(min_commits=2))
    assert repo.tip is not None
    reader = ObjectReader(repo.git_dir)
    return read_chain(reader, "r", bytes.fromhex(repo.tip), tags or [], config, 1, SIZES)


def found(repo: Repo, ids: dict[int, str], tags: list[tuple[str, str]] | None = None) -> list[str]:
    """Each branch as `merge: fork > commits`, by the numbers of the graph, or as `merge: rule`."""
    numbers = {oid: n for n, oid in ids.items()}
    chain = chain_of(repo, tags)
    out = []
    for branch in chain.branches:
        fork, *commits = (numbers[i.hex()] for i in branch.commits if i) if branch.commits else [0]
        merge = numbers[chain.commits[branch.merge].id]
        steps = " ".join(map(str, commits))
        out.append(f"{merge}: {branch.rule}" if branch.rule else f"{merge}: {fork} > {steps}")
    return sorted(out)


GRAPHS = {
    "linear": ([[1], [2, 1], [3, 2], [4, 1], [5, 4], [6, 3, 5], [7, 6]], ["6: 1 > 4 5"]),
    "of one commit": ([[1], [2, 1], [3, 1], [4, 2, 3], [5, 4]], []),
    "without a fork on the chain's side": (
        [[1], [2, 1], [3, 2], [4, 1, 3], [5, 4]],
        ["4: 1 > 2 3"],
    ),
    # 3 and 4 go on from 2, which was merged by itself before
    "from a branch that was merged": (
        [[1], [2, 1], [6, 1], [7, 6, 2], [3, 2], [4, 3], [8, 7, 4], [9, 8]],
        ["8: 2 > 3 4"],
    ),
    "a nested merge is a step": (
        [[1], [2, 1], [3, 2], [4, 2], [5, 3, 4], [6, 1], [7, 6, 5], [8, 7]],
        ["7: 1 > 2 3 5"],
    ),
    # 5 merges the chain's 4 into the branch
    "a sync ends a stretch": (
        [[1], [2, 1], [3, 2], [4, 1], [5, 3, 4], [6, 5], [7, 6], [8, 4, 7], [9, 8]],
        ["8: 1 > 2 3", "8: 5 > 6 7"],
    ),
    # 6 merges 5, which lies beside the branch and merges the chain's 4
    "a sync by way of another": (
        [[1], [2, 1], [3, 2], [4, 1], [5, 2, 4], [6, 3, 5], [7, 6], [8, 7], [9, 4, 8], [10, 9]],
        ["9: 1 > 2 3", "9: 6 > 7 8"],
    ),
    "no two commits between syncs": (
        [[1], [2, 1], [3, 1], [4, 2, 3], [5, 4], [6, 3, 5], [7, 6]],
        ["6: one-step"],
    ),
    # the first parents cross: 4 merges 3 into 2's side, 5 merges 2 into 3's
    "criss-cross": (
        [[1], [2, 1], [3, 1], [4, 2, 3], [5, 3, 2], [6, 5], [7, 6], [8, 4, 7], [9, 8]],
        ["8: 5 > 6 7"],
    ),
    "a parent that stands twice": (
        [[1], [2, 1], [3, 2], [4, 1, 3, 3], [5, 4]],
        ["4: 1 > 2 3"],
    ),
    "octopus": ([[1], [2, 1], [3, 1], [4, 1, 2, 3], [5, 4]], ["4: octopus"]),
    "unrelated": ([[1], [2], [3, 2], [4, 1, 3], [5, 4]], ["4: unrelated"]),
    "integration": (
        [[1], [2, 1], [3, 1], [4, 2, 3], [5, 1], [6, 4, 5], [7, 1, 6], [8, 7]],
        ["7: integration"],
    ),
    "long-lived": (
        [
            [1],
            [2, 1],
            [3, 2],
            [4, 1, 3],
            [12, 3],
            [13, 12],
            [14, 4, 13],
            [22, 13],
            [23, 22],
            [24, 14, 23],
            [32, 23],
            [33, 32],
            [34, 24, 33],
            [35, 34],
        ],
        ["14: long-lived", "24: long-lived", "34: long-lived", "4: long-lived"],
    ),
    "too many": (
        [[1], *([n, n - 1] for n in range(2, 35)), [40, 1, 34], [41, 40]],
        ["40: too-many-commits"],
    ),
    "as many as may be": (
        [[1], *([n, n - 1] for n in range(2, 34)), [40, 1, 33], [41, 40]],
        ["40: 1 > " + " ".join(map(str, range(2, 34)))],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_where_branches_begin_and_end(tmp_path: Path, name: str) -> None:
    graph, expected = GRAPHS[name]
    repo = Repo.create(tmp_path / "r.git")
    assert found(repo, repo.build_graph(graph)) == expected


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ("Merge branch 'topic'", None),
        ("Merge branch 'fix-release-notes'", None),
        ("Merge branch '1234'", None),
        ("Merge branch 'topic' into 2.x", None),
        ("Merge pull request #1 from ann/patch-1\n\nSync the clocks", None),
        ("Merge pull request #1 from ann/master\n\nAdd a parser", None),
        ("Fix the synchroniser", None),
        ("Merge branch '1.10'", "release"),
        ("Merge branch '1.10.x' into main", "release"),
        ("Merge remote-tracking branch 'origin/2.3.x'", "release"),
        ("Merge branch '0.10-maintenance'", "release"),
        ("Merge branch 'release/1.2.0'", "release"),
        ("Merge branch 'release/candidate'", "release"),
        ("Merge branch 'v2.x'", "release"),
        ("Merge branch '5.4-stable'", "release"),
        ("Merge branch 'maint'", "release"),
        ("Merge tag 'v1.2'", "release"),
        ("Merge pull request #1 from ann/release-1.2", "release"),
        ("Merge branch 'master' of https://example.org/ann/repo", "sync"),
        ("Merge remote-tracking branch 'upstream/main'", "sync"),
        ("Merge branch 'develop'", "sync"),
        ("Merge branch 'main' into feature", "sync"),
        ("Sync with upstream", "sync"),
        ("Merge upstream changes", "sync"),
        ("Merge from master", "sync"),
    ],
)
def test_what_a_subject_gives_away(tmp_path: Path, message: str, rule: str | None) -> None:
    repo = Repo.create(tmp_path / "r.git")
    first = repo.commit({"a": "1\n"})
    side = repo.commit({"b": "2\n"}, branch=None)
    side = repo.commit({"b": "3\n"}, parents=[side], branch=None)
    repo.commit({"b": "3\n"}, parents=[first, side], message=message)
    repo.commit({"a": "4\n"})
    assert [branch.rule for branch in chain_of(repo).branches] == [rule]


def test_a_tag_on_a_branch_is_a_release(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r.git")
    ids = repo.build_graph([[1], [2, 1], [3, 2], [4, 1, 3], [5, 4], [6, 5], [7, 4, 6], [8, 7]])
    assert found(repo, ids, [("v1.0", ids[5])]) == ["4: 1 > 2 3", "7: release"]
    assert found(repo, ids, [("nightly", ids[5])]) == ["4: 1 > 2 3", "7: 4 > 5 6"]


def test_messages_and_position(tmp_path: Path) -> None:
    """A nested merge tells what it brings in; the position is that of the merge's step."""
    graph = [[1], [9, 1], [2, 1], [3, 2], [4, 2], [5, 3, 4], [7, 9, 5], [8, 7]]
    repo = Repo.create(tmp_path / "r.git")
    repo.build_graph(graph)
    chain = chain_of(repo)
    assert [c.messages for c in chain.beside] == [
        ("commit 1",),
        ("commit 2",),
        ("commit 3",),
        ("commit 5", "commit 4"),
    ]
    assert {c.position for c in chain.beside} == {chain.commits[1].position}


@pytest.mark.parametrize("seed", range(5))
def test_branches_are_what_git_says(tmp_path: Path, seed: int) -> None:
    """On strange histories: first parents, of what the merge brings in, from a fork point that was
    there; no step brings in what the chain had by then; every merge of 2 to 32 is accounted for."""
    repo = branched(tmp_path, seed)
    chain = chain_of(repo)
    parents = {
        line[:40]: line[41:].split()
        for line in repo.git("rev-list", "--all", "--parents").decode().splitlines()
    }
    first = repo.rev_list("--first-parent", "HEAD")[::-1]
    assert [c.id for c in chain.commits] == first
    merges = {}
    for old, new in itertools.pairwise(first):
        inner = set(repo.rev_list(new, f"^{old}")) - {new}
        if sum(len(parents[i]) < 2 for i in inner) >= 2:
            merges[new] = inner
    assert {first[b.merge] for b in chain.branches} == set(merges)
    for branch in chain.branches:
        if branch.rule is not None:
            continue
        merge = first[branch.merge]
        inner, before = merges[merge], parents[merge][0]
        ids = [i.hex() for i in branch.commits]
        assert len(ids) > 2
        assert set(ids[1:]) <= inner
        for old, new in itertools.pairwise(ids):
            assert parents[new][0] == old
            brought = set(repo.rev_list(new, f"^{old}")) - {new}
            assert not brought - inner or len(parents[new]) < 2
        fork_was_there = ids[0] not in inner
        is_sync = len(parents[ids[0]]) > 1 and bool(
            set(repo.rev_list(ids[0], f"^{parents[ids[0]][0]}")) - inner - {ids[0]}
            or set(parents[ids[0]][1:]) - inner
        )
        assert fork_was_there or is_sync
        reached = [k for k, c in enumerate(first) if c in set(repo.rev_list(ids[0]))]
        assert branch.base == max(reached, default=0)
        assert before == first[branch.merge - 1]
