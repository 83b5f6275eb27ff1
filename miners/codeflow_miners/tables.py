"""The intermediate tables of mining, and how they become Python rows and back.

They live in `.work/` between the units of one run and are nobody else's interface. Ids and paths
are raw bytes here; they become text only when a triple is assembled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from codeflow.contracts import Commit
from codeflow.records import table_of
from codeflow_miners.changes.renames import FileRow
from codeflow_miners.changes.treediff import Side

COMMITS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("tree", pa.string(), nullable=False),
        pa.field("committed_at", pa.int64(), nullable=False),
        pa.field("position", pa.float64(), nullable=False),
        pa.field("author_kind", pa.string(), nullable=False),
        pa.field("parents", pa.int32(), nullable=False),
        pa.field("messages", pa.list_(pa.string()), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("paths", pa.int32()),
        pa.field("authored_at", pa.int64(), nullable=False),
        pa.field("author_id", pa.string()),
        pa.field("is_merge", pa.bool_(), nullable=False),
        pa.field("assisted", pa.bool_(), nullable=False),
    ]
)

# A file of a change. `change` is a step of the chain (-1: the files of its first commit, as
# additions) or, after pairs are chosen, the number of a pair.
CHANGES = pa.schema(
    [
        pa.field("change", pa.int32(), nullable=False),
        pa.field("old_path", pa.binary()),
        pa.field("old_mode", pa.binary()),
        pa.field("old_blob", pa.binary()),
        pa.field("new_path", pa.binary()),
        pa.field("new_mode", pa.binary()),
        pa.field("new_blob", pa.binary()),
    ]
)

# A chosen pair of commits: indices into COMMITS.
PAIRS = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("old", pa.int32(), nullable=False),
        pa.field("new", pa.int32(), nullable=False),
        pa.field("scores", pa.map_(pa.string(), pa.float32()), nullable=False),
    ]
)

# A branch that a merge of the chain brings in. `merge` and `base` are indices into COMMITS; its
# fork point and its commits are rows `first .. stop - 1` of a further table of COMMITS, `beside`.
# One that is left out has none of these, but a rule, and the ids of its ends as far as it has them.
#
# Where indices of both tables are needed, those of `beside` follow those of COMMITS. As step k of
# the chain leads from commit k to commit k + 1, so does change k beside it within a branch; before
# its fork point k + 1, change k leads there from the base. Behind all of them come the net changes.
BRANCHES = pa.schema(
    [
        pa.field("merge", pa.int32(), nullable=False),
        pa.field("base", pa.int32(), nullable=False),
        pa.field("first", pa.int32(), nullable=False),
        pa.field("stop", pa.int32(), nullable=False),
        pa.field("old", pa.string()),
        pa.field("new", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("detail", pa.string()),
    ]
)

# One file of one triple. `crosses` marks a path that is projected on one side and left out on the
# other, which ends the triple.
PATCHES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("pair", pa.int32(), nullable=False),
        pa.field("path", pa.binary(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("old_path", pa.string()),
        pa.field("new_path", pa.string()),
        pa.field("old_mode", pa.string()),
        pa.field("new_mode", pa.string()),
        pa.field("old_blob", pa.string()),
        pa.field("new_blob", pa.string()),
        pa.field("additions", pa.int32(), nullable=False),
        pa.field("deletions", pa.int32(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("generated", pa.bool_(), nullable=False),
        pa.field("vendored", pa.bool_(), nullable=False),
        pa.field("file_kind", pa.string(), nullable=False),
        pa.field("crosses", pa.bool_(), nullable=False),
        pa.field("patch_bytes", pa.int32(), nullable=False),
        pa.field("patch", pa.large_binary(), nullable=False),
    ]
)

# Blobs of a content unit that another unit writes.
FOREIGN = pa.schema([pa.field("blob", pa.binary(), nullable=False)])

# A side that content or name keeps out of the projection, and the rule that says why.
LEFT_OUT = pa.schema(
    [
        pa.field("path", pa.binary(), nullable=False),
        pa.field("mode", pa.binary(), nullable=False),
        pa.field("blob", pa.binary(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
    ]
)

# A surviving triple before its patches are joined: SNAPSHOTS rows are in the order of triples.
SNAPSHOTS = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("pair", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("old", pa.int32(), nullable=False),
        pa.field("new", pa.int32(), nullable=False),
        pa.field("scores", pa.map_(pa.string(), pa.float32()), nullable=False),
        pa.field("old_tree", pa.string(), nullable=False),
        pa.field("new_tree", pa.string(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("license_source", pa.string()),
    ]
)

# A step of a surviving triple of several commits: `row` is the triple's in SNAPSHOTS, `source` and
# `pair` say which rows of PATCHES it has, `commit` is where it leads, and `tree` that one's.
# `published` says that it is a triple of kind commit, too.
SNAPSHOT_STEPS = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("pair", pa.int32(), nullable=False),
        pa.field("commit", pa.int32(), nullable=False),
        pa.field("tree", pa.string(), nullable=False),
        pa.field("published", pa.bool_(), nullable=False),
    ]
)

STEPS = "steps"
"""PATCHES.source: `pair` is the number of a change on the chain or beside it."""
CHOSEN = "chosen"
"""PATCHES.source: `pair` is a row of PAIRS or, behind the last of these, so many more than the
number of a step of theirs whose patch is in no row of the other source."""


class Change(NamedTuple):
    """One row of CHANGES."""

    change: int
    row: FileRow


def read(path: str | Path) -> pa.Table:
    """An intermediate table, memory-mapped."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def read_all(paths: Iterable[str | Path], schema: pa.Schema) -> pa.Table:
    """Several tables of one schema as one."""
    tables = [read(path) for path in paths]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def commits(table: pa.Table) -> list[Commit]:
    """A table of COMMITS as records."""
    columns = [table.column(name).to_pylist() for name in COMMITS.names]
    return [
        Commit._make((*row[:6], tuple(row[6]), tuple(row[7]), *row[8:]))
        for row in zip(*columns, strict=True)
    ]


def changes_table(changes: Iterable[Change]) -> pa.Table:
    """Changes as a table of CHANGES."""
    none = (None, None)
    return table_of(
        [
            (number, row.old_path, *(row.old or none), row.new_path, *(row.new or none))
            for number, row in changes
        ],
        CHANGES,
    )


def changes(table: pa.Table) -> Iterator[Change]:
    """Rows of a table of CHANGES."""
    for batch in table.to_batches(max_chunksize=1 << 14):
        columns = [batch.column(k).to_pylist() for k in range(len(CHANGES))]
        for number, old_path, old_mode, old_blob, new_path, new_mode, new_blob in zip(
            *columns, strict=True
        ):
            old = Side(old_mode, old_blob) if old_mode is not None else None
            new = Side(new_mode, new_blob) if new_mode is not None else None
            yield Change(number, FileRow(old_path, old, new_path, new))
