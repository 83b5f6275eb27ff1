"""Joins the file patches of a bucket of triples and writes the triples, sorted by id, and the
steps of those of several commits in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Commit, Sink
from codeflow.records import FILE_CHANGE, STEPS, STEPS_PER_GROUP, TRIPLES, triple_id
from codeflow_miners import tables
from codeflow_miners.contents.languages import ChangedLines, triple_language
from codeflow_miners.kinds.commit import COMMIT_KIND
from codeflow_miners.tables import SNAPSHOTS

_TRIPLES_PER_GROUP = 1024


@dataclass(frozen=True)
class AssembleArguments:
    """Rows `first .. stop - 1` of `snapshots`; the other paths are files of those tables, `beside`
    that of the branches' commits, which follow those of the chain, `steps` that of all rows'."""

    repo: str
    url: str
    commits: str
    beside: str | None
    snapshots: str
    steps: str
    patches: tuple[str, ...]
    first: int
    stop: int
    window_by: str
    projection: str


def assemble(arguments: AssembleArguments, sink: Sink) -> dict[str, Any]:
    """Writes `triples` and, if there are any, `steps` (kept). Returns the number of each kind."""
    commits = tables.commits(tables.read(arguments.commits))
    if arguments.beside is not None:
        commits += tables.commits(tables.read(arguments.beside))
    snapshots = tables.read(arguments.snapshots).slice(
        arguments.first, arguments.stop - arguments.first
    )
    files = _files(arguments.patches, snapshots)
    changed = [
        ChangedLines(*row)
        for row in zip(
            files.table.column("language").to_pylist(),
            pc.add(files.table.column("additions"), files.table.column("deletions")).to_pylist(),
            files.table.column("generated").to_pylist(),
            files.table.column("vendored").to_pylist(),
            strict=True,
        )
    ]
    additions = files.table.column("additions").to_pylist()
    deletions = files.table.column("deletions").to_pylist()
    patches = files.table.column("patch").to_pylist()
    rows = []
    counts: dict[str, int] = {}
    for k, row in enumerate(_rows(snapshots)):
        a, b = files.bounds[k], files.bounds[k + 1]
        triple = _triple(arguments, commits, row)
        triple["language"] = triple_language(changed[a:b])
        triple["additions"] = sum(additions[a:b])
        triple["deletions"] = sum(deletions[a:b])
        triple["patch"] = b"".join(patches[a:b])
        rows.append(triple)
        counts[row["kind"]] = counts.get(row["kind"], 0) + 1
    ids = [row["id"] for row in rows]
    table = _table(rows, _files_column(files), TRIPLES)
    table = table.take(pc.sort_indices(table.column("id")))
    with sink.mined("triples", TRIPLES) as writer:
        for first in range(0, len(table), _TRIPLES_PER_GROUP):
            writer.write(table.slice(first, _TRIPLES_PER_GROUP))
    steps = tables.read(arguments.steps)
    row = steps.column("row")
    inside = pc.and_(pc.greater_equal(row, arguments.first), pc.less(row, arguments.stop))
    _write_steps(arguments, commits, ids, steps.filter(inside), sink)
    return {"kinds": counts}


def _write_steps(
    arguments: AssembleArguments,
    commits: Sequence[Commit],
    ids: Sequence[str],
    rows: pa.Table,
    sink: Sink,
) -> None:
    """The table `steps` of the triples with these ids, in the order of their snapshots."""
    if not len(rows):
        return
    files = _files(arguments.patches, rows)
    patches = files.table.column("patch").to_pylist()
    steps: list[dict[str, Any]] = []
    index = 0
    for k, row in enumerate(rows.to_pylist()):
        triple = ids[row["row"] - arguments.first]
        index = index + 1 if steps and steps[-1]["triple"] == triple else 0
        commit, before = commits[row["commit"]], commits[row["commit"] - 1]
        pair = (before.id, commit.id)
        message, *subjects = commit.messages or ("",)
        steps.append(
            {
                "triple": triple,
                "repo": arguments.repo,
                "index": index,
                "commit": commit.id,
                "message": message,
                "subjects": subjects,
                "author_kind": commit.author_kind,
                "tree": row["tree"],
                "patch": b"".join(patches[files.bounds[k] : files.bounds[k + 1]]),
                "same_as": triple_id(arguments.repo, *pair, COMMIT_KIND, arguments.projection)
                if row["published"]
                else None,
            }
        )
    table = _table(steps, _files_column(files), STEPS)
    table = table.take(
        pc.sort_indices(table, sort_keys=[("triple", "ascending"), ("index", "ascending")])
    )
    with sink.mined("steps", STEPS) as writer:
        for first in range(0, len(table), STEPS_PER_GROUP):
            writer.write(table.slice(first, STEPS_PER_GROUP))


class _Files(NamedTuple):
    """The files of all triples of a bucket, in the order of triples and paths.

    Files `bounds[k] .. bounds[k + 1] - 1` belong to triple k.
    """

    bounds: list[int]
    table: pa.Table


def _files(paths: Sequence[str], snapshots: pa.Table) -> _Files:
    """The rows of PATCHES that belong to rows of snapshots; parts are scanned by small columns."""
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
    rows = rows.take(order).combine_chunks()
    numbers = rows.column("row").to_numpy()
    bounds = np.searchsorted(numbers, np.arange(len(snapshots) + 1))
    return _Files(bounds.tolist(), rows)


def _files_column(files: _Files) -> pa.Array:
    fields = list(FILE_CHANGE)
    arrays = [files.table.column(f.name).combine_chunks() for f in fields]
    struct = pa.StructArray.from_arrays(arrays, fields=fields)
    return pa.ListArray.from_arrays(
        pa.array(files.bounds, pa.int32()), struct, type=TRIPLES.field("files").type
    )


def _rows(table: pa.Table) -> list[Mapping[str, Any]]:
    columns = [table.column(name).to_pylist() for name in SNAPSHOTS.names]
    return [dict(zip(SNAPSHOTS.names, row, strict=True)) for row in zip(*columns, strict=True)]


def _triple(
    arguments: AssembleArguments, commits: Sequence[Commit], row: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of a triple but for those that its files give."""
    old, new = commits[row["old"]], commits[row["new"]]
    steps = commits[row["old"] + 1 : row["new"] + 1]
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
        "position": old.position,
        "window_by": arguments.window_by,
        "old_committed_at": old.committed_at * 1000,
        "committed_at": new.committed_at * 1000,
        "authored_at": new.authored_at * 1000,
        "author_kind": "bot" if all(c.author_kind == "bot" for c in steps) else "human",
        "assisted": any(commit.assisted for commit in steps),
        "author_id": new.author_id,
        "is_merge": new.is_merge,
        "license": row["license"],
        "license_source": row["license_source"],
        "scores": row["scores"],
        "cluster": None,
        "weight": 1.0,
    }


def _table(rows: Sequence[Mapping[str, Any]], files: pa.Array, schema: pa.Schema) -> pa.Table:
    arrays = []
    for field in schema:
        if field.name == "files":
            arrays.append(files)
            continue
        values = [row[field.name] for row in rows]
        if field.name == "patch":  # checked to be UTF-8 by the cast
            arrays.append(pa.array(values, pa.large_binary()).cast(pa.large_string()))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=schema)
