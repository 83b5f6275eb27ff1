"""The split by time: train holds no commit of what is held out, of forks neither."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeflow.curation.split import held_out
from codeflow.curation.split import stage as split
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import DataError
from mined_folder import Mined
from split_histories import TIME, all_triples, history, leaks, made, split_of


@pytest.mark.parametrize("ties", [1, 4])
def test_by_time_is_what_a_plain_reading_gives(tmp_path: Path, ties: int) -> None:
    draw = random.Random(ties)
    repos = [history(name, 80 + 31 * k, draw, ties=ties) for k, name in enumerate("abc")]
    mined = made(tmp_path, repos)
    gone = {key for _, _, key in all_triples(mined) if draw.random() < 0.3}
    mined.decide("mix", {key: {"kept": False} for key in gone})
    decided = split_of(mined, TIME, earlier=("mix",))
    seen = set()
    for repo in mined.repos:
        left = [t for t in repo.triples if repo.id_of(t) not in gone]
        starts = sorted(t.start // ties for t in left)
        cut = starts[math.ceil(len(starts) * 0.8)]
        begun = {t.start for t in left if t.start // ties == cut}
        for triple in repo.triples:
            row = decided[repo.id_of(triple)]
            if repo.id_of(triple) in gone:
                assert (row["kept"], row["rule"], row["split"]) == (False, None, None)
                continue
            expected: tuple[Any, ...] = (True, None, "train")
            if triple.start // ties >= cut:
                expected = (True, None, "validation")
            elif any(triple.start < at < triple.end for at in begun):
                expected = (False, "straddles", None)
            assert (row["kept"], row["rule"], row["split"]) == expected
            seen.add(expected)
    assert len(seen) == 3
    assert leaks(mined, decided) == []


@pytest.mark.parametrize("ties", [1, 3])
@pytest.mark.parametrize("seed", range(12))
def test_by_time_train_holds_no_commit_that_is_held_out(
    tmp_path: Path, seed: int, ties: int
) -> None:
    draw = random.Random(seed)
    trunk = history("trunk", draw.randrange(60, 120), draw, ties=ties)
    repos = [trunk, history("alone", 70, draw)]
    for k in range(4):
        common = draw.randrange(20, len(trunk.chain))
        fork = history(f"fork{k}", draw.randrange(common + 12, 160), draw, ("trunk", common), ties)
        if k % 2:  # follows the trunk by merging it
            at = sorted(draw.sample(range(common, len(fork.chain)), 2))
            upto = sorted(draw.choices(range(common, len(trunk.chain) + 1), k=2))
            fork.merged = {
                at[0]: trunk.chain[common : upto[0]],
                at[1]: trunk.chain[upto[0] : upto[1]],
            }
        repos.append(fork)
    mined = made(tmp_path, repos)
    families = {repo.name: "alone" if repo.name == "alone" else "one" for repo in repos}
    decided = split_of(mined, TIME, families)
    assert leaks(mined, decided) == []
    counts = {row["split"] for row in decided.values()}
    assert counts >= {"train", "validation"}


def forked(folder: Path) -> Mined:
    """Two forks that leave the trunk in the middle of what is held out of it, and before."""
    draw = random.Random(3)
    repos = [
        history("trunk", 100, draw),
        history("late", 140, draw, ("trunk", 95)),
        history("early", 140, draw, ("trunk", 20)),
    ]
    return made(folder, repos)


def test_a_fork_that_merged_the_held_out_part_is_held_out_from_there(tmp_path: Path) -> None:
    draw = random.Random(3)
    trunk = history("trunk", 100, draw)
    fork = history("fork", 140, draw, ("trunk", 20))
    fork.merged = {30: trunk.chain[20:40], 60: trunk.chain[40:]}
    mined = made(tmp_path, [trunk, fork])
    decided = split_of(mined, TIME, dict.fromkeys(("trunk", "fork"), "one"))
    for triple in fork.triples:
        row = decided[fork.id_of(triple)]
        expected = "validation" if triple.start >= 60 else "train" if triple.end < 60 else None
        assert (row["split"], row["rule"]) == (expected, None if expected else "straddles")


def test_a_fork_of_the_held_out_part_is_held_out(tmp_path: Path) -> None:
    mined = forked(tmp_path)
    families = dict.fromkeys(("trunk", "late", "early"), "one")
    decided = split_of(mined, SplitConfig(by="time", validation=0.5), families)
    by_repo: dict[str, set[Any]] = {}
    for repo, _, key in all_triples(mined):
        by_repo.setdefault(repo.name, set()).add(decided[key]["split"])
    assert by_repo["late"] == {"validation"}
    assert by_repo["early"] >= {"train", "validation"}
    assert leaks(mined, decided) == []


def held_share(decided: Mapping[str, Mapping[str, Any]]) -> float:
    return sum(row["split"] == "validation" for row in decided.values()) / len(decided)


def test_a_fork_that_is_ahead_is_not_held_out_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of each, as of strangers, would hold out all that lies behind the trunk's cut."""
    draw = random.Random(3)
    repos = [history("trunk", 100, draw), history("ahead", 500, draw, ("trunk", 95))]
    mined = made(tmp_path / "together", repos)
    families = dict.fromkeys(("trunk", "ahead"), "one")
    decided = split_of(mined, TIME, families)
    assert leaks(mined, decided) == []
    assert 0.18 < held_share(decided) < 0.22

    def of_each(folder: Path, members: Any, starts: Any, share: float, least: int) -> Any:
        cuts = {
            repo: held_out.last_part(own[0], own[1], share, least) for repo, own in starts.items()
        }
        return {repo: cut for repo, cut in cuts.items() if cut is not None}

    monkeypatch.setattr(split, "last_part_of_family", of_each)
    assert held_share(split_of(made(tmp_path / "each", repos), TIME, families)) > 0.8


def test_forks_taken_for_strangers_would_be_caught(tmp_path: Path) -> None:
    mined = forked(tmp_path)
    assert leaks(mined, split_of(mined, TIME, {}))


def test_straddling_triples_left_in_train_would_be_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = held_out.places

    def without(table: Any, cut: Any) -> Any:
        found = right(table, cut)
        return np.where(found == held_out.STRADDLES, held_out.TRAIN, found)

    mined = made(tmp_path, [history("a", 120, random.Random(1))])
    monkeypatch.setattr(split, "places", without)
    assert leaks(mined, split_of(mined, TIME))


def test_forks_without_their_commits_are_an_error(tmp_path: Path) -> None:
    draw = random.Random(3)
    repos = [history("trunk", 100, draw), history("fork", 99, draw, ("trunk", 90))]
    mined = made(tmp_path, repos, chains=False)
    with pytest.raises(DataError, match="trunk: mined without its table of commits"):
        split_of(mined, TIME, {"trunk": "one", "fork": "one"})


def test_strangers_need_no_commits(tmp_path: Path) -> None:
    draw = random.Random(3)
    mined = made(tmp_path, [history("a", 100, draw), history("b", 99, draw)], chains=False)
    assert leaks(mined, split_of(mined, TIME)) == []
