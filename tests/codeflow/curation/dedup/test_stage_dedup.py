"""The dedup stage against comparing everything, and against what its bands promise."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash

from codeflow.contracts import Unit
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.context import StageContext
from codeflow.curation.dedup import stage as dedup
from codeflow.curation.dedup import tables as dedup_tables
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.dedup.tables import ShingleReader
from codeflow.errors import UsageError
from codeflow.execution.driver import drive
from codeflow.execution.pool import Pool
from codeflow.execution.ray_pool import RayPool
from codeflow.execution.serial_pool import SerialPool
from codeflow_filters.dedup.curve import detection
from codeflow_filters.dedup.shingles import make_shingles
from dedup_samples import (
    Row,
    as_lines,
    changed_file,
    lines_of,
    naive_jaccard,
    naive_shingles,
    new_id,
    patch_of,
    planted_pair,
    words,
    write_mined,
)
from small_history import SUPPORT

DEFAULT = DedupConfig()


class Stage:
    """A mined folder of some triples, and runs of the stage on it."""

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self.folder = folder
        self.rows = {row.id: row for row in rows}
        self.parts: tuple[Part, ...] = write_mined(folder, rows)

    def run(
        self,
        config: DedupConfig = DEFAULT,
        pool: Pool | None = None,
        earlier: tuple[str, ...] = (),
        stamp: str = "0",
        on_unit: Callable[[Unit], None] = lambda unit: None,
    ) -> dict[str, Any]:
        """Runs it to its end; the figures."""
        context = StageContext(self.folder, "dedup", stamp, self.parts, earlier)
        [(_, figures)] = drive(
            [("dedup", dedup.flow(context, config))],
            pool or SerialPool(self.folder),
            self.folder,
            lambda unit, result: on_unit(unit),
        )
        assert isinstance(figures, dict), figures
        return figures

    def fresh(self, config: DedupConfig = DEFAULT, **more: Any) -> dict[str, dict[str, Any]]:
        """Runs it from the start; the decisions by id."""
        shutil.rmtree(self.folder / ".work", ignore_errors=True)
        self.run(config, **more)
        return self.decided()

    def decided(self) -> dict[str, dict[str, Any]]:
        found = {}
        for part in self.parts:
            ids = [i for _, t in parts.read(self.folder, part, ["id"]) for i in t["id"].to_pylist()]
            rows = decisions.read(self.folder, "dedup", part.name).to_pylist()
            assert [row["id"] for row in rows] == ids, "row for row"
            found.update({row["id"]: row for row in rows})
        assert found.keys() == self.rows.keys()
        return found

    def bytes(self) -> dict[str, bytes]:
        place = self.folder / "decisions/dedup"
        return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Sequence[Row]], Stage]:
    """Makes a folder of a few triples."""
    return lambda rows: Stage(tmp_path / "data", rows)


def clusters_of(decided: dict[str, dict[str, Any]]) -> set[frozenset[str]]:
    """The sets of ids that share a cluster."""
    members = defaultdict(set)
    for id, row in decided.items():
        if row["cluster"] is not None:
            members[row["cluster"]].add(id)
    return {frozenset(ids) for ids in members.values()}


# -- against brute force


def crowd(rng: random.Random) -> list[Row]:
    """Triples of two kinds in which all kinds of likeness occur: chains, copies, forks, small ones.

    Half-alike ones (0.3 to 0.7) share bands without being duplicates.
    """
    texts: list[str] = []
    for k in range(150):
        texts += planted_pair(rng, 0.3 + 0.65 * k / 150, rng.randint(24, 160))
    for _ in range(15):  # each like the one before
        tokens = words(rng, 100)
        for _ in range(6):
            tokens[rng.randrange(100)] = words(rng, 1)[0]
            tokens[rng.randrange(100)] = words(rng, 1)[0]
            texts.append(patch_of(as_lines(tokens[:30]), as_lines(tokens[30:])))
    texts += [re.sub("@@ -7,", f"@@ -{k + 8},", text) for k, text in enumerate(texts[:40])]
    texts += [text.replace(" c\n", " another\n") for text in texts[40:60]]
    for size in range(1, 60):  # too small to compare, and just not
        texts += [patch_of([], as_lines([f"t{k}" for k in range(size)]))] * 2
        texts.append(patch_of([], as_lines([f"t{k}" for k in range(size)]), path="c.py"))
    rows = [
        Row(new_id(rng), text, kind, (changed_file(f"{k:040x}", f"{k:039x}f"),))
        for k, text in enumerate(texts)
        for kind in ("commit", "span")
    ]
    contents = (changed_file("1" * 40, "2" * 40),)
    elsewhere = (changed_file("1" * 40, "2" * 40, "vendor/a.py"),)
    for kind in ("commit", "commit", "span"):
        for files in (contents, elsewhere):
            text = patch_of(words(rng, 50), words(rng, 50))
            rows.append(Row(new_id(rng), text, kind, files))
    alone = [patch_of(words(rng, 20), as_lines(words(rng, 40))) for _ in range(400)]
    rows += [
        Row(new_id(rng), text, "commit", (changed_file(None, f"{k:038x}aa"),))
        for k, text in enumerate(alone)
    ]
    return rows


def naive_patch_name(patch: str) -> str:
    """A patch without what `git patch-id` does not look at."""
    lines = [line for line in patch.split("\n") if not line.startswith(("@@ ", "index "))]
    return re.sub(r"\s", "", "\0".join(lines))


def brute_force(rows: Sequence[Row], config: DedupConfig = DEFAULT) -> set[frozenset[str]]:
    """Every pair: equal names, or a common band of datasketch's signature and enough likeness."""
    near: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    pairs = []
    exact: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    shingles = {}
    for row in rows:
        exact[row.kind, naive_patch_name(row.patch)].append(row)
        blobs = sorted(f"{file['old_blob']} {file['new_blob']}" for file in row.files)
        exact[row.kind, *blobs].append(row)
        hashed = make_shingles(lines_of([row.patch.encode()]), config.ngram)
        if hashed.tokens[0] < config.min_tokens:
            continue
        shingles[row.id] = naive_shingles(row.patch.encode(), config.ngram)
        signature = MinHash(config.permutations, hashfunc=lambda value: value)
        signature.update_batch(hashed.of(0).tolist())
        for band in range(config.bands):
            values = signature.hashvalues[band * config.rows : (band + 1) * config.rows]
            near[(row.kind, band, *values.tolist())].append(row)
    for some in exact.values():
        pairs += [(one.id, other.id) for one, other in combinations(some, 2)]
    for some in near.values():
        for one, other in combinations(some, 2):
            if naive_jaccard(shingles[one.id], shingles[other.id]) >= config.threshold:
                pairs.append((one.id, other.id))
    cluster = {row.id: {row.id} for row in rows}
    for one, other in pairs:
        if cluster[one] is not cluster[other]:
            cluster[one] |= cluster[other]
            for id in cluster[other]:
                cluster[id] = cluster[one]
    return {frozenset(ids) for ids in cluster.values() if len(ids) > 1}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Some 2,000 triples in several parts, joined in several partitions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "ROWS_WANTED", 300)
        return Stage(tmp_path_factory.mktemp("crowd") / "data", crowd(random.Random(3)))


