"""A history of which it is known what each change is as a task: a package of functions, a commit
each, with tests in unittest, and a dependency that a wheel in a folder satisfies."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import codeflow
from gitdag import Entry, Repo

Files = dict[str | bytes, str | bytes | Entry | None]
COMMITS = 20
PROJECT = '[project]\nname = "calculator"\nversion = "0.1"\ndependencies = ["tinydep>=1"]\n'
NOT_TASKS = {
    5: "no-fail-to-pass",  # tests for what works
    6: "no-test-passes",  # tests that cannot be imported
    7: "flaky",  # a test that passes now and then
    8: "no-statement",
}
"""Commits that change source and tests, and are no tasks."""
UNTOLD = 9
"""A commit whose tests import a package that nothing in the project names."""


def calculator(path: Path) -> Repo:
    """A bare repository; commit k adds the function `f<k>`, which adds k to its argument."""
    repo = Repo.create(path)
    repo.commit(
        {"pyproject.toml": PROJECT, "calculator/__init__.py": "", "tests/__init__.py": ""},
        message="Begin",
    )
    for k in range(1, COMMITS):
        repo.commit({**_step(k), "notes.md": f"{k}\n"}, message=_message(k))
    return repo


def _message(k: int) -> str:
    if NOT_TASKS.get(k) == "no-statement":
        return "x\n"
    return f"Add the function f{k} to the package\n\nFor sums.\n"


def _step(k: int) -> Files:
    code = f"import tinydep\n\n\ndef f{k}(x):\n    return x + {k} * tinydep.ONE\n"
    test = _test(k, f"        self.assertEqual(f{k}(1), {k + 1})\n")
    rule = NOT_TASKS.get(k)
    if k == UNTOLD:
        test = "import tinyextra\n" + test
    if rule == "no-fail-to-pass":
        test = _test(k, "        pass\n").replace(f"from calculator.f{k} import f{k}\n", "")
    elif rule == "no-test-passes":
        test = "import nosuch\n" + test
    elif rule == "flaky":
        # by the seed of hashes: 0, 1 and 2 are those of the runs
        line = "        import os\n        self.assertEqual(os.environ['PYTHONHASHSEED'], '0')\n"
        test = _test(k, line)
    return {f"calculator/f{k}.py": code, f"tests/test_f{k}.py": test}


def _test(k: int, body: str) -> str:
    return (
        f"import unittest\n\nfrom calculator.f{k} import f{k}\n\n\n"
        f"class TestF{k}(unittest.TestCase):\n    def test_f{k}(self):\n{body}"
    )


def mined(folder: Path) -> Path:
    """The calculator, mined; the dataset folder."""
    repo = calculator(folder / "calculator.git")
    out = folder / "data"
    codeflow.mine([repo.path], out, kinds=["commit"], window="0:1", until="mine")
    return out


def wheelhouse(folder: Path) -> dict[str, str]:
    """A folder with two wheels, and the environment in which uv knows nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tinydep", "tinyextra"):
        _wheel(folder, name)
    return {
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(folder),
        "UV_CACHE_DIR": str(folder / "cache"),
    }


def _wheel(folder: Path, name: str) -> None:
    info = f"{name}-1.0.dist-info"
    contents = {
        f"{name}.py": "ONE = 1\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in contents.items():
            wheel.writestr(zipfile.ZipInfo(path, (2000, 1, 1, 0, 0, 0)), text)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
