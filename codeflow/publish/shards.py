"""Publishing: from mined files to the shards of the dataset folder.

Mined tables come as one file a unit. Large ones are published as they are (a link, no copy); small
ones are gathered, so that a dataset has hundreds of files and not one a repository. Triples are
sorted by id over all shards, and steps by their triples'. Each shard is a unit of work, so
publishing runs on the pool and goes on after a kill. The manifest is written last: a folder with a
manifest is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Sink, Unit
from codeflow.records import BLOBS, LEDGER, STEPS, STEPS_PER_GROUP, TREES, TRIPLES
from codeflow.storage import files, layout, tables
from codeflow.storage.layout import INTERMEDIATE

_MIN_SHARD_BYTES = 1 << 20
_MAX_SHARD_BYTES = 256 << 20
_SHARDS_WANTED = 1000
_SORTED_SHARD_BYTES = 32 << 20
_GATHER_FILES = 256
_GATHER_BYTES = 64 << 20
SCHEMAS: Mapping[str, pa.Schema] = {
    layout.TRIPLES: TRIPLES,
    layout.STEPS: STEPS,
    layout.BLOBS: BLOBS,
    layout.TREES: TREES,
    layout.LEDGER: LEDGER,
}
_SORTED_BY: Mapping[str, Sequence[str]] = {
    layout.TRIPLES: ("id",),
    layout.STEPS: ("triple", "index"),
}
_ROWS_PER_GROUP: Mapping[str, int] = {layout.TRIPLES: 1024, layout.STEPS: STEPS_PER_GROUP}


class MinedFile(NamedTuple):
    """One mined file, relative to the folder; `reached` is the file of the ids in it that are to
    be published, None for all of them."""

    path: str
    bytes: int
    reached: str | None = None


@dataclass(frozen=True)
class ShardArguments:
    """Mined files to publish as one shard, in order."""

    folder: str
    table: str
    inputs: tuple[MinedFile, ...]
    target: str


def plan_shards(folder: Path, table: str, inputs: Sequence[MinedFile], stamp: str) -> list[Unit]:
    """Units that publish the mined files of one table, but for triples and steps.

    The least size of a shard grows with the whole, so that there are about a thousand at most.
    """
    total = sum(file.bytes for file in inputs)
    least = min(max(total // _SHARDS_WANTED, _MIN_SHARD_BYTES), _MAX_SHARD_BYTES)
    groups: list[list[MinedFile]] = []
    size = least
    for file in inputs:
        if size >= least or size + file.bytes > _MAX_SHARD_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.bytes
    units = []
    for number, group in enumerate(groups):
        name = f"{table}/{table}-{number:05d}-of-{len(groups):05d}.parquet"
        arguments = ShardArguments(str(folder), table, tuple(group), name)
        units.append(Unit(f"publish-{stamp}/{table}-{number:05d}", publish_shard, arguments))
    return units


def publish_shard(arguments: ShardArguments, sink: Sink) -> dict[str, Any]:
    """Writes one shard: a link to the mined file where nothing has to change."""
    folder = Path(arguments.folder)
    target = folder / arguments.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if len(arguments.inputs) == 1 and arguments.inputs[0].reached is None:
        files.link(folder / arguments.inputs[0].path, target)
    else:
        schema = SCHEMAS[arguments.table]
        with files.parquet(target, schema) as writer:
            for group in _regrouped(folder, arguments.inputs, schema):
                writer.write(group)
    return describe(folder, arguments.target)


def _regrouped(folder: Path, inputs: Iterable[MinedFile], schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of some files without what is not reached, small ones joined."""
    held: list[pa.Table] = []
    rows = size = 0
    for file in inputs:
        reached = None if file.reached is None else _ids(folder / file.reached)
        for found in tables.row_groups(folder / file.path, schema):
            table = found.cast(schema)
            if reached is not None:
                table = table.filter(pc.is_in(table.column("id"), reached))
            if held and (rows + len(table) > 256 or size + table.nbytes > 16 << 20):
                yield pa.concat_tables(held)
                held, rows, size = [], 0, 0
            if len(table):
                held.append(table)
                rows, size = rows + len(table), size + table.nbytes
    if held:
        yield pa.concat_tables(held)


def _ids(path: Path) -> pa.Array:
    return tables.ipc(path).column("id").combine_chunks()


