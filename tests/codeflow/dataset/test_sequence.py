"""A dataset as a sequence, and a dataset and its triples as a notebook shows them."""

from __future__ import annotations

import random
from collections.abc import Container
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.api import dataset as reading
from codeflow.api.dataset import Dataset
from codeflow.dataset.contents import Shards
from codeflow.errors import DataError
from tiny_dataset import SNAPSHOTS, Git, build, history

EVIL = "\x1b]0;owned\x07<script>alert(1)</script>\u202e[bold]&amp;"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("sequence")
    git = Git(folder / "one.git")
    long = {"long": ("100644", "".join(f"line {k}\n" for k in range(500)).encode())}
    chain = history(git, SNAPSHOTS * 3)
    chain.append(git.commit(git.tree(long), chain[-1], message=f"{EVIL}\n\n{EVIL}"))
    return reading.open(build(folder / "data", {"<b>one": (git, chain)}))


@pytest.fixture(scope="module")
def ids(dataset: Dataset) -> list[str]:
    """The ids as Parquet has them: train, then validation."""
    found = []
    for split in ("train", "validation"):
        for path in sorted((dataset.folder / "triples").glob(f"{split}-*.parquet")):
            found += pq.read_table(path).column("id").to_pylist()
    return found


def test_numbers_are_the_stored_order(dataset: Dataset, ids: list[str]) -> None:
    assert len(dataset) == len(ids) > 20
    assert [t.id for t in dataset] == [t.id for t in dataset.triples()] == ids
    assert [dataset[k].id for k in range(len(ids))] == ids
    assert [dataset[k - len(ids)].id for k in range(len(ids))] == ids
    assert [t.id for t in reversed(dataset)] == ids[::-1]
    for wrong in (len(ids), -len(ids) - 1, 10**9):
        with pytest.raises(IndexError, match=f"{wrong}: the dataset has {len(ids)} triples"):
            dataset[wrong]
    with pytest.raises(TypeError):
        dataset[1.5]  # type: ignore[call-overload]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.slices(40))
def test_slices_are_those_of_a_list(dataset: Dataset, ids: list[str], cut: slice) -> None:
    assert [t.id for t in dataset[cut]] == ids[cut]


def test_an_id_finds_its_triple(dataset: Dataset, ids: list[str]) -> None:
    held: Container[object] = dataset
    for id in ids:
        assert dataset[id].id == id
        assert id in held
        assert dataset[id] in held
        assert id[:10] not in held
    absent: object
    for absent in ("0" * 32, "", 3, None):
        assert absent not in held
    with pytest.raises(DataError, match="no triple"):
        dataset["0" * 32]


def test_what_needs_a_sequence_takes_it(dataset: Dataset, ids: list[str]) -> None:
    assert {t.id for t in random.Random(1).sample(dataset, 5)} <= set(ids)


def test_neighbours_cost_one_decoding(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = reading.open(dataset.folder)
    groups = sum(len(shards.groups) for shards in fresh.triple_shards.values())
    read = Shards.read
    calls: list[object] = []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return read(*arguments, **named)

    monkeypatch.setattr(Shards, "read", counted)
    for k in range(len(fresh)):
        _ = fresh[k]
    assert len(calls) == groups


class Page(HTMLParser):
    """Tags and text; fails on a tag that is never closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_dataset_that_was_published_again_is_not_called_damaged(tmp_path: Path) -> None:
    """As when `codeflow filter` is run beside a notebook that has it open."""
    git = Git(tmp_path / "one.git")
    open_before = Dataset(build(tmp_path / "data", {"one": (git, history(git, SNAPSHOTS))}))
    path = next((tmp_path / "data" / "triples").glob("train-*"))
    pq.write_table(pq.read_table(path).slice(0, 1), tmp_path / "new", compression=None)
    (tmp_path / "new").replace(path)
    with pytest.raises(DataError, match="was published again since it was opened"):
        list(open_before)


def test_a_notebook_shows_a_triple(dataset: Dataset) -> None:
    for triple in dataset:
        page = Page(str(triple._repr_html_()))
        assert set(page.tags) <= {"pre", "span", "a"}
        assert triple.id in page.text
        assert not set(page.text) & set("\x1b\x07\u202e")
        for change in triple.steps if len(triple.commits) > 1 else [triple]:
            for line in change.patch.split("\n")[:5]:
                assert line.rstrip() in page.text or "\t" in line or "\\" in line


def test_a_notebook_shows_the_beginning_of_a_long_one(dataset: Dataset) -> None:
    [long] = (t for t in dataset if t.kind == "commit" and EVIL[:3] in t.messages[0][0])
    html = str(long._repr_html_())
    assert len(html) < 40_000
    text = Page(html).text
    assert "<script>" in text, "shown as text"
    lines = long.patch.count("\n")
    assert lines > 500
    assert f"and {lines - 80} more lines" in text
    assert "+line 10\n" in text
    assert "+line 499\n" not in text


def test_a_notebook_shows_a_triple_of_some_columns(dataset: Dataset) -> None:
    triple = next(dataset.triples(columns=["kind"]))
    assert triple.id in Page(str(triple._repr_html_())).text


def test_a_notebook_shows_a_dataset_without_reading_it(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = reading.open(dataset.folder)
    monkeypatch.setattr(Shards, "read_many", None)
    page = Page(fresh._repr_html_())
    assert str(fresh.folder) in page.text
    train = sum(g.rows for g in fresh.triple_shards["train"].groups)
    assert f"{len(fresh):,} ({train:,} train" in page.text
    assert "validation" in page.text


def test_a_notebook_shows_an_empty_dataset(tmp_path: Path) -> None:
    git = Git(tmp_path / "one.git")
    chain = history(git, SNAPSHOTS[:1])
    empty = reading.open(build(tmp_path / "data", {"one": (git, chain)}))
    assert len(empty) == 0
    assert list(empty) == []
    assert "0" in Page(empty._repr_html_()).text
