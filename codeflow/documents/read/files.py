"""Rows of files: JSON lines, JSON, Parquet and Arrow, compressed or not, in folders, at URLs.

A row is a JSON object with the place that it came from. Rows come in the order of files' names and
of the files, a batch at a time. What is no object is a `Broken` row, which a reader counts; a file
that cannot be read at all ends the run, since nobody knows how much of it is lost.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.errors import DataError, UsageError
from codeflow.text.escape import one_line

MOST_BYTES = 64 << 20
"""Of one row: longer lines are counted and skipped, so that memory stays bounded."""
_LINES = (".jsonl", ".ndjson")
_TABLES = (".parquet", ".arrow")
_ENDINGS = (*_LINES, *_TABLES, ".json")
_COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_NO_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_BATCH_ROWS = 64


class Row(NamedTuple):
    """An object. In a `table` every row has all columns, so that null means there is none."""

    where: str
    values: dict[str, Any]
    table: bool


class Broken(NamedTuple):
    """What should be a row and is none: why, in one word and in a few."""

    where: str
    reason: str
    detail: str


class InputFile(NamedTuple):
    """A file to read. `name` is how messages call it; `fs` a file system of fsspec."""

    name: str
    path: str
    fs: Any
    ending: str
    compression: str | None

    def sha256(self) -> str:
        """Of its bytes as they are."""
        digest = hashlib.sha256()
        with self._open() as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            with self.fs.open(self.path, "rb") as file:
                yield file
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise DataError(f"{self.name}: cannot be read: {reason}") from None

    def rows(self) -> Iterator[Row | Broken]:
        """Its rows. Raises DataError where it cannot be read to its end."""
        with self._open() as file:
            if self.ending == ".parquet":
                yield from self._table(_parquet(file))
            elif self.ending == ".arrow":
                yield from self._table(_arrow(file))
            else:
                with _expanded(file, self.compression) as stream:
                    if self.ending == ".json":
                        yield from self._json(stream)
                    else:
                        yield from self._lines(stream, 1)

    def _table(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Row]:
        number = 0
        for batch in batches:
            for values in batch.to_pylist():
                yield Row(f"{self.name}: row {number}", values, True)
                number += 1

    def _lines(self, stream: IO[bytes], number: int) -> Iterator[Row | Broken]:
        while line := stream.readline(MOST_BYTES):
            where = f"{self.name}:{number}"
            if len(line) == MOST_BYTES and not line.endswith(b"\n"):
                while (rest := stream.readline(MOST_BYTES)) and not rest.endswith(b"\n"):
                    pass
                yield Broken(where, "too-large", f"more than {MOST_BYTES >> 20} MiB")
            elif line.strip(b" \t\r\n\xef\xbb\xbf"):
                yield _parsed(line, where)
            number += 1

    def _json(self, stream: IO[bytes]) -> Iterator[Row | Broken]:
        """A list of objects, one object (a trajectory), or lines after all."""
        data = stream.read(MOST_BYTES)
        whole = len(data) < MOST_BYTES
        text = data.lstrip(b" \t\r\n\xef\xbb\xbf")
        first, _, more = text.partition(b"\n")
        if text[:1] != b"[" and more.strip() and isinstance(_parsed(first, ""), Row):
            yield from self._lines(_Chained(data, stream), 1)
            return
        if not whole:
            raise DataError(
                f"{self.name}: more than {MOST_BYTES >> 20} MiB in one value; write it as JSON "
                "lines, one object a line"
            )
        if text[:1] != b"[":
            yield _parsed(text, self.name)
            return
        values = _loaded(text, self.name)
        if isinstance(values, Broken):
            yield values
            return
        for number, value in enumerate(values):
            yield _row(value, f"{self.name}: item {number}")


class _Chained(io.BufferedReader):
    """What was read already, then the rest."""

    def __init__(self, data: bytes, rest: IO[bytes]) -> None:
        super().__init__(_Raw(data, rest), 1 << 20)


class _Raw(io.RawIOBase):
    def __init__(self, data: bytes, rest: IO[bytes]) -> None:
        self._data, self._rest = io.BytesIO(data), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._data.read(len(buffer)) or self._rest.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def _expanded(file: IO[bytes], compression: str | None) -> Iterator[IO[bytes]]:
    if compression == "gzip":
        with gzip.open(file, "rb") as stream:
            yield io.BufferedReader(stream, 1 << 20)
    elif compression == "zstd":
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as stream:
            yield io.BufferedReader(stream, 1 << 20)
    else:
        yield io.BufferedReader(file, 1 << 20)  # type: ignore[type-var]


def _parsed(data: bytes, where: str) -> Row | Broken:
    value = _loaded(data, where)
    return value if isinstance(value, Broken) else _row(value, where)


def _row(value: Any, where: str) -> Row | Broken:
    if isinstance(value, dict):
        return Row(where, value, False)
    return Broken(where, "no-object", f"a JSON {type(value).__name__}, not an object")


def _loaded(data: bytes, where: str) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        return Broken(where, "not-utf8", f"byte {error.start}: {error.reason}")
    except (ValueError, RecursionError) as error:
        return Broken(where, "not-json", one_line(str(error)))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _parquet(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(file).iter_batches(batch_size=_BATCH_ROWS)


def _arrow(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """A file or, as `datasets` saves them, a stream."""
    start = file.read(6)
    file.seek(0)
    if start == b"ARROW1":
        reader = pa.ipc.open_file(file)
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        batches = iter(pa.ipc.open_stream(file))
    for batch in batches:
        for first in range(0, len(batch), _BATCH_ROWS):
            yield batch.slice(first, _BATCH_ROWS)


def find_files(places: Sequence[str]) -> list[InputFile]:
    """The files that paths, patterns, folders and URLs name, each once, in order of names.

    Raises:
        UsageError: one names nothing, or what has no reader.
    """
    import fsspec

    found: dict[str, InputFile] = {}
    for place in places:
        try:
            fs, path = fsspec.core.url_to_fs(place)
            folder = fs.isdir(path)
            paths = fs.find(path) if folder else fs.glob(path) if "*" in place else [path]
            paths = [p for p in paths if folder is False or _is_data(p)]
            missing = not paths or not (folder or fs.exists(paths[0]))
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(f"{place}: {one_line(str(error))}") from None
        if missing:
            what = f"no {', '.join(_ENDINGS)} in it" if folder else "no such file"
            raise UsageError(f"{place}: {what}")
        for each in sorted(paths):
            inner = each[len(path) :].lstrip("/") if folder else ""
            name = f"{place.rstrip('/')}/{inner}" if folder else place if len(paths) == 1 else each
            found.setdefault(fs.unstrip_protocol(each), _file(name, each, fs))
    return list(found.values())


def _is_data(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name not in _NO_DATA and not name.startswith(".") and _ending(name)[0] in _ENDINGS


def _file(name: str, path: str, fs: Any) -> InputFile:
    ending, compression = _ending(path)
    if ending not in _ENDINGS or (compression and ending in _TABLES):
        raise UsageError(
            f"{name}: is not read; give {', '.join(_ENDINGS)}, JSON also as .gz or .zst, or a "
            "folder of them"
        )
    return InputFile(name, path, fs, ending, compression)


def _ending(path: str) -> tuple[str, str | None]:
    name = path.rpartition("/")[2].lower()
    compression = next((c for end, c in _COMPRESSED.items() if name.endswith(end)), None)
    if compression:
        name = name.rpartition(".")[0]
    return f".{name.rpartition('.')[2]}", compression
