"""The miner leaves out what git's index refuses, and not more than `verify` and `checkout` do.

Two readings of git's rule exist, since plug-ins import contracts only; git judges the first.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.git.names import refused_by_git, unsafe_to_write
from codeflow_miners.changes.paths import refused
from gitdag import Repo

PIECES = [".git", "git~1", ".", "..", " ", "\\", ":", "~", "~1", "~12", "~123", "4", "5", "\u200c",
          "gi7eba", "gi7e", "gi", "g", ".gitmodules", "GITMOD", "a", "\u0131"]  # fmt: skip
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)


@given(NAMES, st.sampled_from(["100644", "120000"]))
def test_both_readings_agree(name: str, mode: str) -> None:
    found = refused(name.encode(), mode == "120000") is not None
    assert found or not refused_by_git(name, mode)
    assert unsafe_to_write(name, mode) or not found


@pytest.mark.parametrize(
    "name",
    [".gitmodules", "a\\.gitmodules", "a\\b\\GITMOD~2 .", "gi7e~123", "~1234567", "gitmod~5",
     "gi7e~12", ".gitmodules\\a", "x\\.git\\y", ".git\u200c", "a.git"],
)  # fmt: skip
def test_git_refuses_the_same_links(name: str, tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r.git")
    subprocess.run(
        ["git", "-c", "core.protectHFS=true", "update-index", "-z", "--index-info"],
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GIT_DIR": str(repo.git_dir)},
        input=b"120000 %s\t%s\0" % (b"1" * 40, name.encode()),
        check=True,
        capture_output=True,
    )
    kept = bool(repo.git("ls-files"))
    assert (refused(name.encode(), symlink=True) is None) == kept
