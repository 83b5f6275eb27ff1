"""A task: what a solver is given, what it is judged by, and where both come from.

The columns of SWE-bench come first, under its names and with its meaning, then ours. The statuses
of tests are lists here; `export` writes them as SWE-bench does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

TASKS: Final = pa.schema(
    [
        pa.field("instance_id", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("base_commit", pa.string(), nullable=False),
        pa.field("patch", pa.large_string(), nullable=False),
        pa.field("test_patch", pa.large_string(), nullable=False),
        pa.field("problem_statement", pa.string(), nullable=False),
        pa.field("hints_text", pa.string(), nullable=False),
        pa.field("created_at", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("FAIL_TO_PASS", pa.list_(pa.string()), nullable=False),
        pa.field("PASS_TO_PASS", pa.list_(pa.string()), nullable=False),
        pa.field("environment_setup_commit", pa.string(), nullable=False),
        pa.field("triple_id", pa.string(), nullable=False),
        pa.field("repo_id", pa.string(), nullable=False),
        pa.field("old_tree", pa.string(), nullable=False),
        pa.field("new_tree", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("environment", pa.string(), nullable=False),
        pa.field("runner", pa.string(), nullable=False),
        pa.field("test_files", pa.list_(pa.string()), nullable=False),
        pa.field("roots", pa.list_(pa.string()), nullable=False),
        pa.field("ini", pa.string(), nullable=False),
        pa.field("metadata", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("flaky", pa.list_(pa.string()), nullable=False),
        pa.field("cpu_s", pa.float64(), nullable=False),
        pa.field("cpu_limit_s", pa.float64(), nullable=False),
        pa.field("steps", pa.int32(), nullable=False),
    ]
)

REJECTED: Final = pa.schema(
    [
        pa.field("triple_id", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("base_commit", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("cpu_s", pa.float64(), nullable=False),
    ]
)
"""The ledger of a set of tasks: a row for each triple that did not become one."""


@dataclass(frozen=True)
class Task:
    """A row of `TASKS`; `fail_to_pass` and `pass_to_pass` are its columns in capitals."""

    instance_id: str
    repo: str
    base_commit: str
    patch: str
    test_patch: str
    problem_statement: str
    hints_text: str
    created_at: str
    version: str
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    environment_setup_commit: str
    triple_id: str
    repo_id: str
    old_tree: str
    new_tree: str
    split: str
    environment: str
    runner: str
    test_files: tuple[str, ...]
    roots: tuple[str, ...]
    ini: str
    metadata: Mapping[str, str]
    flaky: tuple[str, ...]
    cpu_s: float
    cpu_limit_s: float
    steps: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Task:
        """A task from a row as Arrow gives it."""
        values = {name.lower(): _plain(row[name]) for name in TASKS.names}
        return cls(**{**values, "metadata": dict(row["metadata"])})

    @property
    def row(self) -> list[Any]:
        """Its values in the order of `TASKS`."""
        values = [getattr(self, name.lower()) for name in TASKS.names]
        return [list(v.items()) if isinstance(v, Mapping) else v for v in values]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
