"""The rules that keep the pieces apart, read off the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from small_history import ROOT, environment

FOR_PLUGINS = {"records", "contracts", "errors", "config", "triple", "text"}
PLUGINS = sorted(
    path
    for folder in ("miners", "filters", "examples/release_miner")
    for path in (ROOT / folder).rglob("*.py")
)
LOOPCODER = sorted(
    path for room in ("loopcoder", "shards") for path in (ROOT / "codeflow" / room).rglob("*.py")
)
SHIPPED = sorted([*(ROOT / "codeflow").rglob("*.py"), *PLUGINS])


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything that a module imports, anywhere in it.

    `from a import b` counts as `a.b`: b may be a module, and if it is not, that does no harm.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{name.name}" for name in node.names)


def of_codeflow(tree: ast.AST) -> set[str]:
    """The modules of codeflow that are imported, `""` for the package itself."""
    names = [n.split(".") for n in imported(tree) if n.split(".")[0] == "codeflow"]
    return {parts[1] if len(parts) > 1 else "" for parts in names}


def mining(tree: ast.AST) -> set[str]:
    """What a reader of shards must not import: Git, miners, and the pipeline."""
    pipeline = {"pipeline", "execution", "mining", "curation", "publish", "plugins", "api"}
    roots = {name.split(".")[0] for name in imported(tree)}
    return roots & {"codeflow_miners", "codeflow_filters", "pygit2"} | of_codeflow(tree) & pipeline


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import codeflow", {""}),
        ("from codeflow import pipeline", {"pipeline"}),
        ("def f():\n    from codeflow.pipeline.run import run", {"pipeline"}),
        ("import codeflow.publish.shards as p", {"publish"}),
        ("from codeflow.records import TRIPLES\nimport codeflow_miners.acquire.git", {"records"}),
    ],
)
def test_the_reading_of_imports_sees_every_form(text: str, found: set[str]) -> None:
    assert of_codeflow(ast.parse(text)) == found


def test_the_reading_of_mining_sees_it() -> None:
    assert mining(ast.parse("from codeflow_miners import git\nfrom codeflow import mining")) == {
        "codeflow_miners",
        "mining",
    }


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_plugins_import_contracts_only(path: Path) -> None:
    assert of_codeflow(ast.parse(path.read_bytes())) <= FOR_PLUGINS


@pytest.mark.parametrize("path", LOOPCODER, ids=lambda p: p.name)
def test_loopcoder_imports_nothing_of_mining(path: Path) -> None:
    assert mining(ast.parse(path.read_bytes())) == set()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_relative_imports_and_no_file_over_400_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [name for name in imported(ast.parse(text)) if name.startswith(".")]
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text)), "a module says what it is"


def test_tests_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("codeflow.cli", "pyarrow numpy pygit2 ray torch rich"),
        ("codeflow.dataset.reader", "pygit2 ray torch rich codeflow_miners"),
        ("codeflow.dataset.verify", "pygit2 ray torch rich codeflow_miners"),
        ("codeflow.pipeline.run", "ray torch rich codeflow_miners"),
        ("codeflow_miners", "ray torch rich"),
    ],
)
def test_a_module_imports_no_more_than_it_needs(module: str, heavy: str, tmp_path: Path) -> None:
    program = f"import sys, {module}; sys.exit(repr(set({heavy.split()!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr.strip() == "set()"
