"""Token shards that small training runs read."""

from __future__ import annotations

from pathlib import Path

import pytest

from training_runs import make_data


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with token folders `a` and `b`. Read only: runs go elsewhere."""
    return make_data(tmp_path_factory.mktemp("data"))
