"""The chain, its positions, window, messages and tags, against real git on random histories."""

from __future__ import annotations

import itertools
import random
from bisect import bisect_left
from fractions import Fraction
from pathlib import Path

import pytest

from codeflow.config import Limits, MineConfig, Window
from codeflow.errors import LimitExceededError, RepositoryError
from codeflow_miners.history.chain import MAX_BROUGHT_SUBJECTS, Chain, read_chain
from codeflow_miners.objects.reader import ObjectReader
from gitdag import Repo

ALL = Window(0.0, 1.0)


def chain_of(
    repo: Repo,
    window: Window = ALL,
    tags: list[tuple[str, str]] | None = None,
    lookahead: int = 1,
    limits: Limits | None = None,
) -> Chain:
    config = MineConfig(window=window, limits=limits or Limits(min_commits=2))
    assert repo.tip is not None
    reader = ObjectReader(repo.git_dir)
    return read_chain(reader, "r", bytes.fromhex(repo.tip), tags or [], config, lookahead)


def random_history(folder: Path, seed: int, commits: int = 60) -> tuple[Repo, list[str]]:
    """Merges of up to four parents (some twice), roots, empty commits, clocks that run back."""
    repo = Repo.create(folder / "r.git")
    draw = random.Random(seed)
    ids: list[str] = []
    main: list[str] = []
    for number in range(commits):
        kind = draw.random()
        on_main = not ids or kind < 0.55
        parents = main[-1:] if on_main else [draw.choice(ids)]
        if ids and kind < 0.35:
            parents += [draw.choice(ids) for _ in range(draw.choice([1, 1, 2, 3]))]
        elif kind > 0.93:
            parents = []  # one more root
        when = repo.clock_s + draw.choice([36_000, 36_000, 3600, 0, -90_000])
        files = {f"f{draw.randrange(30)}": f"{number}\n" for _ in range(draw.randrange(4))}
        ids.append(
            repo.commit(files, parents=parents, when=when, message=f"subject {number}\n\nbody\n")
        )
        main += ids[-1:] if on_main else []
    tips = [oid for oid in ids if draw.random() < 0.1]
    ids.append(repo.commit({}, parents=[main[-1], main[-1], *tips], message="subject last"))
    return repo, ids


def lines(repo: Repo, *args: str) -> list[str]:
    return repo.git(*args).decode().split("\n")[:-1]


@pytest.fixture(scope="module", params=range(4))
def history(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Repo, list[str]]:
    return random_history(tmp_path_factory.mktemp("history"), request.param)


def test_commits_are_the_first_parent_chain(history: tuple[Repo, list[str]]) -> None:
    repo, _ = history
    chain = chain_of(repo)
    told = lines(repo, "log", "--first-parent", "--reverse", "--format=%H %T %ct|%P|%s", "main")
    assert chain.length == len(told)
    assert len(chain.commits) == len(told)
    for commit, line in zip(chain.commits, told, strict=True):
        head, parents, subject = line.split("|")
        oid, tree, when = head.split()
        assert (commit.id, commit.tree, commit.committed_at) == (oid, tree, int(when))
        assert commit.parents == len(set(parents.split()))
        assert commit.messages[0].split("\n")[0] == subject
    roots = lines(repo, "rev-list", "--max-parents=0", "main")
    assert sorted(chain.roots) == sorted(roots)


def test_merges_bring_what_nothing_before_reaches(history: tuple[Repo, list[str]]) -> None:
    repo, _ = history
    chain = chain_of(repo)
    brought_any = 0
    for before, commit in zip(chain.commits, chain.commits[1:], strict=False):
        # two full walks: `before..commit` in one may be wrong where clocks run back
        walks = [lines(repo, "log", "--format=%H %s", c.id) for c in (before, commit)]
        new = set(walks[1]) - set(walks[0])
        told = [line.split(" ", 1)[1] for line in new if not line.startswith(commit.id)]
        assert sorted(commit.messages[1:]) == sorted(told)
        brought_any += bool(told)
    assert brought_any
    assert len(chain.commits[0].messages) == 1


def positions_by_git(repo: Repo, by: str) -> list[Fraction]:
    """Positions as the documentation defines them, in exact arithmetic."""
    ids = lines(repo, "rev-list", "--first-parent", "--reverse", "main")
    if by == "commits":
        marks = list(range(len(ids)))
    elif by == "time":
        times = [int(t) for t in lines(repo, "log", "--first-parent", "--reverse", "--format=%ct")]
        marks = [max(times[: k + 1]) for k in range(len(times))]
    else:
        marks = [0]
        for old, new in itertools.pairwise(ids):
            changed = lines(repo, "diff-tree", "-r", "--no-renames", "--name-only", old, new)
            marks.append(marks[-1] + len(changed))
    extent = marks[-1] - marks[0] or 1
    return [Fraction(mark - marks[0], extent) for mark in marks]


