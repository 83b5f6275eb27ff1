"""Shards, mixtures and the stage that writes them."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from codeflow.cli import main
from codeflow.dataset.order import OrderedTriples
from codeflow.errors import DataError, UsageError
from codeflow.shards import writer as module
from codeflow.shards.format import Row
from codeflow.shards.reader import TokenShards
from codeflow.shards.writer import write_shards
from token_samples import make, opened, tokenized
from written_rows import DESCRIPTION, T, row, write


def same(a: Row, b: Row) -> bool:
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))


def test_rows_come_back_in_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_TOKENS", 3 * T)
    monkeypatch.setattr(module, "_SHARD_TOKENS", 9 * T)
    folder = write(tmp_path / "x", 31)
    assert len(list(folder.glob("train-*.arrow"))) == 4
    shards = TokenShards(folder)
    assert len(shards) == 31
    assert shards.description == DESCRIPTION
    assert all(same(shards[k], row(k)) for k in range(31))
    assert same(shards[-1], row(30))
    assert [r.input_ids[0] for r in shards[4:6]] == [4, 5]
    assert all(same(a, b) for a, b in zip(pickle.loads(pickle.dumps(shards)), shards, strict=True))
    with pytest.raises(IndexError):
        shards[31]
    assert not shards[0].input_ids.flags.owndata


def test_the_columns_are_those_of_the_design(tmp_path: Path) -> None:
    file = next(write(tmp_path / "x", 2).glob("*.arrow"))
    with pa.memory_map(str(file)) as mapped:
        found = pa.ipc.open_file(mapped).schema
    assert {field.name: str(field.type) for field in found} == {
        "input_ids": f"fixed_size_list<item: uint32>[{T}]",
        "doc_lengths": "list<item: int32>",
        "run_lengths": "list<item: int32>",
        "run_weights": "list<item: float>",
        "triple_ids": "list<item: string>",
        "languages": "list<item: string>",
        "kinds": "list<item: string>",
        "origins": "list<item: string>",
    }
    assert json.loads(found.metadata[b"codeflow.tokens"])["tokenizer"] == "ab" * 8


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", 50)
    file = folder / "train-00000.arrow"
    data = file.read_bytes()
    for broken in (data[: len(data) // 2], data[:10], data[:-3], b"", b"x" * 1000):
        file.write_bytes(broken)
        with pytest.raises(DataError, match=r"train-00000\.arrow: truncated.*tokenize") as caught:
            TokenShards(folder)
        assert "\n" not in str(caught.value)
    file.write_bytes(data)
    with pytest.raises(
        UsageError, match=r"no validation-\*\.arrow in it; give `codeflow tokenize`"
    ):
        TokenShards(folder, "validation")
    with pytest.raises(UsageError, match=r"no train-\*\.arrow in it; run codeflow tokenize first"):
        TokenShards(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("field", "value"),
    [("tokenizer", "t1"), ("vocab_size", 7), ("rendering", "fim-repo"), ("dataset", "other")],
)
def test_files_of_two_makings_are_refused(tmp_path: Path, field: str, value: Any) -> None:
    folder = write(tmp_path / "x", 5)
    other = write(tmp_path / "y", 5, DESCRIPTION._replace(**{field: value}))
    (other / "train-00000.arrow").rename(folder / "train-00001.arrow")
    has = getattr(DESCRIPTION, field)
    with pytest.raises(DataError, match=f"{field} {value}, but train-00000.arrow has {has}"):
        TokenShards(folder)


def test_files_that_are_no_shards_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x", 2) / "train-00000.arrow"
    with pa.memory_map(str(path)) as mapped:
        table = pa.ipc.open_file(mapped).read_all()
    metadata = dict(table.schema.metadata)
    about = metadata[b"codeflow.tokens"]
    older, newer = (
        {b"codeflow.tokens": about.replace(b'"version": 2', b'"version": %d' % version)}
        for version in (1, 3)
    )
    halves = table.set_column(3, "run_weights", table["run_weights"].cast(pa.list_(pa.float64())))
    for spoilt, message in (
        (table.replace_schema_metadata(None), "no codeflow.tokens metadata"),
        (table.replace_schema_metadata({b"codeflow.tokens": b"[]"}), "no codeflow.tokens metadata"),
        (table.replace_schema_metadata(newer), "format 3, this version reads 2"),
        (  # of the vocabulary without markers
            table.replace_schema_metadata(older),
            "format 1, this version reads 2; run codeflow tokenize again",
        ),
        (table.drop_columns(["kinds"]), "no column 'kinds'"),
        (halves, r"column 'run_weights' is list<item: double>, not list<item: float>"),
    ):
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, spoilt.schema) as writer:
            writer.write_table(spoilt)
        with pytest.raises(DataError, match=rf"train-00000\.arrow: {message}"):
            TokenShards(path.parent)


def test_a_row_that_does_not_add_up_is_named(tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1)._replace(run_lengths=np.array([10, T - 11], np.int32)),
        row(2)._replace(doc_lengths=np.array([T, 1, 0], np.int32)),
        row(3)._replace(kinds=("span",)),
    ]
    folder = tmp_path / "x"
    folder.mkdir()
    list(write_shards(folder, "train", rows, DESCRIPTION))
    shards = TokenShards(folder)
    assert same(shards[0], row(0))
    for index, message in ((1, "do not add up to 64"), (2, "do not add up"), (3, "one label")):
        with pytest.raises(DataError, match=rf"train-00000\.arrow: row {index}: .*{message}"):
            shards[index]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("stage"))[0]


def digests(path: Path) -> dict[str, str]:
    return {
        str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(path.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize(
    "rendering",
    [
        "diff",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("blocks", "files", "fim-file", "fim-repo", "snapshot")
        ),
    ],
)
def test_the_stage_writes_the_same_bytes_again(folder: Path, rendering: str) -> None:
    first = tokenized(folder, "one", rendering, 2048, vocab_size=600)
    second = tokenized(folder, "two", rendering, 2048, vocab_size=600, fast=False)
    assert digests(first.folder) == digests(second.folder)
    assert set(digests(first.folder)) == {
        "tokens.json", "tokenizer.json", "chat_template.jinja", "train-00000.arrow",
        "validation-00000.arrow",
    }  # fmt: skip
    stamp = (first.folder / "tokens.json").stat().st_mtime_ns
    assert tokenized(folder, "one", rendering, 2048) == first
    assert (first.folder / "tokens.json").stat().st_mtime_ns == stamp
    missing = 0
    for split in ("train", "validation"):
        shards = TokenShards(first.folder, split)
        wanted = {t.id for t in opened(folder).triples(split=split)}
        shown = {id for r in shards for id in r.triple_ids if id}
        assert shown <= wanted
        missing += len(wanted - shown)
        assert len(shards) == first.rows[split]
    dropped = sum(first.documents.get(why, 0) for why in ("too-long", "nothing-to-write"))
    assert missing == dropped or rendering.startswith("fim")
    other = tokenized(folder, "one", rendering, 2048, seed=1, loss="0.5")
    assert digests(other.folder) != digests(second.folder)


def test_wrong_arguments_are_usage_errors(folder: Path) -> None:
    for change, message in (
        ({"rendering": "dif"}, "diff"), ({"length": 3}, "64"), ({"name": "../x"}, "letters"),
        ({"long": "x"}, "drop"), ({"loss": "2"}, "from 0 to 1"), ({"tokenizer": "no"}, "no: "),
    ):  # fmt: skip
        arguments = {"name": "bad", "rendering": "diff", "length": 512, **change}
        with pytest.raises(UsageError, match=message):
            tokenized(folder, **arguments)  # type: ignore[arg-type]
    assert not (folder / "tokens" / "bad").exists()


def test_a_full_disk_is_one_line_and_the_old_folder_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tokenized(folder, "kept", "diff", 512)
    before = digests(done.folder)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codeflow.tokens.folder.write_shards", full)
    with pytest.raises(DataError, match=r"kept.*No space left") as caught:
        tokenized(folder, "kept", "diff", 256)
    assert "\n" not in str(caught.value)
    assert digests(done.folder) == before
    assert not list((folder / "tokens").glob(".*"))


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", str(folder), "--render", "diff", "--length", "256"]) == 0
    assert "train: " in capsys.readouterr().out
    assert len(TokenShards(folder / "tokens" / "diff-256"))
    assert main(["tokenize", str(folder), "--render", "x", "--length", "256"]) == 2


def test_the_latest_part_is_held_out_and_nothing_reaches_into_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(folder)
    whole = {t.id: t for t in dataset.triples()}
    published = OrderedTriples(dataset, 0.25, tmp_path / "p")
    for split in ("train", "validation"):
        found = [t.id for t in published.triples(split)]
        expected = sorted(dataset.triples(split=split), key=lambda t: (t.repo, t.position, t.id))
        assert found == [t.id for t in expected]
    dataset.triple_shards["validation"].groups.clear()
    ordered = OrderedTriples(dataset, 0.25, tmp_path / "q")
    train, held = (list(ordered.triples(split)) for split in ("train", "validation"))
    left = {t.id for t in dataset.triples(split="train")} - {t.id for t in (*train, *held)}
    assert train
    assert len(left) == ordered.sizes["straddling"] > 0
    for repo in ("one", "two"):
        first = min(t.old_committed_at for t in held if t.repo == repo)
        assert all(t.committed_at <= first for t in train if t.repo == repo)
        cut = min(t.position for t in held if t.repo == repo)
        for id in left:
            if whole[id].repo == repo:
                assert whole[id].position < cut
                assert whole[id].committed_at > first
        count = sum(t.repo == repo for t in dataset.triples(split="train"))
        assert sum(t.repo == repo for t in held) >= int(count * 0.25)
    with pytest.raises(UsageError, match="larger"):
        OrderedTriples(dataset, 0.001, tmp_path / "r")


def test_many_buckets_give_the_same_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = [t.id for t in OrderedTriples(opened(folder), 0, tmp_path / "a").triples("train")]
    monkeypatch.setattr("codeflow.dataset.order._BUCKET_BYTES", 500)
    ordered = OrderedTriples(opened(folder), 0, tmp_path / "b")
    assert len(list((tmp_path / "b").iterdir())) > 3
    assert [t.id for t in ordered.triples("train")] == one
