"""Runs tests with unittest and reports each as `path::Class::method`, as pytest would name it."""

from __future__ import annotations

import importlib
import os
import sys
import unittest

from report import Report, describe, settle, shuffled


def main():
    report = Report()
    request = report.request
    settle(request)
    describe(request)
    import unittest.mock

    import witness

    seen = witness.Witness()
    sys.path[1:1] = request["roots"]
    tests = {}
    top = os.getcwd()  # which what is imported may change
    for path in request["tests"]:
        try:
            module = _module(top, path)
        except BaseException as error:
            report.say("broken", where=path, why=f"{type(error).__name__}: {error}")
            continue
        for test in _flat(unittest.defaultTestLoader.loadTestsFromModule(module)):
            name = f"{path}::{type(test).__name__}::{test._testMethodName}"
            seen.remember(name, getattr(getattr(test, test._testMethodName), "__func__", None))
            tests[name] = test
    failed = False
    changed = None
    for name in shuffled(tests, request["seed"]):
        result = _run(tests[name])
        changed = changed or seen.changed()
        outcome, why = _outcome(result)
        failed = failed or outcome == "failed"
        report.say("test", id=name, outcome=outcome, why=why)
    if changed:
        report.say("changed", what=changed)
    report.end(1 if failed else 0)


def _module(top, path):
    """A test file under the name that its place gives it, so that relative imports work."""
    folder, name = os.path.split(path[:-3])
    while folder and os.path.exists(os.path.join(top, folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = f"{package}.{name}"
    root = os.path.join(top, folder) if folder else top
    if root not in sys.path:
        sys.path.insert(1, root)
    module = importlib.import_module(name)
    if os.path.realpath(module.__file__) != os.path.realpath(os.path.join(top, path)):
        raise ImportError(f"{name} is {module.__file__}")
    return module


def _flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _flat(test)
        else:
            yield test


def _run(test):
    """One test with the fixtures of its class and module, which a suite knows how to run."""
    result = unittest.TestResult()
    unittest.TestSuite([test]).run(result)
    return result


def _outcome(result):
    if result.errors or result.failures or result.unexpectedSuccesses:
        text = (result.errors + result.failures or [(None, "passed, but should not")])[0][1]
        return "failed", text.strip()[-500:]
    if result.expectedFailures:
        return "xfailed", ""
    if result.skipped:
        return "skipped", ""
    return ("passed", "") if result.testsRun else ("failed", "did not run")


if __name__ == "__main__":
    main()
