"""Rows that say their number, written by codeflow's own writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codeflow.shards.format import Description, Row
from codeflow.shards.writer import write_shards

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
        (None, "forum", None),
    )


def write(folder: Path, count: int, description: Description = DESCRIPTION, start: int = 0) -> Path:
    folder.mkdir()
    rows = [row(start + k) for k in range(count)]
    assert list(write_shards(folder, "train", iter(rows), description)) == rows
    return folder
