"""Reading tables: one way, in which a damaged file is an error that names it and the remedy.

Pages carry checksums (`codeflow.storage.files.parquet`), which are compared, so that a flipped bit
is found where it is read and never decided by. Columns are compared with their schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.storage.damage import damaged, reading


@contextmanager
def opened(
    path: Path,
    schema: pa.Schema | None = None,
    columns: Sequence[str] | None = None,
    metadata: pq.FileMetaData | None = None,
) -> Iterator[pq.ParquetFile]:
    """A Parquet file; whatever is read of it in the block may fail as `reading` says.

    Args:
        schema: what its columns must be; with `columns`, those of these names.
        metadata: its footer, where it was read before.
    """
    with (
        reading(path),
        pq.ParquetFile(path, metadata=metadata, page_checksum_verification=True) as file,
    ):
        if schema is not None:
            _require(path, file.schema_arrow, schema, columns)
        yield file


def rows(path: Path) -> int:
    """How many rows a file has, by its footer."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def read(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole file, or some of its columns."""
    with opened(path, schema, columns) as file:
        return file.read(columns=columns and list(columns), use_threads=False)


def row_groups(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The row groups of a file, one after the other."""
    with opened(path, schema, columns) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=columns and list(columns), use_threads=False)


def check(path: Path) -> None:
    """Decodes all of a file. Raises DataError where it is damaged."""
    with opened(path) as file:
        for number in range(file.num_row_groups):
            file.read_row_group(number, use_threads=False)


def ipc(path: Path | str) -> pa.Table:
    """An Arrow IPC file, memory-mapped."""
    with reading(Path(path)), pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Equal; Parquet stores times in milliseconds, whatever they were."""
    times = pa.types.is_timestamp(found) and pa.types.is_timestamp(expected)
    return bool(times or found.equals(expected))


def _require(
    path: Path, found: pa.Schema, schema: pa.Schema, columns: Sequence[str] | None
) -> None:
    for name in schema.names if columns is None else columns:
        if name not in found.names:
            raise damaged(path, f"has no column {name!r}")
        if not same_type(found.field(name).type, schema.field(name).type):
            raise damaged(path, f"its column {name!r} is of another type")
