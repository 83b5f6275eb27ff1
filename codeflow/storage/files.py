"""Writing to disk: a temporary name first, then a rename, so that a name means a whole file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.errors import UsageError
from codeflow.storage.damage import reading

TEMPORARY = ".tmp"
_COMPRESSION_LEVEL = 5  # from here on zstd reaches back over several versions of a large file
_CONTENTS_LEVEL = 4  # of contents, where what each shares with the one before is left out
_WHOLE_ROW_GROUP = 1 << 30


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    A device never gives its place away: who writes to `/dev/null` as root would have none any more.
    """
    if _is_device(path):
        raise UsageError(f"{path}: is a device, not a file; give another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _is_device(path: Path) -> bool:
    """Whether a device stands there, or a link to what is no file, as `/dev/stdout` may be."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    other = not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or (other and path.is_symlink())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a whole file, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file with sorted keys, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None when it is not there.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    with reading(path, ValueError, RecursionError):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
        return values


class _ParquetWriter:
    """Compresses and writes one batch behind its caller, on a thread (Arrow lets go of the GIL).

    The thread says itself that it has ended: an interrupted `Thread.join` takes a thread for ended
    that is not (bpo-45274), and closing a file under Arrow is a crash.
    """

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._batches: SimpleQueue[pa.Table | None] = SimpleQueue()
        self._room = Semaphore(1)
        self._ended = Event()
        self._error: BaseException | None = None
        Thread(target=self._run, daemon=True).start()

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Takes one row group, once the one before is written."""
        self._room.acquire()
        if self._error is not None:
            raise self._error
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        self._batches.put(table)

    def _run(self) -> None:
        while (table := self._batches.get()) is not None:
            try:
                if self._error is None:
                    self._writer.write_table(table, row_group_size=max(1, len(table)))
            except BaseException as error:  # raised where the caller is
                self._error = error
            self._room.release()
        self._ended.set()

    def finish(self) -> None:
        """Waits for what is being written and ends the file."""
        self._batches.put(None)
        self._ended.wait()
        if self._error is not None:
            raise self._error
        self._writer.close()

    def abandon(self) -> None:
        """Ends the thread whatever comes, a second Ctrl-C included; the file is of no use then."""
        self._batches.put(None)
        while not self._ended.is_set():
            with suppress(KeyboardInterrupt):
                self._ended.wait()
        with suppress(Exception):
            self._writer.close()


@contextmanager
def parquet(path: Path, schema: pa.Schema) -> Iterator[_ParquetWriter]:
    """A Parquet file in the project's one format; a call to `write` is one row group.

    A column of a row group is one page, because zstd finds repeats within a page only, and what
    repeats here are whole versions of a file. Contents are stored as the length that each shares
    with the one before, and the rest (DELTA_BYTE_ARRAY), which spares zstd half of them. Statistics
    are kept where readers select by them, and checksums of pages everywhere.
    """
    prefixed = [name for name in schema.names if name == "content"]
    with replacing(path) as temporary:
        writer = pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=_CONTENTS_LEVEL if prefixed else _COMPRESSION_LEVEL,
            column_encoding=dict.fromkeys(prefixed, "DELTA_BYTE_ARRAY") or None,
            use_dictionary=[f.name for f in schema if f.name != "content" and f.name != "patch"],
            data_page_size=_WHOLE_ROW_GROUP,
            write_batch_size=1 << 20,
            write_page_checksum=True,
            write_statistics=[name for name in schema.names if name in ("id", "repo")],
        )
        behind = _ParquetWriter(writer)
        try:
            yield behind
            behind.finish()
        except BaseException:
            behind.abandon()
            raise


@contextmanager
def ipc(path: Path, schema: pa.Schema) -> Iterator[pa.ipc.RecordBatchFileWriter]:
    """An Arrow IPC file, uncompressed, for memory-mapping."""
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        yield writer


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Gives a file that the block writes the mode of any new file, as the umask has it.

    For writers that make their file readable by nobody else, as safetensors does.
    """
    path.touch()
    mode = path.stat().st_mode
    yield
    path.chmod(mode)


def fault(path: Path, size_bytes: int) -> str | None:
    """What is wrong with a file that should have a size, found without reading it."""
    try:
        found = path.stat()
    except OSError as error:
        return "is missing" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    return None if found.st_size == size_bytes else f"has {found.st_size} of {size_bytes} bytes"


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


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_room(path: Path, folder: bool = False) -> None:
    """Removes a folder that lies where a file of ours belongs, or the other way round."""
    if os.path.lexists(path) and path.is_dir() != folder:
        remove(path)


def remove_leftovers(folder: Path) -> None:
    """Temporary files of a run that was killed."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(TEMPORARY):
                (Path(place) / name).unlink(missing_ok=True)
