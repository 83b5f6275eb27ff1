"""Small parts, so that every test has several."""

from __future__ import annotations

import pytest

from codeflow.curation import batches as parts


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_WANTED", 50)
