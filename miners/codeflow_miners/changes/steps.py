"""History unit: the file changes of a range of steps, from trees alone.

Contents are read only to find renames among similar files, in the few steps that both delete and
add some, within the bound of `renames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.config import Limits
from codeflow.contracts import Sink
from codeflow.errors import LimitExceededError
from codeflow_miners import tables
from codeflow_miners.changes.renames import FileRow, pair_renames
from codeflow_miners.changes.treediff import TreeDiffer
from codeflow_miners.deadline import Deadline
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.tables import CHANGES, Change

STEPS_PER_UNIT = 4096
_ROWS_PER_BATCH = 1 << 16


@dataclass(frozen=True)
class StepsArguments:
    """Steps `first .. stop - 1` of the commits in table `commits`.

    With `base`, also the files of the commit before them, as additions of change -1.
    """

    git_dir: str
    commits: str
    first: int
    stop: int
    base: bool
    limits: Limits


def read_steps(arguments: StepsArguments, sink: Sink) -> dict[str, Any]:
    """Writes `changes`. Returns the number of steps and of rows.

    Raises:
        LimitExceededError: `max-tree-files`.
    """
    deadline = Deadline(arguments.limits.unit_seconds)
    trees = [
        bytes.fromhex(tree) for tree in tables.read(arguments.commits).column("tree").to_pylist()
    ]
    reader = ObjectReader(Path(arguments.git_dir))
    differ = TreeDiffer(reader)
    limit = arguments.limits.max_tree_files
    rows = 0
    with sink.table("changes", CHANGES) as writer:
        found: list[Change] = []
        if arguments.base:
            for change in differ.files(trees[arguments.first]):
                found.append(Change(-1, FileRow(None, None, change.path, change.new)))
            if len(found) > limit:
                raise LimitExceededError(
                    "max-tree-files",
                    f"{len(found)} files in one commit; limits.max_tree_files is {limit}",
                )
        for step in range(arguments.first, arguments.stop):
            deadline.check()
            changes = differ.changes(trees[step], trees[step + 1])
            if len(changes) > limit:
                raise LimitExceededError(
                    "max-tree-files",
                    f"{len(changes)} files in one change; limits.max_tree_files is {limit}",
                )
            for row in pair_renames(
                changes, arguments.limits.rename_candidates, reader.blob, reader.blob_size
            ):
                found.append(Change(step, row))
            if len(found) >= _ROWS_PER_BATCH:
                rows += len(found)
                writer.write(tables.changes_table(found))
                found = []
        rows += len(found)
        writer.write(tables.changes_table(found))
    return {"steps": arguments.stop - arguments.first, "rows": rows}
