"""Finished runs that nothing disturbed, to compare with what was hurt or done otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

import faults
import varied
from mined_lists import mine
from resumed import WINDOW, Reference


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A run of `codeflow mine`, with its touches of the disk. Read only."""
    folder = tmp_path_factory.mktemp("reference")
    listing, out, log = varied.varied(folder), folder / "out", folder / "touches"
    done = faults.hurt(0, 0, listing, out, *WINDOW, log=log)
    assert done.returncode == 1, done.stderr  # one repository is missing
    return Reference(listing, faults.published(out), faults.touches(log, out))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(list, finished folder) of one worker in this process. Read only."""
    folder = tmp_path_factory.mktemp("varied")
    listing = varied.varied(folder)
    mine(listing, folder / "out")
    return listing, folder / "out"
