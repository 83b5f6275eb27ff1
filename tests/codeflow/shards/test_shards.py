"""Shards, mixtures and the stage that writes them."""

from __future__ import annotations

import hashlib
import json
import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from codeflow.cli import main
from codeflow.dataset.order import OrderedTriples
from codeflow.errors import DataError, UsageError
from codeflow.shards import writer as module
from codeflow.shards.mixture import Mixture
from codeflow.shards.writer import Description, Row, TokenShards, write_shards
from codeflow.tokens.stage import tokenize
from token_samples import make, opened

T = 64
DESCRIPTION = Description(T, "ab" * 8, 600, "diff", "cd" * 8)


def row(number: int) -> Row:
    lengths = [1 + number % 20, 43 - number % 20, 20]
    return Row(
        np.arange(number, number + T, dtype=np.uint32),
        np.array(lengths, np.int32),
        np.array([10, T - 10], np.int32),
        np.array([0.0, 0.5], np.float32),
        ("a" * 32, "b" * 32, ""),
        ("Go", None, None),
        ("span", "commit", "padding"),
    )


def write(folder: Path, count: int, description: Description = DESCRIPTION, start: int = 0) -> Path:
    folder.mkdir()
    rows = [row(start + k) for k in range(count)]
    assert list(write_shards(folder, "train", iter(rows), description)) == rows
    return folder


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
    }
    assert json.loads(found.metadata[b"codeflow.tokens"])["tokenizer"] == "ab" * 8


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", 50)
    file = folder / "train-00000.arrow"
    data = file.read_bytes()
    for broken in (data[: len(data) // 2], data[:-3], b"", b"x" * 1000):
        file.write_bytes(broken)
        with pytest.raises(DataError, match=r"train-00000\.arrow.*tokenize") as caught:
            TokenShards(folder)
        assert "\n" not in str(caught.value)
    file.write_bytes(data)
    write(tmp_path / "y", 5, DESCRIPTION._replace(tokenizer="other"))
    (tmp_path / "y" / "train-00000.arrow").rename(folder / "train-00001.arrow")
    with pytest.raises(DataError, match="otherwise"):
        TokenShards(folder)
    with pytest.raises(DataError, match="no validation-"):
        TokenShards(folder, "validation")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[TokenShards]:
    folder = tmp_path_factory.mktemp("mixture")
    return [
        TokenShards(write(folder / name, count, start=start))
        for name, count, start in (("a", 7, 0), ("b", 20, 1000), ("c", 3, 2000))
    ]


def ids(mixture: Mixture, count: int, **options: object) -> list[int]:
    return [int(m.row.input_ids[0]) for m in islice(mixture.rows(**options), count)]  # type: ignore[arg-type]


def test_shares_hold_at_every_point_and_epochs_are_whole(sources: list[TokenShards]) -> None:
    mixture = Mixture(sources, [5, 3, 2], seed=3)
    rows = list(islice(mixture.rows(), 200))
    for count in range(1, 201):
        taken = np.bincount([m.source for m in rows[:count]], minlength=3)
        assert (abs(taken - np.array([0.5, 0.3, 0.2]) * count) <= 1).all()
    for source, shards in enumerate(sources):
        mine = [int(m.row.input_ids[0]) for m in rows if m.source == source]
        every = {int(r.input_ids[0]) for r in shards}
        epochs = [mine[k : k + len(every)] for k in range(0, len(mine), len(every))]
        for epoch in epochs[:-1]:
            assert set(epoch) == every
        assert len(epochs) < 3 or epochs[0] != epochs[1]


def test_a_resumed_stream_goes_on_as_an_uninterrupted_one(sources: list[TokenShards]) -> None:
    mixture = Mixture(sources, [5, 3, 2], seed=3)
    expected = ids(mixture, 120)
    assert expected == ids(Mixture(sources, [5, 3, 2], seed=3), 120)
    assert expected != ids(Mixture(sources, [5, 3, 2], seed=4), 120)
    for stop in (1, 7, 50):
        state = list(islice(mixture.rows(), stop))[-1].state
        state = json.loads(json.dumps(state))
        later = ids(Mixture(sources, [5, 3, 2], seed=3), 120 - stop, state=state)
        assert later == expected[stop:]


def test_ranks_share_one_stream_and_may_change_in_number(sources: list[TokenShards]) -> None:
    mixture = Mixture(sources, [1, 2, 1])
    expected = ids(mixture, 60)
    by_rank = [list(islice(mixture.rows(rank=r, ranks=3), 10)) for r in range(3)]
    for rank, rows in enumerate(by_rank):
        assert [int(m.row.input_ids[0]) for m in rows] == expected[rank:30:3]
        assert rows[-1].state == by_rank[0][-1].state
    state = by_rank[1][-1].state
    two = [ids(mixture, 15, state=state, rank=r, ranks=2) for r in range(2)]
    assert [two[k % 2][k // 2] for k in range(30)] == expected[30:]


def test_mixtures_that_cannot_be_are_refused(sources: list[TokenShards], tmp_path: Path) -> None:
    other = TokenShards(write(tmp_path / "o", 3, DESCRIPTION._replace(tokenizer="other")))
    with pytest.raises(DataError, match="tokenizer"):
        Mixture([sources[0], other], [1, 1])
    for weights in ([1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]):
        with pytest.raises(UsageError, match="weight"):
            Mixture(sources[:2], weights)
    state = Mixture(sources, [1, 1, 1]).start()
    with pytest.raises(DataError, match="position"):
        next(Mixture(sources, [1, 1, 2]).rows(state))


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
    first = tokenize(folder, "one", rendering, 2048, vocab_size=600)
    second = tokenize(folder, "two", rendering, 2048, vocab_size=600, fast=False)
    assert digests(first.folder) == digests(second.folder)
    assert set(digests(first.folder)) == {
        "tokens.json", "tokenizer.json", "train-00000.arrow", "validation-00000.arrow",
    }  # fmt: skip
    stamp = (first.folder / "tokens.json").stat().st_mtime_ns
    assert tokenize(folder, "one", rendering, 2048) == first
    assert (first.folder / "tokens.json").stat().st_mtime_ns == stamp
    missing = 0
    for split in ("train", "validation"):
        shards = TokenShards(first.folder, split)
        wanted = {t.id for t in opened(folder).triples(split=split)}
        shown = {id for r in shards for id in r.triple_ids if id}
        assert shown <= wanted
        missing += len(wanted - shown)
        assert len(shards) == first.rows[split]
    assert missing == first.documents.get("too-long", 0) or rendering.startswith("fim")
    other = tokenize(folder, "one", rendering, 2048, seed=1, loss="0.5")
    assert digests(other.folder) != digests(second.folder)


def test_wrong_arguments_are_usage_errors(folder: Path) -> None:
    for change, message in (
        ({"rendering": "dif"}, "diff"), ({"length": 3}, "64"), ({"name": "../x"}, "letters"),
        ({"long": "x"}, "drop"), ({"loss": "2"}, "from 0 to 1"), ({"tokenizer": "no"}, "no: "),
    ):  # fmt: skip
        arguments = {"name": "bad", "rendering": "diff", "length": 512, **change}
        with pytest.raises(UsageError, match=message):
            tokenize(folder, **arguments)  # type: ignore[arg-type]
    assert not (folder / "tokens" / "bad").exists()


def test_a_full_disk_is_one_line_and_the_old_folder_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tokenize(folder, "kept", "diff", 512)
    before = digests(done.folder)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("codeflow.tokens.stage.write_shards", full)
    with pytest.raises(DataError, match=r"kept.*No space left") as caught:
        tokenize(folder, "kept", "diff", 256)
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
