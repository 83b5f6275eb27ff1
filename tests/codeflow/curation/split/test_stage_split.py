"""The split by family, clusters across the cut, and what is so for either way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from codeflow.curation import batches as parts
from codeflow.curation.split.stage import SplitConfig, flow
from codeflow.errors import UsageError
from mined_folder import Mined
from split_histories import TIME, all_triples, history, made, many, split_of


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
