"""The units of the dedup stage that read triples: one a part, each patch read once.

Of every triple that earlier stages kept there remain its id, its score, the hashes that exact
duplicates share, the keys of its bands, and its set of shingles (about as many bytes as the patch).
Memory is one row group of triples and the arrays of one batch of patches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Sink
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.dedup.config import DedupConfig
from codeflow.curation.dedup.tables import (
    BAND_KEYS,
    CONTENTS,
    EXACT_KEYS,
    PATCH,
    TRIPLE_ROWS,
    batch,
)
from codeflow.errors import DataError
from codeflow_filters.dedup.exact import ChangedFile, contents_id, patch_ids
from codeflow_filters.dedup.lines import Bytes, Ints, Lines, find_lines
from codeflow_filters.dedup.shingles import Shingles, Words, make_shingles
from codeflow_filters.dedup.signatures import band_keys, make_signatures

_BATCH_BYTES = 1 << 20
_HASH_BYTES = 16
_NEWLINE = ord("\n")
_COLUMNS = ("id", "kind", "patch", "files", "scores")


class ScanArguments(NamedTuple):
    """One part, and the stages before."""

    folder: str
    part: Part
    earlier: tuple[str, ...]
    config: DedupConfig


def scan(arguments: ScanArguments, sink: Sink) -> dict[str, Any]:
    """Hashes the triples of a part. The value counts triples, keys, and changes of few tokens."""
    folder, part, config = Path(arguments.folder), arguments.part, arguments.config
    kept = decisions.kept(folder, arguments.earlier, part.name)
    decided = [
        decisions.read(folder, stage, part.name, ["scores"]).column("scores").combine_chunks()
        for stage in arguments.earlier
    ]
    keys = _Keys(config)
    first = reached = 0
    with sink.table("rows", TRIPLE_ROWS) as writer:
        for stretch, table in parts.read(folder, part, _COLUMNS):
            count = len(table)
            mined = table.column("scores").combine_chunks()
            columns = [mined, *(scores.slice(first, count) for scores in decided)]
            chosen = np.ones(count, np.bool_) if kept is None else kept[first : first + count]
            rows = np.flatnonzero(chosen)
            taken = table if len(rows) == count else table.filter(pa.array(chosen))
            sizes = np.zeros(count, np.int64)
            shingles = [np.empty(0, np.uint32)]
            for start, lines in _batches(taken, f"{stretch.triples}: row group from {first}"):
                stop = start + len(lines.patches) - 1
                found = keys.add(first + rows[start:stop], taken.slice(start, stop - start), lines)
                if found is not None:
                    sizes[rows[start:stop]] = np.diff(found.offsets)
                    shingles.append(found.hashes)
            ids = _halves(bytes.fromhex("".join(table.column("id").to_pylist())))
            offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
            sets = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(shingles)))
            scores = _scores(columns, config.score)
            ranks = [config.rank(kind) for kind in table.column("kind").to_pylist()]
            writer.write(batch(TRIPLE_ROWS, ids[:, 0], ids[:, 1], ranks, scores, sets))
            first += count
            reached += len(rows)
    keys.write(sink)
    return {
        "triples": reached,
        "short": keys.short,
        "exact_keys": len(keys.exact),
        "band_keys": sum(len(rows) for _, rows, _ in keys.bands),
    }


class _Keys:
    """The keys of a part's triples, as they are found."""

    def __init__(self, config: DedupConfig) -> None:
        self._config = config
        self.exact: list[tuple[bytes, int, int]] = []  # hash, row, by
        self.bands: list[tuple[Words, Ints, Ints]] = []  # key, row, size of the set
        self.short = 0

    def add(self, rows: Ints, triples: pa.Table, lines: Lines) -> Shingles | None:
        """Enters a batch; its shingles, where near-duplicates are looked for.

        Args:
            rows: (P,) of the triples in their part.
            triples: P rows.
            lines: of their patches.
        """
        config = self._config
        groups = [config.group(kind) for kind in triples.column("kind").to_pylist()]
        if config.exact:
            changes = contents_ids(triples.column("files").combine_chunks())
            for by, names in ((PATCH, patch_ids(lines)), (CONTENTS, changes)):
                self.exact += [
                    (_hash(group, by, name), row, by)
                    for group, name, row in zip(groups, names, rows.tolist(), strict=True)
                    if name
                ]
        if not config.near:
            return None
        shingles = make_shingles(lines, config.ngram)
        long = shingles.tokens >= config.min_tokens
        self.short += int(np.count_nonzero(~long))
        signatures = make_signatures(shingles, config.permutations)[long]
        seeds = np.array([_seed(group) for group in groups], np.uint64)[long]
        keys = band_keys(signatures, config.bands, config.rows, seeds).ravel()
        sizes = np.diff(shingles.offsets)[long]
        many = config.bands
        self.bands.append((keys, np.repeat(rows[long], many), np.repeat(sizes, many)))
        return shingles

    def write(self, sink: Sink) -> None:
        """Writes both tables, sorted by key and row."""
        halves = _halves(b"".join(hash for hash, _, _ in self.exact))
        rows = np.array([row for _, row, _ in self.exact], np.uint32)
        by = np.array([by for _, _, by in self.exact], np.uint8)
        order = np.lexsort((rows, halves[:, 0]))
        with sink.table("exact", EXACT_KEYS) as writer:
            columns = (halves[:, 0], halves[:, 1], rows, by)
            writer.write(batch(EXACT_KEYS, *(column[order] for column in columns)))
        none = np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
        key, row, size = (np.concatenate(c) for c in zip(none, *self.bands, strict=True))
        order = np.lexsort((row, key))
        with sink.table("bands", BAND_KEYS) as writer:
            writer.write(batch(BAND_KEYS, key[order], row[order], size[order]))


