"""Joins the file patches of a bucket of triples and writes the triples, sorted by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Commit, Sink
from codeflow.records import FILE_CHANGE, TRIPLES, triple_id
from codeflow_miners import tables
from codeflow_miners.languages import ChangedLines, triple_language
from codeflow_miners.tables import SNAPSHOTS

_TRIPLES_PER_GROUP = 512
_FILE_FIELDS = tuple(field.name for field in FILE_CHANGE)


@dataclass(frozen=True)
class AssembleArguments:
    """Rows `first .. stop - 1` of `snapshots`; the other paths are files of those tables."""

    repo: str
    url: str
    commits: str
    snapshots: str
    patches: tuple[str, ...]
    first: int
    stop: int
    window_by: str
    projection: str


def assemble(arguments: AssembleArguments, sink: Sink) -> dict[str, Any]:
    """Writes `triples` (kept). Returns the number of each kind."""
    commits = tables.commits(tables.read(arguments.commits))
    snapshots = tables.read(arguments.snapshots).slice(
        arguments.first, arguments.stop - arguments.first
    )
    files = _files(arguments.patches, snapshots)
    rows = []
    counts: dict[str, int] = {}
    for k, row in enumerate(_rows(snapshots)):
        rows.append(_triple(arguments, commits, row, files[k]))
        counts[row["kind"]] = counts.get(row["kind"], 0) + 1
    rows.sort(key=lambda row: str(row["id"]))
    with sink.mined("triples", TRIPLES) as writer:
        for first in range(0, len(rows), _TRIPLES_PER_GROUP):
            writer.write(_table(rows[first : first + _TRIPLES_PER_GROUP]))
    return {"kinds": counts}


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one triple in path order, and its patch."""

    files: list[dict[str, Any]]
    patch: bytes


def _files(paths: Sequence[str], snapshots: pa.Table) -> list[_Files]:
    """For each row of snapshots, its files; every part is scanned by its small columns only."""
    wanted = pa.table(
        {
            "source": snapshots.column("source"),
            "pair": snapshots.column("pair"),
            "row": pa.array(np.arange(len(snapshots), dtype=np.int32)),
        }
    )
    parts = []
    for path in paths:
        table = tables.read(path)
        joined = table.select(["source", "pair"]).append_column(
            "at", pa.array(np.arange(len(table), dtype=np.int64))
        )
        hits = joined.join(wanted, ["source", "pair"], join_type="inner", use_threads=False)
        taken = table.take(hits.column("at"))
        parts.append(taken.append_column("row", hits.column("row").cast(pa.int32())))
    rows = pa.concat_tables(parts)
    order = pc.sort_indices(rows, sort_keys=[("row", "ascending"), ("path", "ascending")])
    rows = rows.take(order)
    numbers = rows.column("row").to_numpy()
    patches = rows.column("patch").to_pylist()
    columns = [rows.column(name).to_pylist() for name in _FILE_FIELDS]
    described = [dict(zip(_FILE_FIELDS, v, strict=True)) for v in zip(*columns, strict=True)]
    bounds = np.searchsorted(numbers, np.arange(len(snapshots) + 1))
    return [
        _Files(described[a:b], b"".join(patches[a:b]))
        for a, b in zip(bounds[:-1], bounds[1:], strict=True)
    ]


def _rows(table: pa.Table) -> list[Mapping[str, Any]]:
    columns = [table.column(name).to_pylist() for name in SNAPSHOTS.names]
    return [dict(zip(SNAPSHOTS.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _triple(
    arguments: AssembleArguments, commits: Sequence[Commit], row: Mapping[str, Any], found: _Files
) -> dict[str, Any]:
    old, new = commits[row["old"]], commits[row["new"]]
    steps = commits[row["old"] + 1 : row["new"] + 1]
    files = found.files
    changed = [
        ChangedLines(f["language"], f["additions"] + f["deletions"], f["generated"], f["vendored"])
        for f in files
    ]
    return {
        "id": triple_id(arguments.repo, old.id, new.id, row["kind"], arguments.projection),
        "repo": arguments.repo,
        "repo_url": arguments.url,
        "kind": row["kind"],
        "old_commit": old.id,
        "new_commit": new.id,
        "commits": [commit.id for commit in steps],
        "messages": [list(commit.messages) for commit in steps],
        "old_tree": row["old_tree"],
        "new_tree": row["new_tree"],
        "patch": found.patch,
        "files": files,
        "language": triple_language(changed),
        "additions": sum(f["additions"] for f in files),
        "deletions": sum(f["deletions"] for f in files),
        "position": old.position,
        "window_by": arguments.window_by,
        "old_committed_at": old.committed_at,
        "committed_at": new.committed_at,
        "author_kind": "bot" if all(c.author_kind == "bot" for c in steps) else "human",
        "license": row["license"],
        "scores": row["scores"],
        "cluster": None,
        "weight": 1.0,
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    arrays = []
    for field in TRIPLES:
        values = [row[field.name] for row in rows]
        if field.name == "patch":  # checked to be UTF-8 by the cast
            arrays.append(pa.array(values, pa.large_binary()).cast(pa.large_string()))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=TRIPLES)
