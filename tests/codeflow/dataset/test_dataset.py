"""Reading a dataset back, against one that plain git commands made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeflow import records
from codeflow.dataset import contents
from codeflow.dataset import reader as reading
from codeflow.errors import DataError, UsageError
from codeflow.storage import manifest
from codeflow.storage.layout import SPLITS
from codeflow.triple import Triple
from tiny_dataset import SNAPSHOTS, Git, build, history

Made = tuple[Path, dict[str, tuple[Git, list[str]]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("dataset")
    repos = {}
    for name, snapshots in (("one", SNAPSHOTS), ("two", SNAPSHOTS[::-1] + SNAPSHOTS)):
        git = Git(folder / f"{name}.git")
        repos[name] = (git, history(git, snapshots))
    return build(folder / "data", repos), repos


def test_both_sides_are_what_git_has(made: Made) -> None:
    path, repos = made
    dataset = reading.open(path)
    count = 0
    for triple in dataset.triples():
        git, _ = repos[triple.repo]
        for side, tree in ((triple.old_repo, triple.old_tree), (triple.new_repo, triple.new_tree)):
            expected = git.files(tree)
            assert list(side) == list(expected)
            assert len(side) == len(expected)
            assert {p: (side.mode(p), side[p]) for p in side} == expected
            assert "src/none" not in side
            assert "src/app.py/x" not in side
            with pytest.raises(KeyError):
                side["none"]
        count += 1
    assert count == len(dataset) >= 20


def test_selects_by_split_kind_and_repo(made: Made) -> None:
    dataset = reading.open(made[0])
    triples = list(dataset.triples())
    assert {t.kind for t in triples} == {"commit", "span"}
    by_split = [t.id for split in SPLITS for t in dataset.triples(split=split)]
    assert by_split == [t.id for t in triples]
    chosen = [t.id for t in dataset.triples(kind="span", repo="two", columns=["position"])]
    assert chosen == [t.id for t in triples if t.kind == "span" and t.repo == "two"]
    with pytest.raises(UsageError, match="'test'"):
        dataset.triples(split="test")
    with pytest.raises(UsageError, match="'pach'"):
        dataset.triples(columns=["pach"])


def test_partial_triples_say_what_they_lack(made: Made) -> None:
    triple = next(reading.open(made[0]).triples(columns=["kind"]))
    assert triple.kind in ("commit", "span")
    assert "README.md" in triple.old_repo
    with pytest.raises(AttributeError, match="'patch' was not read"):
        _ = triple.patch
    with pytest.raises(AttributeError, match="no 'pach'"):
        _ = triple.pach


def test_triple_has_every_column(made: Made) -> None:
    assert [name for name in Triple.__dataclass_fields__ if name[0] != "_"] == records.TRIPLES.names
    triple = next(reading.open(made[0]).triples())
    for name in records.TRIPLES.names:
        getattr(triple, name)
    assert isinstance(triple.files[0], records.FileChange)


def test_finds_by_id_and_unique_prefix(made: Made) -> None:
    dataset = reading.open(made[0])
    ids = [t.id for t in dataset.triples()]
    for id in ids:
        assert dataset.triple(id).id == id
        length = next(n for n in range(1, 33) if sum(i.startswith(id[:n]) for i in ids) == 1)
        assert dataset.triple(id[:length]).id == id
        if length > 1:
            with pytest.raises(DataError, match="not unique"):
                dataset.triple(id[: length - 1])
    for wrong in ("", "zz", "0" * 32):
        with pytest.raises(DataError, match="no triple"):
            dataset.triple(wrong)


def test_finds_contents_with_a_cache_of_one_row_group(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "CACHE_BYTES", 1)
    path, repos = made
    dataset = reading.open(path)
    for triple in dataset.triples(kind="span"):
        expected = repos[triple.repo][0].files(triple.new_tree)
        assert dict(triple.new_repo) == {p: content for p, (_, content) in expected.items()}


def test_many_contents_come_in_stored_order_and_once(made: Made) -> None:
    dataset = reading.open(made[0])
    stored = [
        (row["repo"], row["id"], row["content"].encode())
        for group in dataset.blob_shards.groups
        for row in dataset.blob_shards.read(group).to_pylist()
    ]
    for repo in ("one", "two"):
        mine = [(id, content) for name, id, content in stored if name == repo]
        assert list(dataset.blobs(repo, sorted(id for id, _ in mine))) == mine


def test_missing_things_are_named(made: Made, tmp_path: Path) -> None:
    dataset = reading.open(made[0])
    for repo, id in (("one", "0" * 40), ("three", "0" * 40), ("one", "nonsense")):
        with pytest.raises(DataError, match=id):
            dataset.blob(repo, id)
        with pytest.raises(DataError, match=id):
            dataset.tree(repo, id)
    with pytest.raises(DataError, match="not a dataset"):
        reading.open(tmp_path)
    values = json.loads((made[0] / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_bytes(manifest.seal(values))
    with pytest.raises(DataError, match="triples/"):
        reading.open(tmp_path)
    (tmp_path / "manifest.json").write_bytes(manifest.seal({**values, "schema_version": 99}))
    with pytest.raises(DataError, match="schema version 99"):
        reading.open(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(DataError, match="cannot be read"):
        reading.open(tmp_path)


def test_summary_counts(made: Made) -> None:
    dataset = reading.open(made[0])
    triples = list(dataset.triples())
    summary = dataset.statistics()
    assert summary.triples.total() == summary.repos.total() == len(triples)
    assert summary.repos["two", "span"] == sum(
        t.repo == "two" and t.kind == "span" for t in triples
    )
    assert summary.commits["span"].high == 3
    assert summary.lines["commit"].high == max(
        t.additions + t.deletions for t in triples if t.kind == "commit"
    )
    assert summary.blobs == 2 * len({file[1] for files in SNAPSHOTS for file in files.values()})
