"""What is found: the clusters of comparing everything, as often as the bands promise."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.dedup.tables import ShingleReader
from codeflow.errors import UsageError
from codeflow_filters.dedup.curve import detection
from dedup_samples import Row, naive_jaccard, naive_shingles, new_id, planted_pair
from dedup_stage import DEFAULT, Stage, brute_force, clusters_of


def test_clusters_are_those_of_brute_force(crowded: Stage, expected: set[frozenset[str]]) -> None:
    assert len(crowded.parts) >= 6
    names = []
    shutil.rmtree(crowded.folder / ".work", ignore_errors=True)
    figures = crowded.run(on_unit=lambda unit: names.append(unit.key))
    assert sum("/near-" in name for name in names) >= 4
    decided = crowded.decided()
    assert clusters_of(decided) == expected
    sizes = sorted(len(ids) for ids in expected)
    assert sizes[-1] >= 6
    assert figures["clusters"] == {str(n): sizes.count(n) for n in set(sizes)}
    rules = [row["rule"] for row in decided.values()]
    assert figures["exact"] == rules.count("exact") > 100
    assert figures["near"] == rules.count("near") > 100
    assert figures["kept"] == rules.count(None) == len(crowded.rows) - sum(sizes) + len(sizes)
    assert figures["triples"] == len(crowded.rows)
    assert figures["links"]["contents"] > 0
    assert figures["short"] > 50
    assert figures["cut_short"] == 0


def test_what_is_written_of_every_member(crowded: Stage) -> None:
    decided = crowded.fresh()
    for ids in clusters_of(decided):
        [best] = [id for id in ids if decided[id]["kept"]]
        assert best == min(ids), "without scores the lowest id"
        for id in ids:
            row = decided[id]
            assert row["cluster"] == min(ids)
            assert row["weight"] == 1
            if id == best:
                assert (row["rule"], row["reason"], row["detail"]) == (None, None, None)
                continue
            assert row["reason"]
            assert "\n" not in row["reason"]
            if row["rule"] == "exact":
                assert row["detail"] == best
            else:
                one, other = (naive_shingles(crowded.rows[x].patch.encode(), 5) for x in (id, best))
                assert row["detail"] == f"{best} similarity {naive_jaccard(one, other):.3f}"


def not_confirmed(one: Any, other: Any) -> float:
    return 1.0


def one_seed(kind: str) -> int:
    return 0


def no_kind(kind: str, by: int, name: bytes) -> bytes:
    return name[:16].ljust(16, b"\0")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("codeflow_filters.dedup.links.jaccard", not_confirmed),
        ("codeflow.curation.dedup.scan._seed", one_seed),
        ("codeflow.curation.dedup.scan._hash", no_kind),
        ("codeflow.curation.dedup.join.NEAR", 0),
        ("codeflow.curation.dedup.tables.HALF", np.uint64(31)),
    ],
)
def test_wrong_variants_are_caught(
    name: str, wrong: Any, crowded: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = crowded.fresh()
    monkeypatch.setattr(name, wrong)
    try:
        found = crowded.fresh()
    except Exception:
        return
    assert found != right


@pytest.mark.slow
def test_parameters_change_what_is_found(crowded: Stage) -> None:
    rows = list(crowded.rows.values())
    for config in (
        DedupConfig(threshold=0.5, ngram=3, bands=20, rows=4, min_tokens=5),
        DedupConfig(threshold=0.9, ngram=5, bands=4, rows=12),
    ):
        assert clusters_of(crowded.fresh(config)) == brute_force(rows, config)
    exact = crowded.fresh(DedupConfig(near=False, prefer=()))
    near = crowded.fresh(DedupConfig(exact=False, prefer=()))
    assert {row["rule"] for row in exact.values()} == {None, "exact"}
    assert {row["rule"] for row in near.values()} == {None, "near"}


# -- against the curve


@pytest.mark.slow
def test_recall_is_that_of_the_curve_and_precision_that_of_the_threshold(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    rng = random.Random(11)
    planted: dict[float, list[tuple[float, tuple[Row, Row]]]] = {}
    for similarity in (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        planted[similarity] = some = []
        for _ in range(120):
            one, other = planted_pair(rng, similarity, 240)
            both = Row(new_id(rng), one), Row(new_id(rng), other)
            actual = naive_jaccard(*(naive_shingles(row.patch.encode(), 5) for row in both))
            assert abs(actual - similarity) <= 0.03
            some.append((actual, both))
    pairs = [pair for some in planted.values() for pair in some]
    decided = make([row for _, both in pairs for row in both]).fresh()
    recall = {}
    for similarity, some in planted.items():
        some = [(s, both) for s, both in some if s >= DEFAULT.threshold]
        chances = [detection(s, DEFAULT.bands, DEFAULT.rows) for s, _ in some]
        found = sum(not all(decided[row.id]["kept"] for row in both) for _, both in some)
        error = sum(chance * (1 - chance) for chance in chances) ** 0.5
        assert abs(found - sum(chances)) <= 4 * error + 1e-9, (similarity, found, sum(chances))
        if similarity >= DEFAULT.threshold:
            assert len(some) >= 40
            recall[similarity] = found / len(some)
    assert min(recall[s] for s in (0.85, 0.9, 0.95)) >= 0.98
    assert recall[0.8] >= 0.95
    apart = [both for s, both in pairs if s < DEFAULT.threshold]
    assert len(apart) >= 150
    assert all(decided[row.id]["cluster"] is None for both in apart for row in both)
    together = {frozenset(row.id for row in both) for s, both in pairs if s >= DEFAULT.threshold}
    assert clusters_of(decided) <= together


def test_the_defaults_promise_what_they_must() -> None:
    assert detection(DEFAULT.threshold + 0.1, DEFAULT.bands, DEFAULT.rows) >= 0.95


# -- pieces


def test_sets_are_read_whatever_is_held(tmp_path: Path) -> None:
    rng = random.Random(8)
    sets, paths = [], []
    for part in range(3):
        path = str(tmp_path / f"{part}.arrow")
        sets.append([sorted(rng.sample(range(99), rng.randrange(9))) for _ in range(11)])
        table = pa.table({"shingles": pa.array(sets[-1], pa.list_(pa.uint32()))})
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
        paths.append(path)
    places = [part << 32 | row for part in range(3) for row in range(11)]
    for held in (1, 60, 10**6):
        reader = ShingleReader(paths, held)
        reader.read(np.array(sorted(rng.sample(places, 20)), np.uint64))
        for place in rng.choices(places, k=200):
            assert reader.of(place).tolist() == sets[place >> 32][place & 0xFFFFFFFF]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"threshold": 1.01}, "threshold"),
        ({"bands": 0}, "bands"),
        ({"rows": 0}, "rows"),
        ({"ngram": 0}, "ngram"),
        ({"bands": 100, "rows": 100}, "4096"),
        ({"min_tokens": 4}, "min_tokens"),
    ],
)
def test_parameters_that_make_no_sense(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        DedupConfig(**values)
