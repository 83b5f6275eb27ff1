"""The split on made-up histories: what train may not know of validation, and a plain reference."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeflow.curation import batches as parts
from codeflow.curation.split import held_out
from codeflow.curation.split import stage as split
from codeflow.curation.split.stage import SplitConfig, flow
from codeflow.errors import DataError, UsageError
from mined_folder import Made, Mined, Repo, commit

TIME = SplitConfig(by="time", validation=0.2)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_WANTED", 50)


def history(
    name: str,
    commits: int,
    draw: random.Random,
    shared: tuple[str, int] | None = None,
    ties: int = 1,
) -> Repo:
    """Every step as a triple and, over it, spans of 2 to 9; stored in no order.

    Args:
        shared: another history, and how many of its commits this one begins with. Its triples
            are then this one's own steps, as mining divides them among forks.
    """
    base, common = shared or (name, 0)
    chain = [commit(f"{base} {k}") for k in range(common)]
    chain += [commit(f"{name} {k}") for k in range(common, commits)]
    first = max(0, common - 1)
    triples = [Made(k, k + 1, name="commit") for k in range(first, commits - 1)]
    at = first
    while at < commits - 10:
        end = at + draw.randrange(2, 10)
        triples.append(Made(at, end, name="span"))
        at = end - draw.randrange(0, 2)
    draw.shuffle(triples)
    return Repo(name, chain, triples, group_rows=23, ties=ties)


def made(folder: Path, repos: list[Repo], chains: bool = True) -> Mined:
    return Mined(folder, repos).write(chains)


def split_of(
    mined: Mined,
    config: SplitConfig,
    families: Mapping[str, str] | None = None,
    earlier: tuple[str, ...] = (),
) -> dict[str, dict[str, Any]]:
    mined.run("split", flow(mined.context("split", earlier), config, families or {}))
    return mined.decided("split")


def all_triples(mined: Mined) -> Iterator[tuple[Repo, Made, str]]:
    for repo in mined.repos:
        for triple in repo.triples:
            yield repo, triple, repo.id_of(triple)


def leaks(mined: Mined, decided: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Train triples whose new side contains a commit that a validation triple is to predict."""
    held = {
        each
        for repo, triple, key in all_triples(mined)
        if decided[key]["split"] == "validation"
        for each in repo.chain[triple.start + 1 : triple.end + 1]
    }
    assert held
    return [
        key
        for repo, triple, key in all_triples(mined)
        if decided[key]["split"] == "train" and held & contained(repo, triple.end)
    ]


def contained(repo: Repo, number: int) -> set[str]:
    """All commits that one of the chain contains."""
    brought = (each for k, some in repo.merged.items() if k <= number for each in some)
    return {*repo.chain[: number + 1], *brought}


# by time


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
        cuts = {repo: held_out.last_part(*own, share, least) for repo, own in starts.items()}
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


# by family


def many(folder: Path, count: int = 40) -> tuple[Mined, dict[str, str]]:
    draw = random.Random(7)
    repos = [history(f"r{k:02d}", 12, draw) for k in range(count)]
    return made(folder, repos), {repo.name: f"root {k // 3}" for k, repo in enumerate(repos)}


def torn(mined: Mined, families: Mapping[str, str], decided: Mapping[str, Any]) -> set[str]:
    """Families that are in both splits."""
    found: dict[str, set[str]] = {}
    for repo, _, key in all_triples(mined):
        found.setdefault(families[repo.name], set()).add(decided[key]["split"])
    assert None not in set().union(*found.values())
    return {key for key, splits in found.items() if len(splits) > 1}


def test_a_family_falls_into_one_split(tmp_path: Path) -> None:
    mined, families = many(tmp_path)
    sizes = []
    for seed in range(6):
        context = mined.context("split", shuffled=random.Random(seed))
        config = SplitConfig("family", 0.4, seed)
        figures = mined.run("split", flow(context, config, families))
        decided = mined.decided("split")
        assert torn(mined, families, decided) == set()
        held = {
            families[r.name] for r, _, k in all_triples(mined) if decided[k]["split"] != "train"
        }
        assert (figures["families"], figures["families_held_out"]) == (14, len(held))
        assert figures["validation"] == sum(r["split"] == "validation" for r in decided.values())
        assert figures["train"] == len(decided) - figures["validation"]
        sizes.append(len(held))
    assert 14 * 0.2 < sum(sizes) / len(sizes) < 14 * 0.6
    assert len(set(sizes)) > 1


def test_a_split_by_repository_would_be_caught(tmp_path: Path) -> None:
    mined, families = many(tmp_path)
    assert torn(mined, families, split_of(mined, SplitConfig("family", 0.4), {}))


def test_a_familys_split_does_not_depend_on_the_rest_of_the_list(tmp_path: Path) -> None:
    mined, families = many(tmp_path / "all")
    whole = split_of(mined, SplitConfig("family", 0.4), families)
    few = made(tmp_path / "few", list(reversed(mined.repos[3:30])))
    part = split_of(few, SplitConfig("family", 0.4), families)
    assert len(part) < len(whole)
    assert all(part[key]["split"] == whole[key]["split"] for key in part)


# near-duplicates


