"""Content unit: reads every version of some paths once, writes blobs, diffs neighbours.

Rows come grouped by path and newest first (`plan`). Every blob is read, checked against its id and
judged (text or left out) once; the few that rows share stay in a bounded memory. What is written:
blobs (kept in `mined/`), the patch of every file of every commit triple, what was left out, and,
for miners that search, features of every step.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeflow.config import MineConfig
from codeflow.contracts import STEP_FEATURES, Sink, TableWriter
from codeflow.records import BLOBS
from codeflow.text.secrets import find_secrets
from codeflow_miners import tables
from codeflow_miners.changes.beside import BesideFiles
from codeflow_miners.changes.paths import refused
from codeflow_miners.changes.renames import MIN_SIMILARITY, FileRow, line_bytes, similarity
from codeflow_miners.changes.treediff import GITLINK, Side
from codeflow_miners.contents.diff import Hunks, diff_lines
from codeflow_miners.contents.file_kind import file_kind
from codeflow_miners.contents.filepatch import file_patch, is_type_change
from codeflow_miners.contents.languages import Languages
from codeflow_miners.contents.linguist import is_generated, is_vendored
from codeflow_miners.contents.shared_endings import HEAD_BYTES
from codeflow_miners.deadline import Deadline
from codeflow_miners.kinds.span.features import line_features
from codeflow_miners.objects.reader import ObjectReader
from codeflow_miners.rows import RowBuffer
from codeflow_miners.tables import LEFT_OUT, PATCHES

_CACHED_BYTES = 48 << 20
_BLOBS_PER_BATCH = 256
_BLOB_BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class ContentArguments:
    """One content unit.

    Attributes:
        changes: file of CHANGES rows, grouped and ordered by `plan`.
        foreign: file of FOREIGN, the blobs that another unit writes; None for none.
        source: STEPS or CHOSEN, what the change numbers count.
        pairs: change numbers whose patches are wanted, besides those of `branches`; None for all.
        branches: where branches are; None where that kind is not wanted.
        headers: the language of `.h` files here.
        write_blobs: whether this pass writes the blobs it reads.
        features: whether to write STEP_FEATURES (change numbers are steps).
        beside: the first change number that is no step of the chain; such have no features.
    """

    repo: str
    git_dir: str
    changes: str
    foreign: str | None
    source: str
    pairs: frozenset[int] | None
    branches: BesideFiles | None
    headers: str
    write_blobs: bool
    features: bool
    beside: int
    config: MineConfig


def read_content(arguments: ContentArguments, sink: Sink) -> dict[str, Any]:
    """Writes `blobs`, `patches`, `left_out` and `features`. Returns counts."""
    deadline = Deadline(arguments.config.limits.unit_seconds)
    patched = None if arguments.pairs is None else set(arguments.pairs)
    if patched is not None and arguments.branches is not None:
        patched.update(arguments.branches.read().patched())
    foreign: set[bytes] = set()
    if arguments.foreign is not None:
        foreign.update(tables.read(arguments.foreign).column("blob").to_pylist())
    with ExitStack() as stack:
        blobs = None
        if arguments.write_blobs:
            blobs = BlobBuffer(arguments.repo, stack.enter_context(sink.mined("blobs", BLOBS)))
        left_out = RowBuffer(stack.enter_context(sink.table("left_out", LEFT_OUT)), LEFT_OUT)
        patches = RowBuffer(stack.enter_context(sink.table("patches", PATCHES)), PATCHES)
        features = None
        if arguments.features:
            writer = stack.enter_context(sink.table("features", STEP_FEATURES))
            features = RowBuffer(writer, STEP_FEATURES)
        contents = Contents(
            ObjectReader(Path(arguments.git_dir)),
            arguments.config.projection.max_file_bytes,
            foreign,
            blobs,
            left_out,
            arguments.config.projection.drop_secrets,
        )
        describe = FileDescriber(contents, Languages(arguments.headers))
        for change, row in tables.changes(tables.read(arguments.changes)):
            deadline.check()
            old = contents.side(row.old_path, row.old)
            new = contents.side(row.new_path, row.new)
            if change < 0 or (old is None and new is None):
                continue
            wanted = patched is None or change in patched
            featured = features is not None and change < arguments.beside
            if not wanted and not featured:
                continue
            crosses = row.old_path == row.new_path and (old is None) != (new is None)
            for file in describe.files(row, old, new):
                if wanted:
                    patches.add(file.patch_row(arguments.source, change, crosses))
                if features is not None and featured:
                    features.add(file.feature_row(change))
        for buffer in (left_out, patches, features, blobs):
            if buffer is not None:
                buffer.flush()
    return {"files": describe.count, "bytes": contents.bytes_read}


class BlobBuffer:
    """Blobs of one repository on their way to disk; one batch is one row group."""

    def __init__(self, repo: str, writer: TableWriter) -> None:
        self._repo = repo
        self._writer = writer
        self._ids: list[str] = []
        self._contents: list[bytes] = []
        self._bytes = 0

    def add(self, blob: bytes, content: bytes) -> None:
        """Takes a blob whose content is valid UTF-8."""
        self._ids.append(blob.hex())
        self._contents.append(content)
        self._bytes += len(content)
        if len(self._ids) >= _BLOBS_PER_BATCH or self._bytes >= _BLOB_BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is held as one row group."""
        if not self._ids:
            return
        sizes = [len(content) for content in self._contents]
        # one chunk a blob, on the bytes where they are: the writer makes the only copy
        chunks = [_large_string(content) for content in self._contents]
        columns = [
            pa.repeat(pa.scalar(self._repo), len(sizes)),
            pa.array(self._ids),
            pa.array(sizes, pa.int32()),
            pa.chunked_array(chunks, pa.large_string()),
        ]
        self._writer.write(pa.table(columns, schema=BLOBS))
        self._ids, self._contents, self._bytes = [], [], 0