@pytest.mark.parametrize("by", ["commits", "time", "changes"])
@pytest.mark.parametrize(("start", "stop"), [(0.4, 0.8), (0.0, 1.0), (0.25, 0.5)])
def test_positions_and_window(
    history: tuple[Repo, list[str]], by: str, start: float, stop: float
) -> None:
    repo, _ = history
    expected = positions_by_git(repo, by)
    ids = lines(repo, "rev-list", "--first-parent", "--reverse", "main")
    chain = chain_of(repo, Window(start, stop, by))
    low, high = Fraction(str(start)), Fraction(str(stop))
    starts = [k for k, p in enumerate(expected) if low <= p < high and k + 1 < len(expected)]
    assert [chain.commits[k].id for k in chain.starts] == [ids[k] for k in starts]
    for k in chain.starts:
        assert chain.commits[k].position == pytest.approx(float(expected[chain.first + k]))
        assert chain.commits[k + 1].id == ids[chain.first + k + 1]


@pytest.mark.parametrize("commits", [6, 11, 16, 21, 51, 26, 101])
def test_the_window_is_half_open(tmp_path: Path, commits: int) -> None:
    """Positions that meet a bound exactly: the lower one is in, the upper one is out."""
    repo = Repo.create(tmp_path / "r.git")
    for number in range(commits):
        repo.commit({"f": f"{number}\n"})
    chain = chain_of(repo, Window(0.4, 0.8))
    steps = range(commits - 1)
    expected = [k for k in steps if 2 * (commits - 1) <= 5 * k < 4 * (commits - 1)]
    assert [chain.first + k for k in chain.starts] == expected
    closed = bisect_left([5 * k for k in steps], 4 * (commits - 1) + 1)
    assert expected[-1] + 1 != closed, "the upper bound is met, so that a closed window would fail"


@pytest.mark.parametrize("lookahead", [1, 3, 50])
def test_lookahead_goes_past_the_window(tmp_path: Path, lookahead: int) -> None:
    repo = Repo.create(tmp_path / "r.git")
    ids = [repo.commit({"f": f"{number}\n"}) for number in range(21)]
    chain = chain_of(repo, Window(0.4, 0.8), lookahead=lookahead)
    needed = ids[8 : min(16 + lookahead, 21)]
    assert [c.id for c in chain.commits][: len(needed)] == needed


def test_tags_lie_at_their_merge_base(history: tuple[Repo, list[str]]) -> None:
    """Tags on the chain, merged, beside it, and with nothing in common."""
    repo, ids = history
    main = repo.tip
    draw = random.Random(len(ids))
    targets = {f"t{k}": draw.choice(ids) for k in range(12)}
    for k in range(6):  # releases on branches that nothing merged back
        on = draw.choice(ids)
        for _ in range(2):
            parents = [on, draw.choice(ids)]  # a merge of old and new, in either order
            on = repo.commit({"release": f"{k}\n"}, parents=parents, branch=None)
        targets[f"v{k}"] = on
    targets["alone"] = repo.commit({"x": "y"}, parents=[], branch=None)
    targets["main"] = main or ""
    chain = chain_of(repo, tags=sorted(targets.items()))
    ours = {name: c.id for c in chain.commits for name in c.tags}
    on_chain = lines(repo, "rev-list", "--first-parent", "main")  # newest first
    for name, target in targets.items():
        reached = set(lines(repo, "rev-list", target))
        newest = next((oid for oid in on_chain if oid in reached), None)
        assert ours.get(name) == newest
        bases = lines(repo, "merge-base", "--all", target, "main") if newest else []
        if len(bases) == 1 and bases[0] in on_chain:
            assert newest == bases[0]
    assert "alone" not in ours
    assert ours["main"] == main


