"""What newcomers are told is so: targets of make, versions of hooks, folders, a forge's files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from small_history import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TARGETS = set(re.findall(r"^\.PHONY: (.*)", MAKEFILE, flags=re.M)[0].split())
FORMS = sorted((ROOT / ".github").rglob("*.yml"))


def test_every_target_that_a_page_names_is_one_of_make() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*")]
    texts = [page.read_text(encoding="utf-8") for page in pages if page.is_file()]
    target = re.compile(r"(?:^|`|run: )make ([a-z][a-z-]*)", re.M)
    named = {name for text in texts for name in target.findall(text)}
    assert {"test", "demo", "docs"} <= named <= TARGETS


def test_help_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make ([a-z-]+) +\S", done.stdout, flags=re.M)) == TARGETS


def test_hooks_run_the_ruff_that_is_pinned() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [version] = [r["rev"] for r in hooks["repos"] if r["repo"].endswith("/ruff-pre-commit")]
    assert f"ruff=={version.removeprefix('v')}" in (ROOT / "constraints.txt").read_text().split()


@pytest.mark.parametrize("path", FORMS, ids=[path.name for path in FORMS])
def test_the_files_of_a_forge_are_read(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_a_forge_runs_what_gates_a_landing() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    assert "bash .ci/run" in [step.get("run") for step in jobs["landing"]["steps"]]
    lowest = re.findall(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text())[0]
    assert lowest == min(jobs["pythons"]["strategy"]["matrix"]["python"])


def test_contributing_names_folders_and_files_that_are_there() -> None:
    homes = [ROOT, ROOT / "codeflow", ROOT / "codeflow" / "curation", ROOT / "filters"]
    homes += [ROOT / "filters" / "codeflow_filters", ROOT / "docs"]
    homes += (ROOT / "tests" / "support").iterdir()
    named = set(re.findall(r"`([\w./]+(?:/|\.py|\.md|\.toml))`", CONTRIBUTING))
    made = {name for name in named if "NAME" in name} | {"mined/"}
    assert len(named - made) > 20
    for name in named - made:
        assert any((home / name).exists() for home in homes), name
    for name in made - {"mined/"}:
        assert (ROOT / name).parent.is_dir(), name


def test_contributing_names_tests_that_are_there() -> None:
    [(path, word)] = re.findall(r"pytest (\S+\.py) -k (\w+)", CONTRIBUTING)
    names = re.findall(r"^def (test_\w+)", (ROOT / path).read_text(encoding="utf-8"), flags=re.M)
    assert any(word in name for name in names)
