"""Rows on their way into an Arrow table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from codeflow.contracts import TableWriter
from codeflow.records import table_of

_ROWS = 4096
_BYTES = 8 << 20


class RowBuffer:
    """Collects rows as tuples in the order of a schema and writes them in bounded batches.

    The bytes of a row are taken to be those of its last column, where patches are.
    """

    def __init__(self, writer: TableWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, row: tuple[Any, ...]) -> None:
        """Takes one row; writes a batch when enough is held."""
        self._rows.append(row)
        last = row[-1]
        if isinstance(last, (bytes, str)):
            self._bytes += len(last)
        if len(self._rows) >= _ROWS or self._bytes >= _BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is held."""
        if not self._rows:
            return
        self._writer.write(table_of(self._rows, self._schema))
        self._rows, self._bytes = [], 0
