"""What a runner in the sandbox said of each test, and whether it can be believed.

A line is a JSON list: a number used once, the count of the line, its kind and values. Lines that
are not so were not written by the runner; a count that is missing or there twice tells the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codeflow.sandbox.job import Outcome


@dataclass(frozen=True)
class Results:
    """What was said.

    Attributes:
        tests: the outcome of each test by id: passed, failed, skipped, xfailed, xpassed.
        reasons: of those that failed, the end of the error.
        broken: files that could not be collected, with the reason.
        forged: what makes it unbelievable, in one line; None when nothing does.
        ended: whether the runner came to its end, and the process with its status.
    """

    tests: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    forged: str | None = None
    ended: bool = False

    def passed(self, name: str) -> bool:
        """Whether a test ran and passed; one that is absent did not."""
        return self.tests.get(name) == "passed"


def read_results(outcome: Outcome, nonce: str) -> Results:
    """What the lines of an outcome say."""
    tests: dict[str, str] = {}
    reasons: dict[str, str] = {}
    broken: dict[str, str] = {}
    forged = "more results than can be read" if outcome.results.left_out else None
    status: int | None = None
    lines = outcome.results.text.split(b"\n")
    if lines.pop():
        forged = forged or "a line without its end"
    for number, line in enumerate(lines, 1):
        said = _said(line, nonce, number)
        if said is None or status is not None:
            forged = forged or "a line that the runner did not write"
            break
        kind, values = said
        if kind == "test":
            if values["id"] in tests:
                forged = forged or f"{values['id']}: two results"
            tests[values["id"]] = values["outcome"]
            if values["why"]:
                reasons[values["id"]] = values["why"]
        elif kind == "broken":
            broken[values["where"]] = values["why"]
        elif kind == "changed":
            forged = forged or f"{values['what']} was replaced while the tests ran"
        else:
            status = values["status"]
    ended = outcome.end == "exit" and status is not None and status == outcome.exit_status
    return Results(tests, reasons, broken, forged, ended)


def _said(line: bytes, nonce: str, number: int) -> tuple[str, dict[str, Any]] | None:
    try:
        found, count, kind, values = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return None
    if found != nonce or count != number or not isinstance(values, dict):
        return None
    shapes = {"test": {"id", "outcome", "why"}, "broken": {"where", "why"}}
    shapes |= {"changed": {"what"}, "end": {"status"}}
    wanted = shapes.get(kind) if isinstance(kind, str) else None
    return (kind, values) if wanted == values.keys() else None