def _large_string(content: bytes) -> pa.LargeStringArray:
    """An array of one string over bytes that are known to be UTF-8."""
    offsets = pa.py_buffer(struct.pack("<qq", 0, len(content)))
    return pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(content))


class Contents:
    """The blobs of a unit: read once, checked, judged, kept while they are likely needed again."""

    def __init__(
        self,
        reader: ObjectReader,
        max_file_bytes: int,
        foreign: set[bytes],
        blobs: BlobBuffer | None,
        left_out: RowBuffer,
        secrets: bool = False,
    ) -> None:
        self._reader = reader
        self._secrets = secrets
        self._max_file_bytes = max_file_bytes
        self._done = foreign  # blobs that need no writing any more
        self._blobs = blobs
        self._left_out = left_out
        self._stated: set[tuple[bytes, Side]] = set()
        self._rules: dict[bytes, str] = {}
        self._kept: dict[bytes, bytes] = {}
        self._kept_bytes = 0
        self.bytes_read = 0

    def side(self, path: bytes | None, side: Side | None) -> bytes | None:
        """Content of a projected file; None where it does not exist or is left out."""
        if path is None or side is None:
            return None
        content = self._kept.get(side.blob)
        if content is None and side.mode != GITLINK and side.blob not in self._rules:
            content = self._load(side.blob)
        if content is not None and side.blob not in self._done:
            # whatever the path: another unit, with a better one, may count on it
            self._done.add(side.blob)
            if self._blobs is not None:
                self._blobs.add(side.blob, content)
        rule: str | None
        if side.mode == GITLINK:
            rule = "submodule"
        else:
            rule = refused(path, side.mode == b"120000") or self._rules.get(side.blob)
        if rule is not None:
            self._state(path, side, rule)
            return None
        return content

    def _state(self, path: bytes, side: Side, rule: str) -> None:
        if (path, side) not in self._stated:
            self._stated.add((path, side))
            self._left_out.add((path, side.mode, side.blob, rule))

    def _load(self, blob: bytes) -> bytes | None:
        rule = None
        content = b""
        if self._reader.blob_size(blob) > self._max_file_bytes:
            rule = "too-large"
        else:
            content = self._reader.blob(blob)
            self.bytes_read += len(content)
            rule = text_rule(content)
            if rule is None and self._secrets and find_secrets(content):
                rule = "secret"
        if rule is not None:
            self._rules[blob] = rule
            return None
        self._kept[blob] = content
        self._kept_bytes += len(content)
        while self._kept_bytes > _CACHED_BYTES and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._kept_bytes -= len(self._kept.pop(oldest))
        return content


