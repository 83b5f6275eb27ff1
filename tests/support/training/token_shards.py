"""Token shards written straight from their description, without codeflow's own writer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

Document = tuple[list[int], list[float], str, str]
"""Tokens, what each counts as a target, language, kind."""


def write_shard(
    path: Path,
    rows: Sequence[Sequence[Document]],
    tokenizer: str = "t0",
    batch_rows: int = 5,
    vocab_size: int = 32,
) -> Path:
    """One file; a row is the documents that fill it. `vocab_size` is what it says of itself."""
    tokens = sum(len(document[0]) for document in rows[0])
    schema = pa.schema(
        [
            ("input_ids", pa.list_(pa.uint32(), tokens)),
            ("doc_lengths", pa.list_(pa.int32())),
            ("run_lengths", pa.list_(pa.int32())),
            ("run_weights", pa.list_(pa.float32())),
            ("triple_ids", pa.list_(pa.string())),
            ("languages", pa.list_(pa.string())),
            ("kinds", pa.list_(pa.string())),
            ("origins", pa.list_(pa.string())),
        ],
        metadata={
            "codeflow.tokens": json.dumps(
                {
                    "version": 2,
                    "length": tokens,
                    "tokenizer": tokenizer,
                    "vocab_size": vocab_size,
                    "rendering": "made-up",
                    "dataset": "d0",
                }
            )
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, len(rows), batch_rows):
            part = [_columns(row) for row in rows[start : start + batch_rows]]
            arrays = [
                pa.array([row[field.name] for row in part], type=field.type) for field in schema
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return path


def _columns(row: Sequence[Document]) -> dict[str, Any]:
    weights = [weight for document in row for weight in document[1]]
    runs: list[list[float]] = []
    for weight in weights:
        if runs and runs[-1][1] == weight:
            runs[-1][0] += 1
        else:
            runs.append([1, weight])
    return {
        "input_ids": [token for document in row for token in document[0]],
        "doc_lengths": [len(document[0]) for document in row],
        "run_lengths": [int(length) for length, _ in runs],
        "run_weights": [weight for _, weight in runs],
        "triple_ids": [f"id{i}" for i in range(len(row))],
        "languages": [document[2] for document in row],
        "kinds": [document[3] for document in row],
        "origins": [None for _ in row],
    }


def random_rows(count: int, tokens: int, vocab: int, seed: int) -> list[list[Document]]:
    """Rows of unequal documents in which every token follows from the one before; the first third
    of a document has no weight, some weigh half, and a row may end in padding (no label)."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        row: list[Document] = []
        left = tokens
        while left:
            length = min(left, int(random.integers(3, tokens // 2)))
            padding = left - length < 3
            length = left if padding else length
            kind = ("span", "commit")[int(random.integers(2))]
            language = ("Python", "Go", "C")[int(random.integers(3))]
            ids = [int(random.integers(vocab))]
            for _ in range(length - 1):
                ids.append((ids[-1] * 5 + 7) % vocab)
            scale = (0.5, 1.0)[int(random.integers(2))]
            weights = [0.0] * (length // 3) + [scale] * (length - length // 3)
            if padding and random.integers(2):
                ids, weights, language, kind = [0] * length, [0.0] * length, "", ""
            row.append((ids, weights, language, kind))
            left -= length
        rows.append(row)
    return rows


def write_folder(
    data: Path, name: str, tokens: int = 48, vocab: int = 32, rows: int = 24, seed: int = 0
) -> Path:
    """`data/tokens/NAME` with two training files and a validation file."""
    folder = data / "tokens" / name
    made = random_rows(rows + 6, tokens, vocab, seed)
    cut = rows // 3
    write_shard(folder / "train-00000-of-00002.arrow", made[:cut])
    write_shard(folder / "train-00001-of-00002.arrow", made[cut:rows])
    write_shard(folder / "validation-00000-of-00001.arrow", made[rows:])
    return folder
