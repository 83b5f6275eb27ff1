"""A filter of your own, in a minute.

    codeflow mine --repos list.txt --out data --filter default examples/custom_filter.py:tests_too

or from Python, where functions go in as they are:

    codeflow.mine(repos=["../flask"], out="data", filters=["default", tests_too])
"""

from __future__ import annotations

from codeflow import Triple, Verdict, drop, keep


def tests_too(triple: Triple) -> Verdict:
    """Changes that come with a change to a test."""
    tests = [file.path for file in triple.files if "test" in file.path.lower()]
    if not tests:
        return drop("no-tests")
    lines = sum(file.additions for file in triple.files if file.path in tests)
    return keep(scores={"test_lines": lines})
