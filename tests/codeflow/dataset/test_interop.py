"""The published folder in other people's tools: datasets of Hugging Face, DuckDB and Polars.

Each reads the folder as it is, and what it reads is compared with what `codeflow.open` gives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeflow import records
from codeflow.config import MineConfig, as_mapping
from codeflow.dataset import reader as dataset
from codeflow.dataset.contents import Shards
from codeflow.dataset.reader import Dataset
from codeflow.publish import card
from codeflow.publish.shards import describe
from codeflow.storage.layout import SPLITS
from small_history import codeflow, environment, small_history
from tiny_dataset import SNAPSHOTS, Git, build, history

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")
pytest.importorskip("datasets")

LEDGER_ROWS = [
    records.LedgerRow("mine", "missing", "no such folder", "gone"),
    records.LedgerRow("mine", "empty", "projects to nothing", "one", "0" * 40, "1" * 40, "x\ny"),
]


@pytest.fixture(scope="module")
def both_splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every status of a file, scores, and validation; train has two shards."""
    folder = tmp_path_factory.mktemp("tiny")
    repos = {}
    for name, snapshots in (("one", SNAPSHOTS), ("two", SNAPSHOTS[::-1] + SNAPSHOTS)):
        git = Git(folder / f"{name}.git")
        repos[name] = (git, history(git, snapshots))
    data = build(folder / "data", repos)
    (data / "ledger").mkdir()
    ledger = records.table_of(LEDGER_ROWS, records.LEDGER)
    pq.write_table(ledger, data / "ledger" / "ledger-00000-of-00001.parquet")
    lines = [describe(data, path.relative_to(data).as_posix()) for path in data.rglob("*.parquet")]
    settings = as_mapping(MineConfig())
    text = card.render([], {"commit": 1}, settings, card.filled(lines), {"MIT": 1}, [])
    (data / "README.md").write_text(text)
    return data


SCORED = """
from codeflow import Triple, Verdict, keep

def scored(triple: Triple) -> Verdict:
    return keep({"size": triple.additions / 4})
"""


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `codeflow mine` wrote itself after all stages, beside a repository that is not there."""
    folder = tmp_path_factory.mktemp("mined")
    small_history(folder / "small.git", commits=60)
    small_history(folder / "other.git", commits=50)
    (folder / "list.txt").write_text("small.git\nother.git\ngone.git\n")
    (folder / "rules.py").write_text(SCORED)
    words = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1")
    done = codeflow(*words, "--filter", "rules.py:scored", cwd=folder)
    assert done.returncode == 1, done.stderr
    opened = dataset.open(folder / "data")
    assert all(opened.triple_shards[split].groups for split in SPLITS)
    return folder / "data"


@pytest.fixture(params=["both_splits", "mined"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def rows_of(opened: Dataset, split: str) -> Iterator[dict[str, Any]]:
    """The triples of a split as plain values, the way `codeflow.open` gives them."""
    for triple in opened.triples(split=split):
        row = {name: getattr(triple, name) for name in records.TRIPLES.names}
        row["commits"] = list(triple.commits)
        row["messages"] = [list(messages) for messages in triple.messages]
        row["files"] = [file._asdict() for file in triple.files]
        row["scores"] = [{"key": key, "value": value} for key, value in triple.scores.items()]
        yield row


def stored(shards: Shards) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for group in shards.groups:
        rows += shards.read(group).to_pylist()
    return rows


def by_id(rows: Any) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: (row.get("repo", ""), row["id"]))


# -- datasets of Hugging Face, in a process of its own: it reads its environment when imported

LOAD = """
import sys
import datasets, pyarrow.parquet as pq
folder, to, *names = sys.argv[1:]
for name in names:
    for split, rows in datasets.load_dataset(folder, None if name == "-" else name).items():
        pq.write_table(rows.data.table.combine_chunks(), f"{to}/{name}.{split}.parquet")
"""


def load(folder: Path, to: Path, *names: str) -> dict[str, list[dict[str, Any]]]:
    """`load_dataset(folder, name)` of some names (`-` for none) without a network, by NAME.SPLIT.

    The cache is below `to`, too.
    """
    home = {"HF_HOME": str(to / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), str(to), *names],
        env=environment(**home),
        cwd=to,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {path.stem: pq.read_table(path).to_pylist() for path in to.glob("*.parquet")}


def test_load_dataset_gives_every_table(folder: Path, tmp_path: Path) -> None:
    opened = dataset.open(folder)
    loaded = load(folder, tmp_path, "-", "triples", "blobs", "trees", "ledger")
    expected = {
        "blobs.train": stored(opened.blob_shards),
        "trees.train": stored(opened.tree_shards),
    }
    for split in SPLITS:
        if rows := list(rows_of(opened, split)):
            expected[f"-.{split}"] = expected[f"triples.{split}"] = rows
    expected["ledger.train"] = pq.read_table(folder / "ledger").to_pylist()
    assert "gone" in {row["repo"] for row in expected["ledger.train"]}
    assert loaded == expected


# -- the cache of datasets, which outlives a folder and knows it by its name


def ids(folder: Path, cache: Path) -> set[str]:
    """Ids of the triples that load_dataset gives, with a cache that is kept between calls."""
    to = Path(tempfile.mkdtemp(dir=cache))
    (to / "home").symlink_to(cache, target_is_directory=True)
    loaded = load(folder, to, "-")
    return {row["id"] for rows in loaded.values() for row in rows}


def on_disk(folder: Path) -> set[str]:
    """What is there, in Parquet's own words."""
    paths = (folder / "triples").glob("*.parquet")
    return {id for path in paths for id in pq.read_table(path).column("id").to_pylist()}


