"""The mix on made-up triples, against a plain recount of what was made up."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeflow.curation import batches as parts
from codeflow.curation.mix import stage
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.mix.estimate import BYTES_PER_TOKEN, OTHER_BYTES
from codeflow.curation.mix.laws import PUBLISHED
from codeflow.curation.mix.stage import OVER_SHARE, flow
from codeflow.errors import UsageError
from mined_folder import Made, Mined, Repo, commit

MANY = ["Python"] * 8 + ["Java"] * 4 + ["TSX", "TypeScript", "Go", "C", "C", None]


def made_repos(seed: int = 0, count: int = 160) -> list[Repo]:
    draw = random.Random(seed)
    repos = []
    for name in ("a", "b", "c"):
        chain = [commit(f"{name} {k}") for k in range(count + 1)]
        triples = [
            Made(k, k + 1, draw.choice(MANY), "é" * draw.randrange(1, 400)) for k in range(count)
        ]
        repos.append(Repo(name, chain, triples))
    return repos


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_WANTED", 100)


@pytest.fixture
def mined(tmp_path: Path) -> Mined:
    made = Mined(tmp_path, made_repos()).write()
    assert len(made.parts) > 3
    return made


def language(triple: Made) -> str:
    return {"TSX": "TypeScript", None: "unknown"}.get(triple.language, str(triple.language))


def recount(mined: Mined, dropped: set[str] = frozenset()) -> dict[str, list[tuple[str, int]]]:  # type: ignore[assignment]
    """(id, bytes of patch) by language."""
    found: dict[str, list[tuple[str, int]]] = {}
    for repo in mined.repos:
        for triple in repo.triples:
            key = repo.id_of(triple)
            if key not in dropped:
                found.setdefault(language(triple), []).append((key, len(triple.patch.encode())))
    return found


def expected_kept(rows: Sequence[tuple[str, int]], share: float, seed: int) -> set[str]:
    """The prefix by hash whose bytes are nearest to a share; the hash is cut to 12 bits."""
    by_bucket: dict[int, list[tuple[str, int]]] = {}
    for key, size in rows:
        digest = hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest()
        by_bucket.setdefault(int(digest[:3], 16), []).append((key, size))
    wanted = share * sum(size for _, size in rows)
    best: tuple[float, set[str]] = (wanted, set())
    sofar: set[str] = set()
    total = 0
    for _, bucket in sorted(by_bucket.items()):
        sofar = sofar | {key for key, _ in bucket}
        total += sum(size for _, size in bucket)
        if abs(total - wanted) < best[0]:
            best = (abs(total - wanted), sofar)
    return best[1]


def check(mined: Mined, config: MixConfig, figures: Any, tokens: dict[str, float]) -> None:
    """Decisions and figures are those of an allocation computed elsewhere, for what is left."""
    decided = mined.decided("mix")
    for name, rows in recount(mined).items():
        rate = config.bytes_per_token.get(name, BYTES_PER_TOKEN.get(name, OTHER_BYTES))
        there = sum(size for _, size in rows) / rate
        share = tokens[name] / there
        keep = {key for key, _ in rows}
        if share < 1 - 1e-9:
            keep = expected_kept(rows, share, config.seed)
        weight = max(1.0, share)
        assert {key for key, _ in rows if decided[key]["kept"]} == keep
        for key, _ in rows:
            row = decided[key]
            assert row["rule"] == (None if key in keep else OVER_SHARE)
            assert (row["reason"] is None, row["detail"]) == (
                key in keep,
                None if key in keep else name,
            )
            assert row["weight"] == pytest.approx(weight if key in keep else 1.0, abs=1e-5)
            assert row["split"] is None
        line = figures["languages"][name]
        after = sum(size for key, size in rows if key in keep) / rate * weight
        assert line["bytes_per_token"] == rate
        assert line["triples"] == len(rows)
        assert line["kept"] == len(keep)
        assert line["tokens"] == pytest.approx(there, abs=0.5)
        assert line["tokens_after"] == pytest.approx(after, abs=1)
        half = max(size for _, size in rows) / rate
        assert after == pytest.approx(tokens[name], abs=half + 1)
    assert set(figures["languages"]) == set(recount(mined))


def tokens_there(mined: Mined) -> dict[str, float]:
    return {
        name: sum(size for _, size in rows) / BYTES_PER_TOKEN.get(name, OTHER_BYTES)
        for name, rows in recount(mined).items()
    }


def test_natural_keeps_everything_at_weight_one(mined: Mined) -> None:
    figures = mined.run("mix", flow(mined.context("mix"), MixConfig()))
    assert all(row["kept"] and row["weight"] == 1 for row in mined.decided("mix").values())
    assert all(line["weight"] == 1.0 for line in figures["languages"].values())
    check(mined, MixConfig(), figures, tokens_there(mined))


def test_half_of_the_budget_is_half_of_each_language(mined: Mined) -> None:
    there = tokens_there(mined)
    budget = round(sum(there.values()) / 2)
    config = MixConfig(budget_tokens=budget, seed=3)
    figures = mined.run("mix", flow(mined.context("mix"), config))
    factor = budget / sum(there.values())
    check(mined, config, figures, {name: factor * tokens for name, tokens in there.items()})
    assert figures["budget_tokens"] == budget


def test_uniform_with_a_cap_tells_what_was_short(mined: Mined) -> None:
    there = tokens_there(mined)
    config = MixConfig(sampler="uniform", max_repeats=1.5)
    figures = mined.run("mix", flow(mined.context("mix"), config))
    low, high = 0.0, max(there.values()) * 1.5
    for _ in range(80):
        level = (low + high) / 2
        enough = sum(min(1.5 * tokens, level) for tokens in there.values()) >= sum(there.values())
        low, high = (low, level) if enough else (level, high)
    expected = {name: min(1.5 * tokens, level) for name, tokens in there.items()}
    check(mined, config, figures, expected)
    even = sum(there.values()) / len(there)
    for name, line in figures["languages"].items():
        assert line["target_share"] == pytest.approx(1 / len(there), abs=1e-6)
        assert line["short_tokens"] == pytest.approx(max(0, even - 1.5 * there[name]), abs=1)
        assert line["weight"] <= 1.5
    assert sum(line["short_tokens"] for line in figures["languages"].values()) > 0


def test_guided_moves_only_the_languages_of_the_paper(mined: Mined) -> None:
    there = tokens_there(mined)
    config = MixConfig(sampler="guided", max_repeats=1000.0)
    figures = mined.run("mix", flow(mined.context("mix"), config))
    inside = [name for name in there if name in PUBLISHED]
    budget = sum(there[name] for name in inside)
    total = sum(PUBLISHED[name] for name in inside)
    expected = dict(there) | {name: budget * PUBLISHED[name] / total for name in inside}
    check(mined, config, figures, expected)
    assert set(figures["optima"]) == {"published", "per-language", "literal"}
    for shares in figures["optima"].values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert figures["optima"]["published"]["Java"] == pytest.approx(PUBLISHED["Java"] / total)


def test_optimal_is_what_its_figures_say(mined: Mined) -> None:
    there = tokens_there(mined)
    config = MixConfig(sampler="optimal", max_repeats=3.0)
    figures = mined.run("mix", flow(mined.context("mix"), config))
    shares = figures["optima"]["per-language"]
    budget = sum(there[name] for name in shares)
    expected = dict(there) | {name: budget * share for name, share in shares.items()}
    check(mined, config, figures, expected)
    again = mined.context("mix", shuffled=random.Random(1))
    other = mined.run("mix", flow(again, replace(config, law="literal")))
    shares = other["optima"]["literal"]
    assert shares == figures["optima"]["literal"] != figures["optima"]["per-language"]
    expected |= {name: budget * share for name, share in shares.items()}
    check(mined, config, other, expected)


def test_the_estimate_can_be_given_and_is_recorded(mined: Mined) -> None:
    config = MixConfig(
        sampler="shares", shares={"C": 0.5, "Lisp": 0.1}, bytes_per_token={"C": 1, "unknown": 7}
    )
    figures = mined.run("mix", flow(mined.context("mix"), config))
    lines = figures["languages"]
    assert (lines["C"]["bytes_per_token"], lines["unknown"]["bytes_per_token"]) == (1.0, 7.0)
    assert lines["C"]["tokens"] == sum(size for _, size in recount(mined)["C"])
    assert figures["absent"] == ["Lisp"]


def test_what_an_earlier_stage_dropped_neither_counts_nor_is_named(mined: Mined) -> None:
    draw = random.Random(5)
    keys = [repo.id_of(t) for repo in mined.repos for t in repo.triples]
    gone = set(draw.sample(keys, 300))
    mined.decide("filter", {key: {"kept": False} for key in gone})
    config = MixConfig(sampler="uniform")
    figures = mined.run("mix", flow(mined.context("mix", ("filter",)), config))
    left = recount(mined, gone)
    decided = mined.decided("mix")
    assert not any(decided[key]["kept"] or decided[key]["rule"] for key in gone)
    assert {name: line["triples"] for name, line in figures["languages"].items()} == {
        name: len(rows) for name, rows in left.items()
    }
    assert sum(row["kept"] for row in decided.values()) == sum(
        line["kept"] for line in figures["languages"].values()
    )


def test_decisions_stand_in_the_order_of_the_triples(mined: Mined) -> None:
    mined.run("mix", flow(mined.context("mix"), MixConfig(sampler="uniform")))
    stored = [repo.id_of(t) for repo in mined.repos for t in repo.triples]
    assert list(mined.decided("mix")) == stored


def test_nothing_left_is_no_language(mined: Mined) -> None:
    keys = [repo.id_of(t) for repo in mined.repos for t in repo.triples]
    mined.decide("filter", {key: {"kept": False} for key in keys})
    figures = mined.run("mix", flow(mined.context("mix", ("filter",)), MixConfig(sampler="guided")))
    assert figures["languages"] == {}
    assert not any(row["kept"] or row["rule"] for row in mined.decided("mix").values())


def test_a_sampler_with_nothing_to_go_by_ends_the_run(tmp_path: Path) -> None:
    repos = [Repo("a", [commit("0"), commit("1")], [Made(0, 1, "Ruby")])]
    mined = Mined(tmp_path, repos).write()
    with pytest.raises(UsageError, match="none of them is there"):
        mined.run("mix", flow(mined.context("mix"), MixConfig(sampler="optimal")))


CONFIG = MixConfig(sampler="uniform", budget_tokens=9000)


def test_the_same_bytes_for_any_order_of_parts_and_units(mined: Mined) -> None:
    figures = mined.run("mix", flow(mined.context("mix"), CONFIG))
    first = mined.bytes_of("mix")
    assert any(row["rule"] for row in mined.decided("mix").values())
    for seed in range(3):
        chance = random.Random(seed)
        context = mined.context("mix", shuffled=chance)
        assert mined.run("mix", flow(context, CONFIG), chance) == figures
        assert mined.bytes_of("mix") == first


def kept_by_layout(folder: Path) -> list[set[str]]:
    """What stays of the same triples, stored in two orders and cut in two ways."""
    results = []
    for number, rows in enumerate((100, 37)):
        repos = made_repos()
        for repo in repos:
            order = list(repo.triples)
            if number:
                random.Random(1).shuffle(order)
            repo.triples = order
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "ROWS_WANTED", rows)
            mined = Mined(folder / str(number), repos[::-1] if number else repos).write()
        mined.run("mix", flow(mined.context("mix"), CONFIG))
        decided = mined.decided("mix")
        results.append({key for key, row in decided.items() if row["kept"]})
    return results


def test_what_stays_does_not_depend_on_how_triples_are_stored(tmp_path: Path) -> None:
    one, other = kept_by_layout(tmp_path)
    assert one == other


def by_arrival() -> Callable[[int, Sequence[str]], Any]:
    """A wrong variant: buckets by how many came before."""
    counter = itertools.count()
    return lambda seed, ids: np.array([next(counter) * 7 % 4096 for _ in ids], np.int64)


def by_place(seed: int, ids: Sequence[str]) -> Any:
    """Another: by the place within a part."""
    return np.arange(len(ids), dtype=np.int64) * 61 % 4096


@pytest.mark.parametrize("wrong", [by_arrival(), by_place])
def test_drawing_by_arrival_would_be_caught(
    wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "buckets", wrong)
    one, other = kept_by_layout(tmp_path)
    assert one != other


def test_a_larger_budget_keeps_all_that_a_smaller_one_kept(mined: Mined) -> None:
    kept: list[set[str]] = []
    for number, budget in enumerate((4000, 9000, 20000)):
        context = mined.context("mix", shuffled=random.Random(number))
        mined.run("mix", flow(context, MixConfig(budget_tokens=budget)))
        kept.append({key for key, row in mined.decided("mix").items() if row["kept"]})
    assert kept[0] < kept[1] < kept[2]
    context = mined.context("mix", shuffled=random.Random(9))
    mined.run("mix", flow(context, MixConfig(budget_tokens=9000, seed=1)))
    other = {key for key, row in mined.decided("mix").items() if row["kept"]}
    assert not other <= kept[2]


def test_tokens_count_by_the_weight_that_filters_gave(mined: Mined) -> None:
    """A language whose triples weigh a half has half of its tokens, before and after the mix."""
    rows = recount(mined)
    halved = {id: {"weight": 0.5} for id, _ in rows["Python"]}
    mined.decide("filter", halved)
    config = MixConfig(sampler="shares", shares={"Java": 0.5}, max_repeats=10.0)
    context = mined.context("mix", ("filter",))
    figures = mined.run("mix", flow(context, config))["languages"]
    python = sum(size for _, size in rows["Python"]) / BYTES_PER_TOKEN["Python"]
    assert figures["Python"]["tokens"] == pytest.approx(python / 2, rel=0.01)
    decided = mined.decided("mix")
    for name, line in figures.items():
        rate = line["bytes_per_token"]
        after = sum(
            size / rate * decided[id]["weight"] * (0.5 if id in halved else 1.0)
            for id, size in rows[name]
            if decided[id]["kept"]
        )
        assert line["tokens_after"] == pytest.approx(after, rel=0.01, abs=2)
    assert all(
        decided[id]["weight"] == pytest.approx(figures["Java"]["weight"]) for id, _ in rows["Java"]
    )
    assert figures["Java"]["weight"] > 1