def text_rule(content: bytes) -> str | None:
    """Why a content is not text: `binary` (a NUL byte), `not-utf8`, or None when it is."""
    if b"\0" in content:
        return "binary"
    if not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError:
            return "not-utf8"
    return None


@dataclass(frozen=True, slots=True)
class DescribedFile:
    """One file of a triple with its section of the patch."""

    status: str
    row: FileRow
    hunks: Hunks
    patch: bytes
    language: str | None
    generated: bool
    vendored: bool
    file_kind: str

    def patch_row(self, source: str, change: int, crosses: bool) -> tuple[Any, ...]:
        """A row of PATCHES."""
        row = self.row
        old, new = row.old, row.new
        old_path = row.old_path.decode() if row.old_path is not None else None
        new_path = row.new_path.decode() if row.new_path is not None else None
        return (
            source,
            change,
            row.new_path if row.new_path is not None else row.old_path,
            self.status,
            old_path,
            new_path,
            old.mode.decode() if old else None,
            new.mode.decode() if new else None,
            old.blob.hex() if old else None,
            new.blob.hex() if new else None,
            self.hunks.additions,
            self.hunks.deletions,
            self.language,
            self.generated,
            self.vendored,
            self.file_kind,
            crosses,
            len(self.patch),
            self.patch,
        )

    def feature_row(self, step: int) -> tuple[Any, ...]:
        """A row of STEP_FEATURES."""
        lines = line_features(self.hunks.body)
        return (
            step,
            self.status,
            self.row.old_path.decode() if self.row.old_path is not None else None,
            self.row.new_path.decode() if self.row.new_path is not None else None,
            self.file_kind,
            self.hunks.additions,
            self.hunks.deletions,
            len(self.patch),
            lines.identifiers,
            lines.added_lines,
            lines.removed_lines,
        )


class FileDescriber:
    """Turns rows with contents into described files."""

    def __init__(self, contents: Contents, languages: Languages) -> None:
        self._contents = contents
        self._languages = languages
        self.count = 0

    def files(self, row: FileRow, old: bytes | None, new: bytes | None) -> Iterator[DescribedFile]:
        """The files of a row as projected: a side that is left out does not exist.

        A rename of unlike files (which only a span can have) is a deletion and an addition.
        """
        if old is None:
            row = row._replace(old_path=None, old=None)
        if new is None:
            row = row._replace(new_path=None, new=None)
        score = None
        if old is not None and new is not None and row.old_path != row.new_path:
            score = 100 if old == new else similarity(line_bytes(old), line_bytes(new))
            if score < MIN_SIMILARITY or is_type_change(row):
                yield from self.files(row._replace(new_path=None, new=None), old, None)
                yield from self.files(row._replace(old_path=None, old=None), None, new)
                return
        if row.old == row.new and row.old_path == row.new_path:
            return
        self.count += 1
        yield self._describe(row, old, new, score)

    def _describe(
        self, row: FileRow, old: bytes | None, new: bytes | None, score: int | None
    ) -> DescribedFile:
        if is_type_change(row):
            gone = diff_lines(old or b"", b"")
            come = diff_lines(b"", new or b"")
            patch = file_patch(row._replace(new=None), gone) + file_patch(
                row._replace(old=None), come
            )
            hunks = Hunks(gone.body + come.body, come.additions, gone.deletions)
        else:
            hunks = diff_lines(old or b"", new or b"")
            patch = file_patch(row, hunks, 100 if score is None else score)
        raw = row.new_path if row.new_path is not None else row.old_path
        content = new if new is not None else old
        assert raw is not None
        assert content is not None
        path = raw.decode()
        symlink = (row.new or row.old or Side(b"", b"")).mode == b"120000"
        language = None if symlink else self._languages.language(path, content[:HEAD_BYTES])
        generated = not symlink and is_generated(path, content)
        return DescribedFile(
            status=_status(row, score),
            row=row,
            hunks=hunks,
            patch=patch,
            language=language,
            generated=generated,
            vendored=is_vendored(path),
            file_kind=file_kind(path, language, generated),
        )


def _status(row: FileRow, score: int | None) -> str:
    if row.old is None:
        return "A"
    if row.new is None:
        return "D"
    if is_type_change(row):
        return "T"
    return "M" if score is None else "R"