def test_a_damaged_commit_beside_the_chain_costs_only_the_tag(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r.git")
    first = repo.commit({"f": "1\n"})
    repo.commit({"f": "2\n"})
    beside = repo.commit({"g": "1\n"}, parents=[first], branch=None)
    child = repo.commit({"g": "2\n"}, parents=[beside], branch=None)
    repo.loose_path(beside).unlink()
    chain = chain_of(repo, tags=[("good", first), ("lost", child)])
    assert [c.tags for c in chain.commits] == [("good",), ()]


def test_short_and_long_histories(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r.git")
    for number in range(5):
        repo.commit({"f": f"{number}\n"})
    with pytest.raises(RepositoryError, match="too-short") as short:
        chain_of(repo, limits=Limits(min_commits=6))
    assert "5 commits" in short.value.reason
    assert chain_of(repo, limits=Limits(min_commits=5)).length == 5
    with pytest.raises(LimitExceededError, match="max-commits"):
        chain_of(repo, limits=Limits(min_commits=2, max_commits=4))
    assert chain_of(repo, limits=Limits(min_commits=2, max_commits=5)).length == 5


@pytest.mark.parametrize("by", ["time", "changes"])
def test_a_history_without_extent(tmp_path: Path, by: str) -> None:
    """All commits at one second, or changing nothing: positions are 0, not an error."""
    repo = Repo.create(tmp_path / "r.git")
    for _ in range(4):
        repo.commit({}, when=1_200_000_000)
    chain = chain_of(repo, Window(0.0, 1.0, by))
    assert chain.commits[0].position == 0
    assert len(chain.starts) == 3
    assert chain_of(repo, Window(0.4, 0.8, by)).starts == []


def test_a_huge_merge_brings_a_bounded_number_of_subjects(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r.git")
    base = repo.commit({"f": "0\n"})
    tip = base
    for number in range(MAX_BROUGHT_SUBJECTS + 20):
        tip = repo.commit({}, parents=[tip], message=f"brought {number}", branch=None)
    repo.commit({"f": "1\n"}, parents=[base, tip], message="merge")
    merge = chain_of(repo).commits[-1]
    assert len(merge.messages) == 1 + MAX_BROUGHT_SUBJECTS
    assert len(set(merge.messages)) == len(merge.messages)


def test_a_merge_is_by_those_whose_commits_it_brings_in(tmp_path: Path) -> None:
    """A queue merges people's work, a person a program's; git says what a merge brings in."""
    people, programs = "Ann <ann@example.org>", "renovate[bot] <bot@renovateapp.com>"
    draw = random.Random(3)
    repo = Repo.create(tmp_path / "r.git")
    main = [repo.commit({"a": "0\n"})]
    for number in range(40):
        inner: list[str] = []
        tip = main[-1]
        for step in range(draw.choice([0, 1, 1, 2, 3])):
            parents = [tip]
            if inner and draw.random() < 0.3:  # a merge within the branch says nothing
                parents.append(main[0])
            tip = repo.commit(
                {f"f{number}": f"{step}\n"},
                parents=parents,
                author=draw.choice([people, programs]),
                branch=None,
            )
            inner.append(tip)
        parents = [main[-1], tip] if inner else [main[-1]]
        author = draw.choice([people, "bors <bors@rust-lang.org>"])
        main.append(repo.commit({"m": f"{number}\n"}, parents=parents, author=author))
    chain = chain_of(repo)
    expected = []
    for commit in main[: len(chain.commits)]:
        names = []
        if commit_has_parents(repo, commit, 2):
            names = lines(repo, "log", "--no-merges", "--format=%an", f"{commit}^2", f"^{commit}^1")
        names = names or lines(repo, "log", "-1", "--format=%an", commit)
        expected.append("human" if {"Ann", "Ada Example"} & set(names) else "bot")
    assert [commit.author_kind for commit in chain.commits] == expected
    assert len(set(expected)) == 2


def commit_has_parents(repo: Repo, commit: str, wanted: int) -> bool:
    [line] = lines(repo, "rev-list", "--parents", "-1", commit)
    return len(line.split()) - 1 >= wanted


def test_agents_are_seen_in_what_a_commit_is_or_brings_in(tmp_path: Path) -> None:
    """Before trailers go: the messages that are kept credit nobody."""
    credit = "Parse dates\n\nCo-authored-by: Claude <noreply@anthropic.com>\n"
    repo = Repo.create(tmp_path / "r.git")
    first = repo.commit({"a": "0\n"})
    helped = repo.commit({"a": "1\n"}, message=credit)
    plain = repo.commit({"a": "2\n"}, message="Parse times\n")
    inner = repo.commit({"b": "1\n"}, parents=[plain], message=credit, branch=None)
    agent = repo.commit(
        {"b": "2\n"}, parents=[inner], author="Copilot <copilot@github.com>", branch=None
    )
    merge = repo.commit({"c": "1\n"}, parents=[plain, agent])
    last = repo.commit({"c": "2\n"}, parents=[merge])
    chain = chain_of(repo)
    found = {commit.id: commit for commit in chain.commits}
    assert {first, helped, plain, merge} <= found.keys() <= {first, helped, plain, merge, last}
    assert {id for id in found if found[id].assisted} == {helped, merge}
    assert found[merge].author_kind == "human"
    assert not any("Claude" in text for commit in chain.commits for text in commit.messages)
