"""The pages build into a site, strictly, and its API page has every name of `__all__`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import codeflow
from small_history import ROOT, environment

pytestmark = pytest.mark.slow


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(site)]
    return subprocess.run(
        command, cwd=root, env=environment(), capture_output=True, text=True, timeout=240
    )


def test_the_site_builds_and_shows_every_name(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        folder = tmp_path / "site" / ("" if page.stem == "index" else page.stem)
        assert (folder / "index.html").exists(), page.name
    api = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    missing = [n for n in codeflow.__all__ if f'id="codeflow.{n}"' not in api]
    assert missing == ["__version__"]  # which has no docstring of its own
    for kind in (codeflow.Dataset, codeflow.Triple):  # with what they inherit
        named = [n for n in dir(kind) if not n.startswith("_") and n not in dir(Sequence)]
        public = [name for name in named if getattr(kind, name).__doc__]
        assert len(public) > 3
        ids = [f'id="codeflow.{kind.__name__}.{name}"' for name in public]
        assert [id for id in ids if id not in api] == []


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs" / "api.md").write_text("# Python\n\n[no heading](commands.md#nothing)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "nothing" in done.stderr
