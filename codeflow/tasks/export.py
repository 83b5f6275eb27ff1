"""Tasks in the form of SWE-bench, for its own tools: one JSON object a line.

Its columns hold the statuses as JSON text. Ours that it does not know follow under their names;
what only the folder can use (environments) stays behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from codeflow.storage.files import replacing
from codeflow.tasks.task import Task

_THEIRS: Final = (
    "instance_id",
    "repo",
    "base_commit",
    "patch",
    "test_patch",
    "problem_statement",
    "hints_text",
    "created_at",
    "version",
    "environment_setup_commit",
)
_OURS: Final = ("triple_id", "old_tree", "new_tree", "split", "runner", "cpu_limit_s")


def write_swebench(tasks: Iterable[Task], path: Path) -> int:
    """Writes instances; how many."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for task in tasks:
            values = {name: getattr(task, name) for name in _THEIRS}
            values["FAIL_TO_PASS"] = json.dumps(task.fail_to_pass)
            values["PASS_TO_PASS"] = json.dumps(task.pass_to_pass)
            values |= {name: getattr(task, name) for name in _OURS}
            values["test_files"] = list(task.test_files)
            values["flaky"] = list(task.flaky)
            stream.write(json.dumps(values) + "\n")
            count += 1
    return count
