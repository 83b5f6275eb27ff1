"""There is validation data at the first try, or a line that says how to get some."""

from __future__ import annotations

from pathlib import Path

import pytest

import codeflow
from codeflow.curation.split.stage import SplitConfig
from codeflow.errors import UsageError
from codeflow.pipeline.settings import Settings
from small_history import small_history


def test_no_validation_data_is_an_error_with_advice(tmp_path: Path) -> None:
    repo = small_history(tmp_path / "small.git")
    split = SplitConfig(by="family")
    with pytest.raises(UsageError, match="--split-by time"):
        codeflow.mine([repo.path], tmp_path / "out", filters=["none"], config=Settings(split=split))


def test_a_small_project_has_validation_at_the_first_try(tmp_path: Path) -> None:
    """Fewer than 20 triples are less than one at the default share."""
    repo = small_history(tmp_path / "small.git")
    codeflow.mine([repo.path], tmp_path / "out", filters=["none"])
    opened = codeflow.open(tmp_path / "out")
    assert 2 <= len(opened) < 20
    late = [t.position for t in opened.triples(split="validation")]
    early = [t.position for t in opened.triples(split="train")]
    assert late
    assert max(early) < min(late)