@pytest.fixture(scope="module")
def expected(crowded: Stage) -> set[frozenset[str]]:
    return brute_force(list(crowded.rows.values()))


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_tables, "_KEYS_WANTED", 6000)


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
    exact = crowded.fresh(DedupConfig(near=False))
    near = crowded.fresh(DedupConfig(exact=False))
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


# -- what is kept


def alike(rng: random.Random, count: int, **more: Any) -> list[Row]:
    text = patch_of([], as_lines(words(rng, 60)))
    return [Row(new_id(rng), text, **more) for _ in range(count)]


def test_the_best_by_score_is_kept_and_ties_go_to_the_lowest_id(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    rng = random.Random(2)
    rows = sorted(alike(rng, 5), key=lambda row: row.id)
    mined = sorted(
        (
            Row(new_id(rng), row.patch, scores={"size": k})
            for k, row in enumerate(alike(rng, 1) * 3)
        ),
        key=lambda row: row.id,
    )
    stage = make(rows + mined)
    scores = {rows[2].id: 0.9, rows[3].id: 0.9, rows[0].id: 0.2, rows[4].id: float("nan")}
    for part in stage.parts:
        ids = [i for _, t in parts.read(stage.folder, part, ["id"]) for i in t["id"].to_pylist()]
        quality = [[("other", 5.0), ("quality", scores[i])] if i in scores else [] for i in ids]
        columns = {"id": ids, "kept": [True] * len(ids), "scores": quality}
        decisions.write(stage.folder, "filter", part.name, columns)

    def best(of: list[Row], **more: Any) -> list[str]:
        decided = stage.fresh(**more)
        assert {decided[row.id]["cluster"] for row in of} == {of[0].id}
        return [row.id for row in of if decided[row.id]["kept"]]

    assert best(rows) == [rows[0].id]
    assert best(rows, earlier=("filter",)) == [rows[2].id]
    size = max(mined, key=lambda row: row.scores["size"])
    assert best(mined, config=DedupConfig(score="size"), earlier=("filter",)) == [size.id]


def test_what_earlier_stages_dropped_takes_no_part(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    rng = random.Random(4)
    rows = sorted(alike(rng, 3) + alike(rng, 2), key=lambda row: row.id)
    stage = make(rows)
    dropped = {row.id for row in rows if row.patch == rows[0].patch} - {rows[-1].id}
    for part in stage.parts:
        ids = [i for _, t in parts.read(stage.folder, part, ["id"]) for i in t["id"].to_pylist()]
        kept = [i not in dropped for i in ids]
        decisions.write(stage.folder, "filter", part.name, {"id": ids, "kept": kept})
    decided = stage.fresh(earlier=("filter",))
    for id in dropped:
        row = decided[id]
        assert (row["kept"], row["rule"], row["cluster"]) == (False, None, None)
    rest = [row for row in rows if row.id not in dropped]
    assert clusters_of(decided) == brute_force(rest)


def test_changes_of_two_kinds_are_never_duplicates(make: Callable[[Sequence[Row]], Stage]) -> None:
    [row] = alike(random.Random(5), 1, files=(changed_file("1" * 40, "2" * 40),))
    twin = Row("0" * 32, row.patch, "span", row.files)
    decided = make([row, twin]).fresh()
    assert all(each["kept"] and each["cluster"] is None for each in decided.values())


def test_nothing_is_left_of_a_whole_part(make: Callable[[Sequence[Row]], Stage]) -> None:
    stage = make(alike(random.Random(7), 4))
    for part in stage.parts:
        ids = [i for _, t in parts.read(stage.folder, part, ["id"]) for i in t["id"].to_pylist()]
        decisions.write(stage.folder, "filter", part.name, {"id": ids, "kept": [False] * len(ids)})
    decided = stage.fresh(earlier=("filter",))
    assert not any(row["kept"] or row["rule"] or row["cluster"] for row in decided.values())


@pytest.mark.parametrize("rows", [[], [Row("0" * 32, patch_of([], ["x"]))]])
def test_little_or_nothing_to_compare(
    rows: list[Row], make: Callable[[Sequence[Row]], Stage]
) -> None:
    figures = make(rows).run()
    assert figures["clusters"] == {}
    assert figures["kept"] == figures["triples"] == len(rows)


def test_a_patch_without_an_end_is_an_error_that_says_where(
    make: Callable[[Sequence[Row]], Stage],
) -> None:
    stage = make([Row("0" * 32, patch_of([], ["x"])[:-1])])
    with pytest.raises(Exception, match=r"triples-assemble-0000\.parquet.*newline"):
        stage.run()


# -- the same bytes


class AnyOrder:
    """A pool that runs units in an order of chance, and may die before one of them."""

    room = 5

    def __init__(self, folder: Path, chance: random.Random, dies_after: int | None = None) -> None:
        self._serial = SerialPool(folder)
        self._chance = chance
        self._waiting: list[Unit] = []
        self._left = dies_after

    def submit(self, unit: Unit) -> None:
        self._waiting.append(unit)

    def next_done(self) -> Any:
        if self._left == 0:
            raise KeyboardInterrupt
        if self._left is not None:
            self._left -= 1
        self._serial.submit(self._waiting.pop(self._chance.randrange(len(self._waiting))))
        return self._serial.next_done()

    def close(self) -> None:
        self._waiting.clear()


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray of two workers; its workers find our modules."""
    import ray

    folders = [*SUPPORT, os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_two_workers_give_the_same_bytes(crowded: Stage) -> None:
    crowded.fresh()
    one = crowded.bytes()
    shutil.rmtree(crowded.folder / "decisions")
    crowded.fresh(pool=RayPool(crowded.folder, 2, None))
    assert crowded.bytes() == one


def test_any_order_and_kills_give_the_same_bytes(crowded: Stage) -> None:
    crowded.fresh()
    one = crowded.bytes()
    chance = random.Random(6)
    shutil.rmtree(crowded.folder / ".work")
    shutil.rmtree(crowded.folder / "decisions")
    kills = 0
    while True:
        try:
            crowded.run(pool=AnyOrder(crowded.folder, chance, chance.randrange(9)))
            break
        except KeyboardInterrupt:
            kills += 1
            leftovers(crowded.folder, chance)
    assert kills >= 3
    assert crowded.bytes() == one


def leftovers(folder: Path, chance: random.Random) -> None:
    """Loses a marker, as if the kill had come before it was written."""
    markers = sorted((folder / ".work/done").rglob("*.json"))
    if markers and chance.random() < 0.5:
        chance.choice(markers).unlink()


def test_another_order_of_parts_gives_the_same_bytes(crowded: Stage) -> None:
    crowded.fresh()
    one = crowded.bytes()
    before = crowded.parts
    crowded.parts = before[::-1]
    try:
        crowded.fresh()
    finally:
        crowded.parts = before
    assert crowded.bytes() == one


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
