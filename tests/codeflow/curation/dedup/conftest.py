"""Folders of triples for the tests of the dedup stage, in small partitions."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codeflow.curation import batches as parts
from codeflow.curation.dedup import tables as dedup_tables
from dedup_samples import Row
from dedup_stage import Stage, brute_force, crowd


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Sequence[Row]], Stage]:
    """Makes a folder of a few triples."""
    return lambda rows: Stage(tmp_path / "data", rows)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Some 2,000 triples in several parts, joined in several partitions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "ROWS_WANTED", 300)
        return Stage(tmp_path_factory.mktemp("crowd") / "data", crowd(random.Random(3)))


@pytest.fixture(scope="module")
def expected(crowded: Stage) -> set[frozenset[str]]:
    return brute_force(list(crowded.rows.values()))


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_tables, "_KEYS_WANTED", 6000)
