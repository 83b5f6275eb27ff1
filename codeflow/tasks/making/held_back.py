"""Benchmarks that tasks must not give away: their repositories at their base commits, and patches.

A file holds an instance a line, as SWE-bench publishes them (`repo`, `base_commit`, `patch`,
`instance_id`). A task is left out when it starts from an instance's commit, or makes the same
change. Its repository alone is no reason: what is evaluated there is not what is trained here, and
`codeflow tasks show` names the repository, for those who want it stricter.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codeflow.config import read_text
from codeflow.errors import UsageError
from codeflow.tasks.task import Task


@dataclass(frozen=True)
class HeldBack:
    """What belongs to benchmarks, by instance."""

    commits: dict[str, str]
    changes: dict[frozenset[str], str]

    @classmethod
    def read(cls, paths: Sequence[str]) -> HeldBack:
        """Reads files of instances. Raises UsageError: names the file and line."""
        commits: dict[str, str] = {}
        changes: dict[frozenset[str], str] = {}
        for path in paths:
            for number, line in enumerate(read_text(Path(path), "benchmark").splitlines(), 1):
                if not line.strip():
                    continue
                try:
                    values = json.loads(line)
                    name = str(values.get("instance_id", f"{path}:{number}"))
                    commit, patch = values["base_commit"], values.get("patch", "")
                except (ValueError, KeyError, AttributeError):
                    raise UsageError(
                        f"{path}:{number}: no instance; a JSON object with base_commit is needed"
                    ) from None
                commits[str(commit)] = name
                if lines := _lines(str(patch)):
                    changes[lines] = name
        return cls(commits, changes)

    def gives_away(self, task: Task) -> str | None:
        """The instance that a task gives away."""
        return self.commits.get(task.base_commit) or self.changes.get(_lines(task.patch))


def _lines(patch: str) -> frozenset[str]:
    """The changed lines of a patch without their white space, whatever stands around them."""
    changed = (line for line in patch.splitlines() if line[:1] in "+-" and line[:3] not in _NAMES)
    return frozenset(line[0] + "".join(line[1:].split()) for line in changed if line[1:].strip())


_NAMES = ("+++", "---")
