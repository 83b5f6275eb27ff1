"""Which trees and blobs the published triples of a repository, and their steps, reach.

A unit a repository that lost a triple: it walks the mined trees from the roots that are left.
Costs the repository's trees in memory as numbers, about 100 bytes an entry of a distinct tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Sink
from codeflow.errors import DataError
from codeflow.records import STEPS, TREE_MODE, TREES, TRIPLES
from codeflow.storage import tables

REACHED = pa.schema([pa.field("id", pa.string(), nullable=False)])


@dataclass(frozen=True)
class ReachArguments:
    """A repository, the files its kept triples and their steps are in, and its mined trees."""

    folder: str
    repo: str
    triples: tuple[str, ...]
    steps: tuple[str, ...]
    trees: tuple[str, ...]


def reach(arguments: ReachArguments, sink: Sink) -> dict[str, Any]:
    """Writes `trees` and `blobs`: the ids that are reached, sorted."""
    folder = Path(arguments.folder)
    pending = _roots(folder, arguments)
    entries = dict(_trees(folder, arguments))
    trees: set[str] = set()
    blobs: set[str] = set()
    while pending:
        id = pending.pop()
        if id in trees:
            continue
        trees.add(id)
        if id not in entries:
            raise DataError(f"{arguments.repo}: tree {id} is missing from mined/; mine again")
        children, files = entries[id]
        pending += children
        blobs.update(files)
    for name, ids in (("trees", trees), ("blobs", blobs)):
        with sink.table(name, REACHED) as writer:
            writer.write(pa.table({"id": pa.array(sorted(ids), pa.string())}, schema=REACHED))
    return {"trees": len(trees), "blobs": len(blobs)}


def _roots(folder: Path, arguments: ReachArguments) -> list[str]:
    roots: set[str] = set()
    for paths, schema, names in (
        (arguments.triples, TRIPLES, ("old_tree", "new_tree")),
        (arguments.steps, STEPS, ("tree",)),
    ):
        for path in paths:
            for table in tables.row_groups(folder / path, schema, ["repo", *names]):
                table = table.filter(pc.equal(table.column("repo"), arguments.repo))
                for name in names:
                    roots.update(table.column(name).to_pylist())
    return sorted(roots)


def _trees(
    folder: Path, arguments: ReachArguments
) -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
    """Every mined tree as (id, (subtrees, files))."""
    for path in arguments.trees:
        for table in tables.row_groups(folder / path, TREES, ["id", "entries"]):
            lists = table.column("entries").combine_chunks()
            modes = lists.values.field("mode").to_pylist()
            ids = lists.values.field("id").to_pylist()
            offsets = lists.offsets.to_pylist()
            for id, first, stop in zip(
                table.column("id").to_pylist(), offsets, offsets[1:], strict=False
            ):
                yield id, _divide(modes[first:stop], ids[first:stop])


def _divide(modes: Iterable[str], ids: Iterable[str]) -> tuple[list[str], list[str]]:
    trees: list[str] = []
    files: list[str] = []
    for mode, id in zip(modes, ids, strict=True):
        (trees if mode == TREE_MODE else files).append(id)
    return trees, files
