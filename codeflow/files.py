"""Writing to disk: a temporary name first, then a rename, so that a name means a whole file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEMPORARY = ".tmp"
_COMPRESSION_LEVEL = 5  # from here on zstd reaches back over several versions of a large file
_WHOLE_ROW_GROUP = 1 << 30


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file with sorted keys, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any | None:
    """Reads a JSON file; None when it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


class _ParquetWriter:
    """Compresses and writes one batch behind its caller, on a thread (Arrow lets go of the GIL)."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._thread = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Takes one row group, once the one before is written."""
        self._settle()
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        self._pending = self._thread.submit(
            self._writer.write_table, table, row_group_size=max(1, len(table))
        )

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits for what is being written."""
        try:
            self._settle()
        finally:
            self._thread.shutdown()
            self._writer.close()


@contextmanager
def parquet(path: Path, schema: pa.Schema) -> Iterator[_ParquetWriter]:
    """A Parquet file in the project's one format; a call to `write` is one row group.

    A column of a row group is one page, because zstd finds repeats within a page only, and what
    repeats here are whole versions of a file. Statistics are kept where readers select by them.
    """
    with replacing(path) as temporary:
        writer = pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=[f.name for f in schema if f.name != "content" and f.name != "patch"],
            data_page_size=_WHOLE_ROW_GROUP,
            write_batch_size=1 << 20,
            write_statistics=[name for name in schema.names if name in ("id", "repo")],
        )
        behind = _ParquetWriter(writer)
        try:
            yield behind
        finally:
            behind.close()


@contextmanager
def ipc(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """An Arrow IPC file, uncompressed, for memory-mapping."""
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        yield writer


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link(source: Path, target: Path) -> None:
    """Makes `target` the same file as `source`; a copy where links are not to be had."""
    import shutil

    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
