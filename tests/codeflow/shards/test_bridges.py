"""Token shards for other trainers, against readers written from those trainers' own formats."""

from __future__ import annotations

import argparse
import itertools
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from codeflow.commands import export_data
from codeflow.errors import UsageError
from codeflow.shards.bridges import to_megatron
from codeflow.shards.reader import TokenShards
from codeflow.shards.torch_dataset import PackedRows, collate
from token_shards import Document, write_shard

T = 12
A: Document = ([5, 6, 7, 8, 9], [0, 0, 1, 1, 1], "Go", "span")
B: Document = ([1, 2, 3], [0, 0.5, 0.5], "C", "commit")
C: Document = ([4, 4, 4, 4], [0, 1, 0, 1], "C", "commit")
PADDING: Document = ([0, 0, 0, 0], [0, 0, 0, 0], "", "padding")
ROWS = [[A, B, PADDING], [B, A, C], [C, C, C]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data/tokens/made"
    write_shard(folder / "train-00000.arrow", ROWS[:2])
    write_shard(folder / "train-00001.arrow", ROWS[2:])
    write_shard(folder / "validation-00000.arrow", ROWS[1:2])
    return tmp_path / "data"


@pytest.fixture
def command() -> Callable[..., int]:
    def call(*words: object) -> int:
        parser = argparse.ArgumentParser()
        export_data.add(parser.add_subparsers())
        parsed = parser.parse_args(["export-data", *map(str, words)])
        status: int = parsed.command(parsed)
        return status

    return call


def megatron(prefix: Path) -> list[list[list[int]]]:
    """Sequences by document, read as `megatron/core/datasets/indexed_dataset.py` does it."""
    index = Path(f"{prefix}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, bounds = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    dtype: np.dtype[Any] = np.dtype({4: "<i4", 8: "<u2"}[code])
    at = 34
    lengths = np.frombuffer(index, np.int32, sequences, at)
    pointers = np.frombuffer(index, np.int64, sequences, at + lengths.nbytes)
    ends = np.frombuffer(index, np.int64, bounds, at + lengths.nbytes + pointers.nbytes)
    assert len(index) == at + lengths.nbytes + pointers.nbytes + ends.nbytes
    content = Path(f"{prefix}.bin").read_bytes()
    found = [
        np.frombuffer(content, dtype, length, pointer).tolist()
        for length, pointer in zip(lengths, pointers, strict=True)
    ]
    assert sum(lengths) * dtype.itemsize == len(content)
    return [found[a:b] for a, b in itertools.pairwise(ends)]


def test_megatron_reads_the_documents(
    data: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    to = data.parent / "out/docs"
    words = (data, "--format", "megatron", "--tokens", "made", "--to", to)
    assert command(*words) == 0
    kept = [document for row in ROWS for document in row if document[3] != "padding"]
    assert megatron(to) == [[document[0]] for document in kept]
    said = capsys.readouterr().out
    assert "8 documents, 32 tokens in" in said
    free = sum(sum(weight == 0 for weight in document[1][1:]) for document in kept)
    assert f"{free} tokens without a loss here have one there" in said
    assert "4 tokens of another weight than 0 and 1 count as 1 there" in said
    with pytest.raises(UsageError, match=r"docs\.bin: is there already"):
        command(*words)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=4),
    st.sampled_from([300, 65_499, 65_500, 200_000]),
    st.integers(0, 2**16),
)
def test_any_documents_come_back_from_megatrons_files(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[list[int]], vocab: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("m")
    random = np.random.default_rng(seed)
    width = max(map(sum, lengths)) + 1
    rows: list[list[Document]] = []
    for row in lengths:
        made: list[Document] = []
        for length in row:
            ids = random.integers(0, vocab, length).tolist()
            made.append((ids, [0.0] * length, "C", "span"))
        left = width - sum(row)
        rows.append([*made, ([0] * left, [0.0] * left, "", "padding")])
    write_shard(folder / "t/train-0.arrow", rows, vocab_size=vocab)
    to_megatron(TokenShards(folder / "t"), folder / "out")
    assert megatron(folder / "out") == [[ids] for row in rows for ids, *_ in row[:-1]]
    assert (folder / "out.idx").read_bytes()[17] == (8 if vocab < 65_500 else 4)


def test_parquet_has_the_packed_rows_of_all_splits(data: Path, command: Callable[..., int]) -> None:
    to = data.parent / "rows"
    assert command(data, "--format", "parquet", "--tokens", "made", "--to", to) == 0
    assert sorted(path.name for path in to.iterdir()) == [
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    ]
    found = pq.read_table(to / "train-00000-of-00001.parquet").to_pylist()
    assert [row["input_ids"] for row in found] == [
        [token for d in row for token in d[0]] for row in ROWS
    ]
    assert found[0] == {
        "input_ids": [5, 6, 7, 8, 9, 1, 2, 3, 0, 0, 0, 0],
        "labels": [-100, -100, 7, 8, 9, -100, 2, 3, -100, -100, -100, -100],
        "position_ids": [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3],
        "attention_mask": [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
    }
    with pytest.raises(UsageError, match="not an empty folder"):
        command(data, "--format", "parquet", "--tokens", "made", "--to", to)
    assert [p.name for p in data.parent.iterdir() if p.name.startswith(".rows")] == []


@pytest.mark.slow
def test_datasets_loads_what_was_written(
    data: Path, command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command(data, "--format", "parquet", "--tokens", "made", "--to", tmp_path / "rows")
    from datasets import load_dataset

    loaded = load_dataset(str(tmp_path / "rows"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "validation": 1}
    assert loaded["train"][2]["input_ids"] == [4] * T


def test_torch_rows_say_where_documents_begin(data: Path) -> None:
    rows = pickle.loads(pickle.dumps(PackedRows(data / "tokens/made")))
    assert len(rows) == 3
    first = rows[0]
    assert first["input_ids"].tolist() == [5, 6, 7, 8, 9, 1, 2, 3, 0, 0, 0, 0]
    assert first["labels"].tolist() == [-100, -100, 7, 8, 9, -100, 2, 3] + [-100] * 4
    assert first["position_ids"].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]
    assert first["loss_weights"].tolist() == [0, 0, 1, 1, 1, 0, 0.5, 0.5, 0, 0, 0, 0]
    assert first["cu_seqlens"].tolist() == [0, 5, 8, 12]
    batches = list(DataLoader(rows, batch_size=2, collate_fn=collate))
    assert batches[0]["input_ids"].shape == (2, T)
    assert batches[0]["cu_seqlens"].tolist() == [0, 5, 8, 12, 15, 20, 24]
    assert batches[1]["cu_seqlens"].tolist() == [0, 4, 8, 12]
    flat = batches[0]["input_ids"].flatten()
    ends = batches[0]["cu_seqlens"].tolist()
    parts = [flat[a:b].tolist() for a, b in itertools.pairwise(ends)]
    assert parts == [document[0] for row in ROWS[:2] for document in row]
    assert batches[0]["cu_seqlens"].dtype == torch.int32


def test_what_does_not_fit_is_one_line(data: Path, command: Callable[..., int]) -> None:
    to = data.parent / "x"
    for words, message in (
        (("--format", "megatron"), "takes a token folder; give --tokens NAME"),
        (
            ("--format", "parquet", "--tokens", "none"),
            "none: no such folder; run codeflow tokenize",
        ),
        (("--format", "commitpack", "--tokens", "made"), "takes triples; drop --tokens"),
    ):
        with pytest.raises(UsageError, match=message):
            command(data, *words, "--to", to)
