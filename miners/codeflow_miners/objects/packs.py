"""Looks over packs before anything reads deltas from them: git and libgit2 both follow for ever a
delta whose bases lead back to itself (git 2.4x, libgit2 1.9), the latter filling the memory.

Formats: gitformat-pack. An object that is a delta names its base by how far before it stands, or by
id. Where every base is an object of the index and the chains that ids close have an end, any chain
has one, wherever it is entered. Works on whole columns: about a second for a million objects, and
it touches a page of the pack per object.

A pack that git does not open (its index or itself is damaged, or not of the other) is passed over,
as git and libgit2 do: what is in it alone is missing when it is asked for.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from codeflow.errors import RepositoryError

_MAGIC, _V2 = b"\377tOc", b"\0\0\0\2"
_PACKS = (b"PACK\0\0\0\2", b"PACK\0\0\0\3")
_OFFSET_DELTA, _ID_DELTA = 6, 7
_MAX_NUMBER_BYTES = 10
_TRAILER_BYTES = 20

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def require_sound_packs(objects: Path) -> None:
    """Raises RepositoryError `damaged` for a pack with offsets or deltas that lead nowhere."""
    for path in sorted(objects.glob("pack/pack-*.idx")):
        pack = path.with_suffix(".pack")
        index = _read_index(path) if path.is_file() and pack.is_file() else None
        if index is not None and _opens(pack, index):
            _require_sound(pack, index)


class _Index(NamedTuple):
    """Names (20 bytes each, sorted) and offsets of the objects of a pack, and its checksum."""

    names: bytes
    offsets: Numbers
    checksum: bytes


def _opens(path: Path, index: _Index) -> bool:
    """Whether git opens the pack (`open_packed_git_1`)."""
    with open(path, "rb") as file:
        head = file.read(12)
        if len(head) < 12 or file.seek(0, os.SEEK_END) < 12 + _TRAILER_BYTES:
            return False
        file.seek(-_TRAILER_BYTES, os.SEEK_END)
        checksum = file.read()
    return (
        head[:8] in _PACKS
        and int.from_bytes(head[8:], "big") == len(index.offsets)
        and checksum == index.checksum
    )


def _require_sound(pack: Path, index: _Index) -> None:
    names, offsets, _ = index
    size = pack.stat().st_size - _TRAILER_BYTES
    if not len(offsets):
        return
    if int(offsets.max()) >= size or int(offsets.min()) < 12:
        raise _damaged(pack, "is cut short")
    bases = _bases(np.memmap(pack, np.uint8, "r"), pack, names, offsets)
    if bases is None:
        return
    for _ in range(len(offsets).bit_length()):  # each time twice as far
        bases = bases[bases]
    if (bases != len(offsets)).any():
        place = int(np.flatnonzero(bases != len(offsets))[0])
        name = names[20 * place : 20 * place + 20].hex()
        raise _damaged(pack, f"holds object {name} as a delta without end")


def _read_index(path: Path) -> _Index | None:
    """An index; None where git does not take it for one (`load_idx`)."""
    data = path.read_bytes()
    head = 8 if data.startswith(_MAGIC) else 0
    if len(data) < head + 1024 + 40 or (head and data[4:8] != _V2):
        return None
    fan = np.frombuffer(data, ">u4", 256, head).astype(np.int64)
    count, start = int(fan[-1]), head + 1024
    least = start + (28 if head else 24) * count + 40
    most = least + 8 * max(0, count - 1) if head else least
    if (np.diff(fan) < 0).any() or not least <= len(data) <= most:
        return None
    checksum = data[-40:-20]
    if not head:
        rows = np.frombuffer(data, np.dtype([("at", ">u4"), ("name", "V20")]), count, start)
        return _Index(rows["name"].tobytes(), rows["at"].astype(np.int64), checksum)
    names = data[start : start + 20 * count]
    offsets = np.frombuffer(data, ">u4", count, start + 24 * count).astype(np.int64)
    large = offsets >= 1 << 31
    if large.any():
        first = start + 28 * count
        table = np.frombuffer(data[first : first + (len(data) - 40 - first) // 8 * 8], ">u8")
        places = offsets[large] - (1 << 31)
        if int(places.max()) >= len(table):
            raise _damaged(path, "is cut short")
        offsets[large] = table[places].astype(np.int64)
    return _Index(names, offsets, checksum)


def _bases(pack: Bytes, path: Path, names: bytes, offsets: Numbers) -> Numbers | None:
    """For each object the place of its base; their number for those that are whole, and for it.

    None where no delta names its base by id: then bases stand before what is made from them.
    """
    count = len(offsets)
    first = pack[offsets]
    kinds = (first >> 4) & 7
    bases = np.full(count + 1, count, np.int64)
    order = np.argsort(offsets)
    ordered = offsets[order]
    near = np.flatnonzero(kinds == _OFFSET_DELTA)
    if len(near):
        targets = offsets[near] - _distances(pack, _after_size(pack, offsets[near], first[near]))
        found = np.minimum(np.searchsorted(ordered, targets), count - 1)
        if (ordered[found] != targets).any() or (targets >= offsets[near]).any():
            raise _damaged(path, "holds a delta without a base")
        bases[near] = order[found]
    by_id = np.flatnonzero(kinds == _ID_DELTA)
    if not len(by_id):
        return None
    places = range(count)
    starts = _after_size(pack, offsets[by_id], first[by_id])
    for at, start in zip(by_id.tolist(), starts.tolist(), strict=True):
        name = pack[start : start + 20].tobytes()
        place = bisect_left(places, name, key=lambda k: names[20 * k : 20 * k + 20])
        if place < count and names[20 * place : 20 * place + 20] == name:
            bases[at] = place
    return bases


def _after_size(pack: Bytes, offsets: Numbers, first: Bytes) -> Numbers:
    """Where the number of an object's size ends."""
    at = offsets + 1
    going = np.flatnonzero(first & 0x80)
    for _ in range(_MAX_NUMBER_BYTES):
        if not len(going):
            break
        going, read = going[_take(pack, at[going]) & 0x80 != 0], going
        at[read] += 1
    return at


def _distances(pack: Bytes, at: Numbers) -> Numbers:
    """How far before a delta its base stands, read from `at` on."""
    byte = _take(pack, at)
    values = (byte & 0x7F).astype(np.int64)
    going = np.flatnonzero(byte & 0x80)
    for k in range(1, _MAX_NUMBER_BYTES):
        if not len(going):
            break
        byte = _take(pack, at[going] + k)
        values[going] = ((values[going] + 1) << 7) + (byte & 0x7F)
        going = going[byte & 0x80 != 0]
    return values


def _take(pack: Bytes, at: Numbers) -> Bytes:
    return pack[np.minimum(at, len(pack) - 1)]


def _damaged(path: Path, what: str) -> RepositoryError:
    return RepositoryError("damaged", f"{path.name} {what}; run git fsck")
