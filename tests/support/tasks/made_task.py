"""A task small enough to be judged hundreds of times, made by hand, without mining or an index."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from codeflow.git.apply import File, apply_patch
from codeflow.sandbox.choose import find_sandbox
from codeflow.tasks.grading.environment import Environment
from codeflow.tasks.grading.grade import Verdict, grade
from codeflow.tasks.task import Task
from codeflow.tasks.trees import edited, tree_of

OLD: dict[str, File] = {
    "pyproject.toml": ("100644", b'[project]\nname = "calc"\nversion = "1"\n'),
    "src/calc/__init__.py": ("100644", b"from calc.core import add, scale\n"),
    "src/calc/core.py": (
        "100644",
        b"def add(a, b):\n    return a + b\n\n\ndef scale(values, by):\n    return values\n",
    ),
    "tests/test_core.py": (
        "100644",
        b"from calc import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n",
    ),
    "README.md": ("100644", b"# calc\n"),
}

TESTS = b"""\
import calc
from calc import add


def test_add():
    assert add(2, 3) == 5


def test_scale():
    assert calc.scale([1, 2], 3) == [3, 6]


def test_scale_of_nothing():
    assert calc.scale([], 3) == []
    assert calc.scale([1], 0) == [0]
"""

UNITTESTS = b"""\
import unittest

import calc


class TestCore(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(2, 3), 5)

    def test_scale(self):
        self.assertEqual(calc.scale([1, 2], 3), [3, 6])

    def test_scale_of_nothing(self):
        self.assertEqual(calc.scale([1], 0), [0])
"""

CORE = OLD["src/calc/core.py"][1].decode()
RIGHT = CORE.replace("    return values\n", "    return [value * by for value in values]\n")


def patch(changes: Mapping[str, str | None], old: Mapping[str, File] = OLD) -> str:
    """A patch in git's form that writes whole files, and removes those that are None."""
    parts = []
    for path, text in sorted(changes.items()):
        before = old[path][1].decode() if path in old else None
        header = f"diff --git a/{path} b/{path}\n"
        if before is None:
            header += "new file mode 100644\n"
        elif text is None:
            header += "deleted file mode 100644\n"
        sides = (before, text)
        names = [
            f"{side}/{path}" if there is not None else "/dev/null"
            for side, there in zip("ab", sides, strict=True)
        ]
        lines = [[] if s is None else s.splitlines(keepends=True) for s in sides]
        ranges = [f"{min(1, len(side))},{len(side)}" for side in lines]
        if not lines[0] and not lines[1]:
            parts.append(header)
            continue
        body = f"--- {names[0]}\n+++ {names[1]}\n@@ -{ranges[0]} +{ranges[1]} @@\n"
        for sign, side in zip("-+", lines, strict=True):
            for line in side:
                end = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
                body += f"{sign}{line}{end}"
        parts.append(header + body)
    return "".join(parts)


def with_ids(text: str, old: Mapping[str, File]) -> str:
    """The same patch with the `index` lines that a mined one has."""
    from codeflow.git.objects import blob_id

    new = _applied(text, old)
    parts = []
    for part in text.split("diff --git ")[1:]:
        path = part.split(" b/")[0].removeprefix("a/")
        ids = [
            blob_id(side[path][1]) if path in side else "0" * 40 for side in (dict(old), dict(new))
        ]
        kept = " 100644" if path in old and path in new else ""
        at = part.index("--- ")
        line = f"index {ids[0]}..{ids[1]}{kept}\n"
        parts.append(f"diff --git {part[:at]}{line}{part[at:]}")
    return "".join(parts)


def _applied(text: str, old: Mapping[str, File]) -> dict[str, File]:
    from codeflow.git.apply import changed_files
    from codeflow.git.patch import parse_patch

    return edited(old, changed_files(parse_patch(text.encode(), with_ids=False), old))


def made_task(runner: str = "pytest") -> Task:
    """A task: `scale` has to multiply."""
    tests = UNITTESTS if runner == "unittest" else TESTS
    test_patch = with_ids(patch({"tests/test_core.py": tests.decode()}), OLD)
    gold = with_ids(patch({"src/calc/core.py": RIGHT}), OLD)
    new = apply_patch(gold.encode(), apply_patch(test_patch.encode(), OLD))
    within = "tests/test_core.py::" + ("TestCore::" if runner == "unittest" else "")
    return Task(
        instance_id="calc__calc-1",
        repo="calc/calc",
        base_commit="1" * 40,
        patch=gold,
        test_patch=test_patch,
        problem_statement="scale multiplies each value",
        hints_text="",
        created_at="2024-01-01T00:00:00Z",
        version="1",
        fail_to_pass=(f"{within}test_scale", f"{within}test_scale_of_nothing"),
        pass_to_pass=(f"{within}test_add",),
        environment_setup_commit="1" * 40,
        triple_id="2" * 32,
        repo_id="calc",
        old_tree=tree_of(OLD),
        new_tree=tree_of(new),
        split="train",
        environment="here",
        runner=runner,
        test_files=("tests/test_core.py",),
        roots=("src", ""),
        ini="[pytest]\n",
        metadata={},
        flaky=(),
        cpu_s=1.0,
        cpu_limit_s=20.0,
        steps=1,
    )


def here() -> Environment:
    """The interpreter of these tests, and the packages among which its pytest is."""
    site = Path(pytest.__file__).parent.parent
    return Environment("here", f"{sys.base_prefix}/bin/python3", str(site), sys.base_prefix)


def judged(text: str, task: Task | None = None) -> Verdict:
    """The verdict on a patch."""
    return grade(task or made_task(), OLD, text, here(), find_sandbox())
