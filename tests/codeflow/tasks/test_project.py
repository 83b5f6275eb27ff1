"""What a project says of itself, and how a change is split: by example, nothing is run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from codeflow.git.apply import File
from codeflow.tasks.making import uv
from codeflow.tasks.making.project import allows, metadata_of, read_project


def files(texts: dict[str, str]) -> dict[str, File]:
    return {path: ("100644", text.encode()) for path, text in texts.items()}


def test_a_project_of_today() -> None:
    project = read_project(
        files(
            {
                "pyproject.toml": """
[project]
name = "shop"
version = "1.2"
requires-python = ">=3.9"
dependencies = ["click>=8", "tomli; python_version < '3.11'"]
scripts = {shop = "shop.cli:main"}
[project.optional-dependencies]
dotenv = ["python-dotenv"]
test = ["pytest", "hypothesis", "shop[dotenv]", "ruff"]
[dependency-groups]
tests = ["freezegun==1.2", {include-group = "other"}]
[tool.pytest.ini_options]
addopts = "-x --cov"
testpaths = ["tests"]
markers = ["slow: takes long"]
xfail_strict = true
filterwarnings = ["error", "ignore::UserWarning"]
""",
                "src/shop/__init__.py": "",
            }
        )
    )
    assert (project.name, project.version, project.python) == ("shop", "1.2", ">=3.9")
    own, more = project.requirements[: project.needed], project.requirements[project.needed :]
    assert own == ("click>=8", 'tomli; python_version < "3.11"')
    assert more == ("pytest", "hypothesis", "freezegun")
    assert project.roots == ("src", "")
    assert project.ini == (
        "[pytest]\nmarkers =\n    slow: takes long\nxfail_strict =\n    true\n"
        "filterwarnings =\n    ignore::UserWarning\n"
    )
    assert metadata_of(project, "/m") == {
        "/m/shop-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.2\n",
        "/m/shop-1.2.dist-info/entry_points.txt": "[console_scripts]\nshop = shop.cli:main\n",
    }


def test_a_project_of_old() -> None:
    project = read_project(
        files(
            {
                "setup.py": """
import re
from setuptools import setup
NEEDS = ['six>=1.5']
with open('shop/__init__.py') as f:
    version = re.search('x', f.read())
setup(name='shop', version=version, install_requires=NEEDS, tests_require=['mock'],
      extras_require={'dev': ['pytest>=3', 'sphinx'], 'x': compute()}, python_requires='>=2.7')
""",
                "setup.cfg": "[tool:pytest]\nnorecursedirs = build\naddopts = -q\n",
                "tox.ini": "[testenv]\ndeps =\n    pytest\n    py27: unittest2\n    -rreq.txt\n",
                "requirements.txt": "six==1.9  # pinned\n-e .\nhttps://x.org/y.zip\nnose\n",
                "shop/__init__.py": "__version__ = '0.9.1'\n",
            }
        )
    )
    assert (project.name, project.version, project.python) == ("shop", "0.9.1", ">=2.7")
    assert project.requirements == ("six>=1.5", "pytest>=3", "mock", "nose")
    assert (project.needed, project.roots) == (1, ("",))
    assert project.ini == "[pytest]\nnorecursedirs =\n    build\n"


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"pyproject.toml": "[broken"},
        {"setup.py": "def broken(:\n"},
        {"setup.cfg": "no section\n"},
        {"setup.py": "setup(name=name, install_requires=read())\n"},
    ],
)
def test_what_cannot_be_read_says_nothing(texts: dict[str, str]) -> None:
    project = read_project(files(texts))
    assert (project.name, project.version, project.requirements) == ("project", "0", ())
    assert project.ini == "[pytest]\n"


def test_versions_that_a_project_admits() -> None:
    assert allows("", "3.8")
    assert allows(">=3.8", "3.8")
    assert allows(">=3.8.1", "3.8")
    assert not allows(">=3.9", "3.8")
    assert not allows("<3.12", "3.12")
    assert allows("broken", "3.8")


def test_the_interpreter_of_a_date() -> None:
    versions = [uv.Interpreter(v, "", "") for v in ("3.9", "3.11", "3.12")]

    def at(year: int, month: int) -> str:
        return uv.interpreter_of(datetime(year, month, 1, tzinfo=UTC), versions).version

    assert at(2015, 1) == "3.9"  # the oldest that is here
    assert at(2022, 12) == "3.9"  # 3.11 was a month old
    assert at(2023, 6) == "3.11"
    assert at(2030, 1) == "3.12"


@pytest.mark.slow  # uv asks each
def test_this_machine_has_an_interpreter() -> None:
    found = uv.interpreters()
    assert found, "install one: uv python install 3.12"
    assert len({i.version for i in found}) == len(found)
