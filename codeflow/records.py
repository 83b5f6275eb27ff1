"""The records that cross a boundary, each beside the Arrow schema that stores it.

Nothing else in the project names the columns of a published table. Ids are lower-case hex
strings, paths are UTF-8 strings with `/`, modes are Git's canonical octal strings, times are UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa

SCHEMA_VERSION: Final = 3


def table_of(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Rows, each in the order of the schema's fields, as a table; no rows give an empty one."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


FILE_MODE: Final = "100644"
EXECUTABLE_MODE: Final = "100755"
SYMLINK_MODE: Final = "120000"
TREE_MODE: Final = "40000"


class FileChange(NamedTuple):
    """One file of a triple: its two sides and what lies between them.

    `status` is Git's letter: A added, D deleted, M modified (content or mode), R renamed (with or
    without an edit), T type changed between file and symlink. The side that does not exist has
    `None` for path, mode and blob. `additions` and `deletions` are in lines.
    """

    status: str
    old_path: str | None
    new_path: str | None
    old_mode: str | None
    new_mode: str | None
    old_blob: str | None
    new_blob: str | None
    additions: int
    deletions: int
    language: str | None
    generated: bool
    vendored: bool
    file_kind: str

    @property
    def path(self) -> str:
        """The path after the change; for a deleted file the path it had."""
        path = self.new_path if self.new_path is not None else self.old_path
        assert path is not None
        return path


FILE_CHANGE = pa.struct(
    [
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
        # source, test, docs, configuration, data or generated: what the file is for
        pa.field("file_kind", pa.string(), nullable=False),
    ]
)

# pairs, and not a map: datasets of Hugging Face has no maps, and load_dataset would fail
SCORES = pa.list_(
    pa.struct(
        [
            pa.field("key", pa.string(), nullable=False),
            pa.field("value", pa.float32(), nullable=False),
        ]
    )
)
TIMESTAMP = pa.timestamp("ms", tz="UTC")  # Parquet has no coarser unit

TRIPLES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("repo_url", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("old_commit", pa.string(), nullable=False),
        pa.field("new_commit", pa.string(), nullable=False),
        pa.field("commits", pa.list_(pa.string()), nullable=False),
        pa.field("messages", pa.list_(pa.list_(pa.string())), nullable=False),
        pa.field("old_tree", pa.string(), nullable=False),
        pa.field("new_tree", pa.string(), nullable=False),
        pa.field("patch", pa.large_string(), nullable=False),
        pa.field("files", pa.list_(FILE_CHANGE), nullable=False),
        pa.field("language", pa.string()),
        pa.field("additions", pa.int32(), nullable=False),
        pa.field("deletions", pa.int32(), nullable=False),
        pa.field("position", pa.float64(), nullable=False),
        pa.field("window_by", pa.string(), nullable=False),
        pa.field("old_committed_at", TIMESTAMP, nullable=False),
        pa.field("committed_at", TIMESTAMP, nullable=False),
        pa.field("authored_at", TIMESTAMP, nullable=False),
        pa.field("author_kind", pa.string(), nullable=False),
        pa.field("assisted", pa.bool_(), nullable=False),
        pa.field("author_id", pa.string()),
        pa.field("is_merge", pa.bool_(), nullable=False),
        pa.field("license", pa.string()),
        pa.field("license_source", pa.string()),
        pa.field("scores", SCORES, nullable=False),
        pa.field("cluster", pa.string()),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)

# The commits of triples of several, one row each. A step's old side is the tree of the one before,
# the first one's that of the triple.
STEPS = pa.schema(
    [
        pa.field("triple", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("commit", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("subjects", pa.list_(pa.string()), nullable=False),
        pa.field("author_kind", pa.string(), nullable=False),
        pa.field("tree", pa.string(), nullable=False),
        # null where it stands already in `triples`, in the row of kind commit that `same_as` names
        pa.field("patch", pa.large_string()),
        pa.field("same_as", pa.string()),
        pa.field("files", pa.list_(FILE_CHANGE), nullable=False),
    ]
)

STEPS_PER_GROUP: Final = 128
"""Rows of a row group: the steps of one triple cost the decoding of one."""

BLOBS = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int32(), nullable=False),
        pa.field("content", pa.large_string(), nullable=False),
    ]
)

TREE_ENTRY = pa.struct(
    [
        pa.field("mode", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
    ]
)

TREES = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("entries", pa.list_(TREE_ENTRY), nullable=False),
    ]
)


class LedgerRow(NamedTuple):
    """One thing that was rejected, left out or failed, and why.

    `rule` is a short stable name to count by, `reason` one line for people, `detail` whatever
    identifies the thing further (a path, a blob id, a traceback).
    """

    stage: str
    rule: str
    reason: str
    repo: str
    old_commit: str | None = None
    new_commit: str | None = None
    detail: str | None = None


LEDGER = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("repo", pa.string(), nullable=False),
        pa.field("old_commit", pa.string()),
        pa.field("new_commit", pa.string()),
        pa.field("detail", pa.large_string()),
    ]
)


CONTAINED = pa.schema(
    [
        # Every commit that the head reaches, and the index on the first-parent chain of the first
        # commit that contains it: its own for one of the chain, else that of the merge.
        pa.field("id", pa.binary(20), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("position", pa.float64(), nullable=False),
        pa.field("on_chain", pa.bool_(), nullable=False),
    ]
)

DECISIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        # FILTER/REASON, or the stage's own; with `reason`, one line for people, it becomes a row of
        # the ledger. Both are null where the triple is kept, or did not reach this stage.
        pa.field("rule", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.large_string()),
        pa.field("scores", SCORES, nullable=False),
        pa.field("cluster", pa.string()),
        # what this stage gives; a triple's weight is the product over the stages
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("split", pa.string()),
    ]
)


def triple_id(repo: str, old_commit: str, new_commit: str, kind: str, projection: str) -> str:
    """The id of a triple: 32 hex characters that depend on nothing but what the triple is.

    Args:
        repo: the repository's identity, the `repo` column.
        old_commit, new_commit: full commit ids.
        kind: name of the miner that chose the pair.
        projection: `Projection.identity` of the configuration.
    """
    text = "\0".join((repo, old_commit, new_commit, kind, projection))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
