"""Triples and datasets in other processes: what comes out of a pickle reads what git has."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codeflow.curation.batches import Stretch
from codeflow.curation.mined_reader import MinedReader
from codeflow.dataset import reader as reading
from codeflow.dataset.reader import Dataset
from codeflow.errors import DataError
from codeflow.storage import layout, manifest
from small_history import environment
from tiny_dataset import SNAPSHOTS, Git, build, history

Made = tuple[Path, dict[str, tuple[Git, list[str]]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("pickle")
    repos = {}
    for name, snapshots in (("one", SNAPSHOTS), ("two", SNAPSHOTS[::-1] + SNAPSHOTS)):
        git = Git(folder / f"{name}.git")
        repos[name] = (git, history(git, snapshots))
    return build(folder / "data", repos), repos


# a user's script; `spawn` is what macOS and Windows do, and what torch's loaders may do
SCRIPT = """
import hashlib, json, multiprocessing, sys
import codeflow

def sides(triple):
    digests = []
    for side in (triple.old_repo, triple.new_repo):
        text = repr([(path, side.mode(path), side[path]) for path in side])
        digests.append(hashlib.sha256(text.encode()).hexdigest())
    return triple.id, digests, id(triple._reader), triple.patch

def by_number(job):
    dataset, number = job
    return dataset[number].id, len(dataset)

if __name__ == "__main__":
    dataset = codeflow.open(sys.argv[1])
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(2) as pool:
        told = pool.map(sides, dataset.triples(), chunksize=3)
        numbered = pool.map(by_number, [(dataset, k) for k in range(len(dataset))])
    print(json.dumps({"told": told, "numbered": numbered}))
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("place", ["path", "relative", "url"])
def test_a_pool_reads_both_sides(made: Made, tmp_path: Path, method: str, place: str) -> None:
    path, repos = made
    (tmp_path / "script.py").write_text(SCRIPT)
    where = {
        "path": str(path),
        "relative": os.path.relpath(path, tmp_path),
        "url": f"file://{path}",
    }
    done = subprocess.run(
        [sys.executable, "script.py", where[place], method],
        env=environment(HOME=str(tmp_path / "home")),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    expected = []
    for triple in reading.open(path).triples():
        digests = []
        for tree in (triple.old_tree, triple.new_tree):
            files = repos[triple.repo][0].files(tree)
            text = repr([(name, mode, content) for name, (mode, content) in files.items()])
            digests.append(hashlib.sha256(text.encode()).hexdigest())
        expected.append([triple.id, digests, triple.patch])
    assert [[id, digests, patch] for id, digests, _, patch in told["told"]] == expected
    assert len({reader for _, _, reader, _ in told["told"]}) <= 2, "a dataset a process, no more"
    assert told["numbered"] == [[id, len(expected)] for id, _, _ in expected]


def test_a_pickle_holds_no_contents(made: Made) -> None:
    dataset = reading.open(made[0])
    assert len(pickle.dumps(dataset)) < 1000
    triples = list(dataset.triples())
    for triple in triples:
        assert any(content for content in triple.old_repo.values())  # caches are full now
    for triple in triples:
        row = pickle.dumps({k: v for k, v in triple.__dict__.items() if k != "_reader"})
        assert len(pickle.dumps(triple)) < len(row) + 1000
        assert len(pickle.dumps(triple.old_repo)) < 1500
    assert len(pickle.dumps(triples)) < sum(len(pickle.dumps(triple)) for triple in triples)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_comes_back_is_the_same(made: Made, protocol: int) -> None:
    dataset = reading.open(made[0])
    for triple in dataset.triples():
        back = pickle.loads(pickle.dumps(triple, protocol))
        values = {name: value for name, value in triple.__dict__.items() if name != "_reader"}
        assert {name: value for name, value in back.__dict__.items() if name in values} == values
        assert dict(back.new_repo) == dict(triple.new_repo)
        for twin in (copy.copy(triple), copy.deepcopy(triple)):
            assert dict(twin.old_repo) == dict(triple.old_repo)
    [again] = {id(pickle.loads(pickle.dumps(t, protocol))._reader) for t in dataset.triples()}
    assert again != id(dataset)
    back = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(dataset, protocol))))
    assert [t.id for t in back] == [t.id for t in dataset]
    assert back.statistics() == dataset.statistics()


def test_a_triple_with_some_columns_still_says_what_it_lacks(made: Made) -> None:
    triple = next(reading.open(made[0]).triples(columns=["kind"]))
    back = pickle.loads(pickle.dumps(triple))
    assert back.kind == triple.kind
    with pytest.raises(AttributeError, match="'patch' was not read"):
        _ = back.patch


def test_nothing_is_opened_before_it_is_needed(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(made[0], folder)
    dataset = reading.open(folder)
    triple = dataset[0]
    data = pickle.dumps(triple), pickle.dumps(dataset)
    shutil.rmtree(folder)
    back, ds = map(pickle.loads, data)
    assert back.patch == triple.patch
    for ask in (lambda: list(back.old_repo), lambda: len(ds), lambda: ds[0]):
        with pytest.raises(DataError, match="not a dataset"):
            ask()


def test_a_folder_that_was_published_again_is_refused(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(made[0], folder)
    dataset = reading.open(folder)
    old = pickle.dumps(dataset[0]), pickle.dumps(dataset)
    values = json.loads((folder / layout.MANIFEST).read_bytes())
    (folder / layout.MANIFEST).write_bytes(manifest.seal({**values, "publish_hash": "other"}))
    for data in old:
        back = pickle.loads(data)
        with pytest.raises(DataError, match="published again"):
            list(back.old_repo) if not isinstance(back, Dataset) else len(back)
    assert len(pickle.loads(pickle.dumps(reading.open(folder)))) == len(dataset)


def test_a_stale_copy_of_a_url_is_made_anew(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "data"
    shutil.copytree(made[0], folder)
    dataset = reading.open(f"file://{folder}")
    assert dataset.folder != folder
    data = pickle.dumps(dataset[3])
    shutil.rmtree(dataset.folder)  # another machine, where there is none
    assert dict(pickle.loads(data).old_repo) == dict(reading.open(folder)[3].old_repo)


def test_the_reader_of_a_stage_leaves_its_caches_behind(tmp_path: Path) -> None:
    stretch = Stretch(
        "one", "mined/t.parquet", 0, 1, ("mined/b.parquet",), ("mined/trees.parquet",), None, ()
    )
    reader = MinedReader(tmp_path, stretch)
    data = pickle.dumps(reader)
    assert len(data) < 1000
    assert pickle.loads(data).stretch == stretch
    assert "lru_cache" not in {arg for _, arg, _ in pickletools.genops(data)}