@pytest.mark.parametrize("by", ["family", "time"])
def test_a_cluster_that_touches_validation_leaves_train(tmp_path: Path, by: str) -> None:
    draw = random.Random(11)
    mined, families = many(tmp_path)
    if by == "time":
        mined = made(tmp_path / "time", [history(f"h{k}", 60, draw) for k in range(4)])
        families = {}
    keys = [key for _, _, key in all_triples(mined)]
    clusters = {key: f"{draw.randrange(90):032x}" for key in keys if draw.random() < 0.5}
    dropped = {key for key in clusters if draw.random() < 0.3}
    mined.decide(
        "dedup",
        {k: {"cluster": c, "kept": k not in dropped} for k, c in clusters.items()},
    )
    mined.decide("mix", {key: {"kept": key not in dropped} for key in keys})
    config = SplitConfig(by=by, validation=0.2)
    unaware = split_of(mined, config, families, ("mix",))
    context = mined.context("split", ("dedup", "mix"), shuffled=random.Random(0))
    figures = mined.run("split", flow(context, config, families))
    decided = mined.decided("split")
    begun: dict[str, int] = {}  # where the held-out part begins, as the kept triples show it
    for repo, triple, key in all_triples(mined):
        if unaware[key]["split"] == "validation":
            first = 0 if by == "family" else triple.start
            begun[repo.name] = min(first, begun.get(repo.name, first))
    held = {
        key
        for repo, triple, key in all_triples(mined)
        if repo.name in begun and triple.end > begun[repo.name]
    }
    touching = {clusters[key] for key in held if key in clusters}
    near = 0
    for key in keys:
        row = decided[key]
        train = key not in dropped and unaware[key]["split"] == "train"
        if train and clusters.get(key) in touching:
            assert (row["kept"], row["rule"], row["split"]) == (False, "near-validation", None)
            assert row["detail"] == clusters[key]
            near += 1
        else:
            assert {**row, "detail": None} == {**unaware[key], "detail": None}
    assert figures["near-validation"] == near > 0
    only_by_dropped = touching - {clusters[k] for k in held - dropped if k in clusters}
    assert only_by_dropped, "the test must see clusters that only a dropped member holds out"


# what is always so


@pytest.mark.parametrize("config", [TIME, SplitConfig("family", 0.3)])
def test_the_same_bytes_for_any_order_of_parts_and_units(
    tmp_path: Path, config: SplitConfig
) -> None:
    draw = random.Random(2)
    repos = [history("trunk", 100, draw), history("fork", 130, draw, ("trunk", 90))]
    repos += [history(f"r{k}", 30, draw) for k in range(9)]
    mined = made(tmp_path, repos)
    assert len(mined.parts) > 5
    families = {"trunk": "one", "fork": "one"}
    keys = [key for _, _, key in all_triples(mined)]
    mined.decide("dedup", {key: {"cluster": f"{k % 60:032x}"} for k, key in enumerate(keys)})
    figures, first = None, None
    for seed in range(4):
        chance = random.Random(seed)
        context = mined.context("split", ("dedup",), shuffled=chance)
        found = mined.run("split", flow(context, config, families), chance)
        figures, first = figures or found, first or mined.bytes_of("split")
        assert (found, mined.bytes_of("split")) == (figures, first)
    assert list(mined.decided("split")) == [
        key
        for part in mined.parts
        for _, table in parts.read(mined.folder, part, ["id"])
        for key in table.column("id").to_pylist()
    ]
    assert set(mined.decided("split")) == set(keys)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SplitConfig("family", 0.0001), ["no validation data", "--split-by time"]),
        (SplitConfig("family", 0.9999), ["no train data", "--split-by time"]),
        (SplitConfig("time", 0.9999), ["no train data", "publish DIR --validation 0.05"]),
    ],
)
def test_an_empty_split_is_an_error_with_advice(
    tmp_path: Path, config: SplitConfig, words: list[str]
) -> None:
    mined = made(tmp_path, [history("a", 20, random.Random(0)), history("b", 20, random.Random(0))])
    with pytest.raises(UsageError) as raised:
        split_of(mined, config)
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


def test_the_last_triple_is_held_out_where_the_share_is_less_than_one(tmp_path: Path) -> None:
    repos = [history("a", 20, random.Random(0)), history("b", 20, random.Random(0))]
    decided = split_of(made(tmp_path, repos), SplitConfig("time", 0.01))
    held = [row for row in decided.values() if row["split"] == "validation"]
    assert 2 <= len(held) <= 4


def test_no_validation_can_be_asked_for(tmp_path: Path) -> None:
    mined = made(tmp_path, [history("a", 20, random.Random(0))])
    for by in ("time", "family"):
        decided = split_of(mined, SplitConfig(by, 0.0))
        assert {row["split"] for row in decided.values()} == {"train"}


def test_nothing_left_is_nothing_to_split(tmp_path: Path) -> None:
    mined = made(tmp_path, [history("a", 20, random.Random(0))])
    mined.decide("mix", {key: {"kept": False} for _, _, key in all_triples(mined)})
    decided = split_of(mined, TIME, earlier=("mix",))
    assert {(row["kept"], row["split"]) for row in decided.values()} == {(False, None)}


@pytest.mark.parametrize(
    "values",
    [{"by": "size"}, {"validation": 1.0}, {"validation": -0.1}, {"validation": float("nan")}],
)
def test_a_wrong_configuration_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"split\.{next(iter(values))} = "):
        SplitConfig(**values)