def test_load_dataset_reads_what_is_there(tmp_path: Path) -> None:
    for k in (1, 2):
        small_history(tmp_path / str(k) / "small.git", commits=40 + k)
        (tmp_path / str(k) / "list.txt").write_text("small.git\n")
        words = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1")
        done = codeflow(*words, "--filter", "none", cwd=tmp_path / str(k))
        assert done.returncode == 0, done.stderr
    one, two = tmp_path / "1" / "data", tmp_path / "2" / "data"
    cache = tmp_path / "cache"
    cache.mkdir()
    first = on_disk(one)
    assert first != on_disk(two)
    assert ids(one, cache) == first
    assert ids(two, cache) == on_disk(two), "another folder of the same name"

    (tmp_path / "rules.py").write_text(HALF)
    done = codeflow("filter", one, "--filter", f"{tmp_path}/rules.py:half", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set() < on_disk(one) < first
    assert ids(one, cache) == on_disk(one), "the same folder with other rows"
    assert codeflow("filter", one, "--filter", "none", cwd=tmp_path).returncode == 0
    assert ids(one, cache) == on_disk(one) == first, "and back again"


HALF = """
from codeflow import Triple, Verdict, drop, keep

def half(triple: Triple) -> Verdict:
    return keep() if triple.id < "8" else drop("half")
"""


def test_files_of_one_size_and_time_are_told_apart(both_splits: Path, tmp_path: Path) -> None:
    folder, cache = tmp_path / "data", tmp_path / "cache"
    cache.mkdir()
    shutil.copytree(both_splits, folder)
    path = sorted((folder / "triples").glob("*.parquet"))[0]
    pq.write_table(pq.read_table(path), path, compression="none")
    assert ids(folder, cache) == on_disk(folder)
    before = {path: path.stat() for path in folder.rglob("*.parquet")}
    rows = pq.read_table(path)
    first = rows.column("id")[0].as_py()
    other = first[:-1] + ("0" if first[-1] != "0" else "1")
    changed = path.read_bytes().replace(first.encode(), other.encode())
    path.write_bytes(changed)
    os.utime(path, ns=(before[path].st_atime_ns, before[path].st_mtime_ns))
    assert path.stat().st_size == before[path].st_size
    assert other in on_disk(folder)
    names = [path.relative_to(folder).as_posix() for path in before]
    has = card.filled([describe(folder, name) for name in names])
    settings = as_mapping(MineConfig())
    text = card.render([], {"commit": 1}, settings, has, {"MIT": 1}, [])
    (folder / "README.md").write_text(text)
    assert ids(folder, cache) == on_disk(folder)


def test_the_digest_is_of_what_is_in_the_table_alone() -> None:
    line = {"path": "blobs/blobs-00000-of-00001.parquet", "rows": 1, "sha256": "a"}
    tree = {"path": "trees/trees-00000-of-00001.parquet", "rows": 1, "sha256": "b"}
    told = card.filled([line, tree]).digests
    assert card.filled([tree, {**line, "bytes": 5}]).digests == told
    other = card.filled([{**line, "sha256": "b"}, tree]).digests
    assert other["trees"] == told["trees"]
    assert other["blobs"] != told["blobs"]


def test_what_has_no_rows_is_not_in_the_card(tmp_path: Path) -> None:
    small_history(tmp_path / "small.git", commits=25)
    (tmp_path / "list.txt").write_text("small.git\n")
    words = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1", "--until", "mine")
    assert codeflow(*words, "--window", "0.0:0.02", cwd=tmp_path).returncode == 0
    text = (tmp_path / "data" / "README.md").read_text()
    assert "triples/train-*.parquet" in text
    assert "validation" not in text
    assert "ledger/*.parquet" not in text, "nothing was left out"
    [(name, rows)] = load(tmp_path / "data", tmp_path, "-").items()
    assert (name, len(rows)) == ("-.train", 1)


@pytest.mark.parametrize("missing", ["train", "validation", "blobs", "ledger"])
def test_the_card_lists_only_what_has_rows(missing: str) -> None:
    names = {
        "train": "triples/train-00000-of-00001.parquet",
        "validation": "triples/validation-00000-of-00001.parquet",
        "blobs": "blobs/blobs-00000-of-00001.parquet",
        "trees": "trees/trees-00000-of-00001.parquet",
        "ledger": "ledger/ledger-00000-of-00001.parquet",
    }
    lines = [
        {"path": path, "rows": int(name != missing), "sha256": name} for name, path in names.items()
    ]
    has = card.filled([*lines, {"path": "README.md", "bytes": 3}])
    tables = has.digests.keys() - {"triples"}
    assert {*has.splits, *tables} == {name for name in names if name != missing}
    text = card.render([], {}, as_mapping(MineConfig()), has, {}, [])
    head = text.split("---\n")[1]
    assert [name for name, path in names.items() if path.split("-")[0] in head or name in head] == [
        name for name in names if name != missing
    ]


# -- DuckDB


def test_duckdb_reads_every_column(folder: Path) -> None:
    opened = dataset.open(folder)
    for split in SPLITS:
        expected = list(rows_of(opened, split))
        if expected:
            query = f"SELECT * FROM '{folder}/triples/{split}-*.parquet'"
            assert by_id(arrow(duckdb.sql(query))) == by_id(expected)
    for name, shards in (("blobs", opened.blob_shards), ("trees", opened.tree_shards)):
        assert by_id(arrow(duckdb.sql(f"FROM '{folder}/{name}/*.parquet'"))) == by_id(
            stored(shards)
        )


def arrow(relation: Any) -> list[dict[str, Any]]:
    table: pa.Table = relation.to_arrow_table()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_duckdb_asks_about_lists_structs_and_scores(folder: Path) -> None:
    triples = list(dataset.open(folder).triples())
    source = f"'{folder}/triples/*.parquet'"

    def ask(query: str) -> list[tuple[Any, ...]]:
        return sorted(duckdb.sql(query).fetchall())

    assert ask(f"SELECT id, len(commits), messages[1][1] FROM {source}") == sorted(
        (t.id, len(t.commits), t.messages[0][0]) for t in triples
    )
    assert ask(
        f"SELECT id, f.status, f.new_path, f.additions FROM {source}, unnest(files) AS u(f) "
        "WHERE f.status <> 'D'"
    ) == sorted(
        (t.id, f.status, f.new_path, f.additions)
        for t in triples
        for f in t.files
        if f.status != "D"
    )
    assert ask(
        f"SELECT id, map_from_entries(scores)['size'] FROM {source} WHERE len(scores) > 0"
    ) == sorted((t.id, t.scores["size"]) for t in triples if t.scores)


def test_duckdb_joins_a_triple_to_its_contents(folder: Path) -> None:
    opened = dataset.open(folder)
    query = f"""
        SELECT t.id, f.new_path, b.content
        FROM '{folder}/triples/*.parquet' AS t, unnest(t.files) AS u(f)
        JOIN '{folder}/blobs/*.parquet' AS b ON b.repo = t.repo AND b.id = f.new_blob
    """
    expected = [
        (t.id, f.new_path, t.new_repo[f.new_path].decode())
        for t in opened.triples()
        for f in t.files
        if f.new_path is not None
    ]
    assert len(expected) > 10
    assert sorted(duckdb.sql(query).fetchall()) == sorted(expected)


# -- Polars


def test_polars_scans_every_column(folder: Path) -> None:
    opened = dataset.open(folder)
    for split in SPLITS:
        expected = list(rows_of(opened, split))
        if expected:
            scanned = pl.scan_parquet(folder / "triples" / f"{split}-*.parquet").collect()
            assert scanned.to_dicts() == expected
    for name, shards in (("blobs", opened.blob_shards), ("trees", opened.tree_shards)):
        assert pl.scan_parquet(folder / name / "*.parquet").collect().to_dicts() == stored(shards)


def test_polars_asks_about_lists_structs_and_scores(folder: Path) -> None:
    triples = list(dataset.open(folder).triples())
    scan = pl.scan_parquet(folder / "triples" / "*.parquet")
    changed = (
        scan.select("id", "files")
        .explode("files")
        .unnest("files")
        .group_by("id")
        .agg(pl.col("additions").sum(), pl.col("status").sort())
        .sort("id")
        .collect()
    )
    assert changed.rows() == sorted(
        (t.id, sum(f.additions for f in t.files), sorted(f.status for f in t.files))
        for t in triples
    )
    scores = scan.select("id", "scores").explode("scores").drop_nulls().unnest("scores").collect()
    assert sorted(scores.rows()) == sorted((t.id, *s) for t in triples for s in t.scores.items())
