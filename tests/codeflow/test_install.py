"""`make demo` installs what the demo needs and nothing of what only tests need."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from small_history import ROOT, codeflow, environment, small_history

FOR_TESTS = ("mypy", "moto", "boto3", "datasets", "duckdb", "polars", "pandas", "pytest", "ruff")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def closure(extra: str) -> set[str]:
    """Names of all packages that `.[extra]` installs; ours by the tree, others' as installed."""
    waiting = [Requirement(text) for text in PROJECT["dependencies"]]
    waiting += [Requirement(text) for text in PROJECT["optional-dependencies"][extra]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        if wanted.name == PROJECT["name"]:
            for extra in wanted.extras:
                waiting += map(Requirement, PROJECT["optional-dependencies"][extra])
            continue
        for text in metadata.requires(wanted.name) or ():
            inner = Requirement(text)
            choices = [{"extra": extra} for extra in (*wanted.extras, "")]
            if inner.marker is None or any(inner.marker.evaluate(choice) for choice in choices):
                waiting.append(inner)
    return {name for name, _ in seen}


def made(target: str, place: Path) -> str:
    words = ["make", "-n", target, f"VENV={place}/venv", f"PYTHON={sys.executable}"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_demo_installs_nothing_that_only_tests_need() -> None:
    demo, dev = closure("demo"), closure("dev")
    assert demo >= {"torch", "tokenizers", "safetensors", "pypi-simple", "pygit2"}
    assert not demo.intersection(FOR_TESTS)
    assert dev >= {*demo, *FOR_TESTS}


def test_each_target_installs_its_own(tmp_path: Path) -> None:
    assert "-e '.[demo]'" in made("demo", tmp_path)
    assert ".[dev]" not in made("demo", tmp_path)
    assert "-e '.[dev]'" in made("test", tmp_path)
    assert ".[demo]" not in made("test", tmp_path)


def test_who_has_made_the_one_need_not_make_it_for_the_other(tmp_path: Path) -> None:
    """The tests' installation holds the demo's and the docs'; the demo's holds neither."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "pip").touch()
    (tmp_path / "venv" / ".installed-demo").touch()
    assert "pip install" not in made("demo", tmp_path)
    assert "-e '.[dev]'" in made("test", tmp_path)
    script = made("test", tmp_path)
    [touched] = [line for line in script.splitlines() if line.startswith("touch ")]
    assert {Path(word).name for word in touched.split()[1:]} == {
        ".installed-demo",
        ".installed-dev",
        ".installed-docs",
    }


BLOCKER = """
import sys
class Hiding:
    def __init__(self, finder):
        self._finder = finder
    def __getattr__(self, name):
        return getattr(self._finder, name)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return self._finder.find_spec(name, path, target)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""
# What lies in `loopcoder/remote/` is copied into exports, for transformers to import.
IMPORT_ALL = """
import importlib, pkgutil, codeflow, codeflow_miners, codeflow_filters
for package in (codeflow, codeflow_miners, codeflow_filters):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__") and ".remote." not in module.name:
            importlib.import_module(module.name)
"""


def test_nothing_of_the_project_imports_what_the_demo_lacks(tmp_path: Path) -> None:
    demo = closure("demo")
    blocked = {
        module
        for module, packages in metadata.packages_distributions().items()
        if not {canonicalize_name(package) for package in packages} & demo
        and not module.startswith(("codeflow", "_", "pip", "setuptools", "pkg_resources"))
    }
    assert blocked >= {"mypy", "datasets", "duckdb", "polars", "pytest"}
    (tmp_path / "sitecustomize.py").write_text(f"BLOCKED = {sorted(blocked)!r}\n{BLOCKER}")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        env=environment(tmp_path, ROOT / "examples"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    small_history(tmp_path / "one.git", 40)
    for words in (
        ("mine", "--repos", "one.git", "--out", "data", "--workers", "1"),
        ("verify", "data"),
        ("report", "data"),
    ):
        ran = codeflow(*words, cwd=tmp_path, plugins=(tmp_path,))
        assert ran.returncode == 0, ran.stderr
