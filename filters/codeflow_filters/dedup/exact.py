"""Names of a change, equal for equal changes.

*By patch*: what `git patch-id --stable` prints: the SHA-1 of each file's part of the patch without
white space, line numbers, blob ids and notes on missing newlines; the sums of these. A cherry-pick
has it of its original, wherever the lines have moved to, as long as paths and context are the same.

*By contents*: the contents before and after, whatever the paths, because forks and copies keep
files elsewhere. A file whose bytes stay the same (renamed, another mode), or that has none on
either side, says nothing without its path, so there the paths belong to the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from codeflow_filters.dedup.lines import BACKSLASH, Lines

_SPACE = np.zeros(256, np.bool_)
_SPACE[list(b" \t\n\r")] = True
_SUMS = 1 << 160
_EMPTY_BLOBS = (
    None,
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",  # of SHA-256 repositories
)


def patch_ids(lines: Lines) -> list[bytes | None]:
    """The patch id of every patch, as git's 20 bytes; None for a patch without a line."""
    skipped = lines.opens_hunk | (lines.first == BACKSLASH)
    skipped |= ~lines.in_hunk & lines.starting_with(b"in")  # index
    kept = ~np.repeat(skipped, lines.lengths)
    kept &= ~_SPACE[lines.text]
    places = np.flatnonzero(kept)
    text = lines.text[places].tobytes()

    files = np.flatnonzero(lines.opens_file)
    if len(files) == 0:
        return [None] * (len(lines.patches) - 1)
    with_hunks = np.add.reduceat(lines.opens_hunk, files, dtype=np.int64) > 0
    at = lines.starts[files]
    patch = np.searchsorted(lines.patches, at, side="right") - 1
    # git sums after hunks alone: a file without any is hashed together with the one that follows
    begins = np.concatenate(([True], with_hunks[:-1] | (patch[1:] != patch[:-1])))
    bounds = np.append(np.searchsorted(places, at[begins]), len(places)).tolist()

    sums: list[int | None] = [None] * (len(lines.patches) - 1)
    for number, owner in enumerate(patch[begins].tolist()):
        digest = hashlib.sha1(text[bounds[number] : bounds[number + 1]]).digest()
        sums[owner] = (sums[owner] or 0) + int.from_bytes(digest, "little")
    return [None if s is None else (s % _SUMS).to_bytes(20, "little") for s in sums]


class ChangedFile(NamedTuple):
    """The columns of a file change that make its identity; see `codeflow.records.FileChange`."""

    old_path: str | None
    new_path: str | None
    old_mode: str | None
    new_mode: str | None
    old_blob: str | None
    new_blob: str | None


def contents_id(files: Iterable[ChangedFile]) -> bytes:
    """A name for what a change does to contents, the same in any order of the files."""
    return "\n".join(sorted(map(_contents, files))).encode()


def _contents(file: ChangedFile) -> str:
    said = f"{file.old_mode} {file.old_blob} {file.new_mode} {file.new_blob}"
    same = file.old_blob == file.new_blob
    empty = file.old_blob in _EMPTY_BLOBS and file.new_blob in _EMPTY_BLOBS
    return f"{said} {file.old_path!r} {file.new_path!r}" if same or empty else said
