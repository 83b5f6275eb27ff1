"""The sizes that keep the house one to walk through: of files, of folders, of what tests share."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from small_history import ROOT

LINES = 400
DOZEN = 15  # about one
AT_THE_TOP = 14
MORE = {
    "benchmarks": "one file a measurement",
    "filters/codeflow_filters": "one file a filter, named for it",
    "tests/filters": "as many tests as filters",
}
FOLDERS = ("codeflow", "miners", "filters", "tests", "benchmarks", "examples", "docs")
BESIDE = sorted(
    path for folder in ("tests", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def in_folders() -> Counter[str]:
    """How many Python files each folder holds itself."""
    paths = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return Counter(name(path.parent) for path in paths)


@pytest.mark.parametrize("path", BESIDE, ids=name)
def test_no_file_of_tests_benchmarks_or_examples_is_long(path: Path) -> None:
    """Those of the packages: tests/codeflow/test_architecture.py."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES, "a file is one step; this one may be two"
    assert ast.get_docstring(ast.parse(text)), "a module says what it is"


def test_few_modules_stand_at_the_top() -> None:
    assert in_folders()["codeflow"] <= AT_THE_TOP


def test_no_folder_is_a_corridor() -> None:
    found = in_folders()
    assert {folder: n for folder, n in found.items() if n > DOZEN and folder not in MORE} == {}
    assert MORE.keys() <= found.keys(), "a reason for a folder that is gone"


def test_triples_for_tests_are_built_in_one_place() -> None:
    """More builders were three, and each wrote another patch."""
    support = ROOT / "tests" / "support"
    built = [path for path in support.rglob("*.py") if "Triple.from_row(" in path.read_text()]
    assert [name(path) for path in built] == ["tests/support/triples/triples.py"]
