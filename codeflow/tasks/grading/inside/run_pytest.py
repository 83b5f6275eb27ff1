"""Runs tests with pytest and reports each by its node id.

Only what is asked for is loaded: no plug-in by itself, no configuration but the one given. A test
passed when its three phases did and its witness saw nothing; an expected failure that failed is
`xfailed`, which is no pass.
"""

from __future__ import annotations

import os
import sys

from report import Report, describe, settle, shuffled


class Plugin:
    """What listens to pytest."""

    def __init__(self, report, witness):
        self._report, self._witness = report, witness
        self._seed = report.request["seed"]
        self._outcome = {}
        self._changed = None

    def pytest_collection_modifyitems(self, items):
        """The order of this run; the tests as they were collected."""
        by_id = {}
        for item in items:
            by_id.setdefault(item.nodeid, []).append(item)
            self._witness.remember(item.nodeid, getattr(item, "function", None))
        items[:] = [item for name in shuffled(by_id, self._seed) for item in by_id[name]]

    def pytest_collectreport(self, report):
        """What cannot be collected."""
        if report.failed:
            self._report.say("broken", where=report.nodeid, why=str(report.longrepr)[-1500:])

    def pytest_runtest_logreport(self, report):
        """One phase of a test."""
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xpassed" if outcome == "passed" else "xfailed"
        if report.when == "setup":
            self._outcome[report.nodeid] = "passed"
        if outcome != "passed":
            before = self._outcome.get(report.nodeid)
            if before in (None, "passed"):
                self._outcome[report.nodeid] = outcome
        if report.when == "teardown":
            self._tell(report)

    def _tell(self, report):
        self._changed = self._changed or self._witness.changed()
        outcome = self._outcome.pop(report.nodeid, "failed")
        why = ""
        if outcome == "failed" and self._seen_failure:
            why = self._seen_failure
        self._seen_failure = ""
        self._report.say("test", id=report.nodeid, outcome=outcome, why=why)

    _seen_failure = ""

    def pytest_runtest_makereport(self, item, call):
        """Keeps the end of a failure for people, in the order in which pytest asks."""
        if call.excinfo is not None and call.excinfo.typename != "Skipped":
            self._seen_failure = call.excinfo.exconly(tryshort=True)[-500:]

    def finish(self):
        """Says what the witness saw."""
        changed = self._changed or self._witness.changed()
        if changed:
            self._report.say("changed", what=changed)


def main():
    report = Report()
    request = report.request
    settle(request)
    describe(request)
    import unittest.mock  # noqa: F401 - before anything can stand in for it

    import _pytest.assertion.util  # noqa: F401
    import pytest
    import witness

    plugins = list(request["plugins"])
    for name in plugins:
        __import__(name)
    sys.path[1:1] = request["roots"]
    with open("/tmp/pytest.ini", "w", encoding="utf-8") as stream:
        stream.write(request["ini"])
    words = ["-q", "-c", "/tmp/pytest.ini", "--rootdir", os.getcwd(), "--confcutdir", os.getcwd()]
    words += ["-p", "no:cacheprovider", "--continue-on-collection-errors", "--tb=short"]
    for name in plugins:
        words += ["-p", name]
    plugin = Plugin(report, witness.Witness())
    status = pytest.main([*words, *request["tests"]], plugins=[plugin])
    plugin.finish()
    report.end(int(status))


if __name__ == "__main__":
    main()
