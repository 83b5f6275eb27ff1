"""One list of varied histories, and all that is mined from it, for the tests of every stage."""

from __future__ import annotations

from pathlib import Path

import pytest

import codeflow
import varied
from staged import WHOLE


@pytest.fixture(scope="session")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return varied.varied(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="session")
def everything(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is mined, published. Read only."""
    out = tmp_path_factory.mktemp("everything") / "out"
    codeflow.mine(listing, out, until="mine", config=WHOLE)
    return out
