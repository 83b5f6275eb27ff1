"""A small ordinary history, and the command line as a user's shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gitdag import Repo

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = sorted(str(folder) for folder in Path(__file__).resolve().parents[1].iterdir())
"""Where the modules that tests share are found; for the PYTHONPATH of other processes."""


def small_history(path: Path, commits: int = 30, tag_every: int = 0) -> Repo:
    """A bare repository of a few files, in which code and its test change together.

    Args:
        tag_every: a tag on every so many commits; 0 for none.
    """
    repo = Repo.create(path)
    repo.commit({"README.md": "# small\n", "src/app.py": "", "tests/test_app.py": ""})
    for k in range(1, commits):
        lines = "".join(f"def f{i}(x):\n    return x + {i}\n\n" for i in range(k))
        checks = "".join(f"def test_f{i}():\n    assert f{i}(1) == {i + 1}\n\n" for i in range(k))
        repo.commit({"src/app.py": lines, "tests/test_app.py": checks}, message=f"Add f{k - 1}")
        if tag_every and k % tag_every == 0:
            assert repo.tip is not None
            repo.tag(f"v{k // tag_every}", repo.tip)
    return repo


def environment(*more: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that imports codeflow from this checkout."""
    paths = [*more, ROOT, ROOT / "miners", ROOT / "filters"]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "COLUMNS": "100",
        **variables,
    }


def codeflow(
    *arguments: str | Path, cwd: Path, plugins: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end in a process of its own, not on a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "codeflow", *map(str, arguments)],
        cwd=cwd,
        env=environment(*plugins),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
