"""Looks over packs before anything reads deltas from them: git and libgit2 both follow for ever a
delta whose bases lead back to itself (git 2.4x, libgit2 1.9), the latter filling the memory.

Formats: gitformat-pack. An object that is a delta names its base by how far before it stands, or by
id. Where every base is an object of the index and the chains that ids close have an end, any chain
has one, wherever it is entered. Works on whole columns: about a second for a million objects, and
it touches a page of the pack per object.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codeflow.errors import RepositoryError

_V2 = b"\377tOc\0\0\0\2"
_OFFSET_DELTA, _ID_DELTA = 6, 7
_MAX_NUMBER_BYTES = 10
_TRAILER_BYTES = 20

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def require_sound_packs(objects: Path) -> None:
    """Raises RepositoryError `damaged` for a pack that is cut short or whose deltas never end."""
    for index in sorted(objects.glob("pack/pack-*.idx")):
        pack = index.with_suffix(".pack")
        if pack.is_file():
            _require_sound(index, pack)


def _require_sound(index: Path, pack: Path) -> None:
    names, offsets = _read_index(index)
    size = pack.stat().st_size - _TRAILER_BYTES
    if not len(offsets):
        return
    if size < 12 or int(offsets.max()) >= size or int(offsets.min()) < 12:
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


def _read_index(path: Path) -> tuple[bytes, Numbers]:
    """Names (20 bytes each, sorted) and offsets of the objects of a pack."""
    data = path.read_bytes()
    head = 8 if data.startswith(_V2) else 0
    if len(data) < head + 1024:
        raise _damaged(path, "is cut short")
    count = int.from_bytes(data[head + 1020 : head + 1024], "big")
    start = head + 1024
    if len(data) < start + (28 if head else 24) * count + 40:
        raise _damaged(path, "is cut short")
    if not head:
        rows = np.frombuffer(data, np.dtype([("at", ">u4"), ("name", "V20")]), count, start)
        return rows["name"].tobytes(), rows["at"].astype(np.int64)
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
    return names, offsets


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
