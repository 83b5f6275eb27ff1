"""What tests of stages share: a configuration that keeps much, a filter, what became of triples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import codeflow
from codeflow import Triple, Verdict, drop, keep
from codeflow.config import MineConfig, Window
from codeflow.curation.split.stage import SplitConfig
from codeflow.pipeline.settings import Settings

WHOLE = Settings(mine=MineConfig(window=Window(0.0, 1.0)), split=SplitConfig(validation=0.2))


def ledger(out: Path, stage: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "ledger").to_pylist()
    return [row for row in rows if row["stage"] == stage]


def by_id(out: Path) -> dict[str, Triple]:
    return {triple.id: triple for triple in codeflow.open(out).triples()}


def even(triple: Triple) -> Verdict:
    """Keeps what has an even number of changed lines."""
    lines = triple.additions + triple.deletions
    return keep({"lines": lines}) if lines % 2 == 0 else drop("odd", f"{lines} lines")