def contents_ids(files: pa.ListArray) -> list[bytes | None]:
    """The name of what each triple does to contents; None for one without files."""
    flat = files.flatten()
    columns = [pc.struct_field(flat, name).to_pylist() for name in ChangedFile._fields]
    changed = list(map(ChangedFile._make, zip(*columns, strict=True)))
    ends = np.cumsum(pc.list_value_length(files).to_numpy()).tolist()
    return [contents_id(changed[a:b]) if a < b else None for a, b in pairwise([0, *ends])]


def _batches(triples: pa.Table, where: str) -> Iterator[tuple[int, Lines]]:
    """The lines of about a megabyte of patches at a time, with the number of the first triple."""
    text, offsets = _bytes_of(triples.column("patch").combine_chunks())
    ends = offsets[1:][np.diff(offsets) > 0]
    if not np.all(text[ends - 1] == _NEWLINE):
        raise DataError(f"{where}: a patch does not end with a newline; mine the list again")
    start, count = 0, len(triples)
    while start < count:
        limit = offsets[start] + _BATCH_BYTES
        stop = max(start + 1, int(np.searchsorted(offsets, limit, "right")) - 1)
        bounds = offsets[start : stop + 1]
        yield start, find_lines(text[bounds[0] : bounds[-1]], bounds - bounds[0])
        start = stop


def _bytes_of(texts: pa.LargeStringArray) -> tuple[Bytes, Ints]:
    """The bytes of some strings, one after the other, and where each starts; no copy."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data if data is not None else b"", np.uint8), bounds


def _scores(columns: Sequence[pa.ListArray], name: str) -> npt.NDArray[np.float32]:
    """The score of that name of each row, from the last of the columns that has it, else 0."""
    scores = np.zeros(len(columns[0]), np.float32)
    for column in columns:
        offsets, pairs = column.offsets.to_numpy(), column.values
        found = np.flatnonzero(pc.equal(pairs.field("key"), name).to_numpy(zero_copy_only=False))
        rows = np.searchsorted(offsets, found, "right") - 1
        inside = (rows >= 0) & (rows < len(column))
        scores[rows[inside]] = pairs.field("value").to_numpy()[found[inside]]
    return np.nan_to_num(scores)


def _hash(group: str, by: int, name: bytes) -> bytes:
    return hashlib.blake2b(
        b"%s\0%d\0%s" % (group.encode(), by, name), digest_size=_HASH_BYTES
    ).digest()


@cache
def _seed(group: str) -> int:
    return int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "big")


def _halves(data: bytes) -> Words:
    """(n, 2): n numbers of 16 bytes, whose order is that of the bytes."""
    return np.frombuffer(data, ">u8").astype(np.uint64).reshape(-1, 2)