@dataclass(frozen=True)
class SortedArguments:
    """Files of triples sorted by id, or of steps by that of their triple; `target` takes the ids in
    [low, high) (hex prefixes)."""

    folder: str
    table: str
    inputs: tuple[str, ...]
    low: str
    high: str
    target: str


def gather_units(
    folder: Path, table: str, inputs: Sequence[MinedFile], stamp: str, level: str
) -> list[Unit]:
    """Units that each merge some sorted files into one; none when there are few enough."""
    if len(inputs) <= _GATHER_FILES:
        return []
    groups: list[list[str]] = []
    size = _GATHER_BYTES
    for file in inputs:
        if size + file.bytes > _GATHER_BYTES or len(groups[-1]) >= _GATHER_FILES:
            groups.append([])
            size = 0
        groups[-1].append(file.path)
        size += file.bytes
    if len(groups) > len(inputs) // 2:
        return []  # already as large as they may be
    return [
        Unit(
            f"publish-{stamp}/gather-{table}-{level}-{number:05d}",
            publish_sorted,
            SortedArguments(
                str(folder),
                table,
                tuple(group),
                "0",
                "g",
                f"{INTERMEDIATE}/publish/{table}-{level}-{number:05d}.parquet",
            ),
        )
        for number, group in enumerate(groups)
    ]


def sorted_units(
    folder: Path, table: str, inputs: Sequence[MinedFile], stamp: str, split: str
) -> list[Unit]:
    """Units that publish the triples or the steps of a split, each a range of ids."""
    total = sum(file.bytes for file in inputs)
    if not total:
        return []
    shards = -(-total // _SORTED_SHARD_BYTES)
    bounds = [f"{(k << 32) // shards:08x}" for k in range(shards)] + ["g"]
    paths = tuple(file.path for file in inputs)
    units = []
    for k in range(shards):
        name = f"{table}/{split}-{k:05d}-of-{shards:05d}.parquet"
        arguments = SortedArguments(str(folder), table, paths, bounds[k], bounds[k + 1], name)
        units.append(Unit(f"publish-{stamp}/{table}-{split}-{k:05d}", publish_sorted, arguments))
    return units


def publish_sorted(arguments: SortedArguments, sink: Sink) -> dict[str, Any]:
    """Writes the rows of a range of ids from all inputs, sorted."""
    folder, schema = Path(arguments.folder), SCHEMAS[arguments.table]
    whole = arguments.low.strip("0") == "" and arguments.high == "g"
    if whole and len(arguments.inputs) == 1:
        files.link(folder / arguments.inputs[0], folder / arguments.target)
        return describe(folder, arguments.target)
    parts = []
    for path in arguments.inputs:
        with tables.opened(folder / path, schema) as source:
            for number in range(source.num_row_groups):
                statistics = source.metadata.row_group(number).column(0).statistics
                if statistics.max < arguments.low or statistics.min >= arguments.high:
                    continue
                table = source.read_row_group(number, use_threads=False).cast(schema)
                ids = table.column(0)
                inside = pc.and_(pc.greater_equal(ids, arguments.low), pc.less(ids, arguments.high))
                parts.append(table.filter(inside))
    rows = sorted_rows(parts, arguments.table)
    write_sorted(folder / arguments.target, rows, arguments.table)
    return describe(folder, arguments.target)


def sorted_rows(parts: Sequence[pa.Table], table: str) -> pa.Table:
    """Rows of triples or of steps in their order."""
    rows = pa.concat_tables([SCHEMAS[table].empty_table(), *parts])
    keys = [(name, "ascending") for name in _SORTED_BY[table]]
    return rows.take(pc.sort_indices(rows, sort_keys=keys))


def write_sorted(path: Path, rows: pa.Table, table: str) -> None:
    """Writes triples or steps."""
    with files.parquet(path, SCHEMAS[table]) as writer:
        for first in range(0, len(rows), _ROWS_PER_GROUP[table]):
            writer.write(rows.slice(first, _ROWS_PER_GROUP[table]))


def describe(folder: Path, name: str) -> dict[str, Any]:
    """The manifest's line for a published file."""
    path = folder / name
    line: dict[str, Any] = {
        "path": name,
        "bytes": path.stat().st_size,
        "sha256": files.sha256(path),
    }
    if path.suffix == ".parquet":
        line["rows"] = tables.rows(path)
    return line
