"""A Ray for the tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from small_history import SUPPORT


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray of two workers; its workers find our modules."""
    import ray

    folders = [*SUPPORT, os.environ.get("PYTHONPATH", "")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, folders)))
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()
