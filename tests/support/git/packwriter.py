"""Packs that git would never write: any delta on any base."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_DELTA = bytes([10, 10, 0x90, 10])  # of 10 bytes make 10 bytes: all of them


class DeltaEntry(NamedTuple):
    """An object of a pack: a delta of the object `base`, or of the entry before it."""

    name: bytes
    base: bytes | None = None


def write_pack(folder: Path, entries: Sequence[DeltaEntry]) -> Path:
    """Writes `pack-crafted.pack` and its index (version 2), checksums right; returns the pack."""
    body = b"PACK" + struct.pack(">II", 2, len(entries))
    rows = []
    last = 0
    for entry in entries:
        at = len(body)
        if entry.base is None:
            raw = bytes([6 << 4 | len(_DELTA), at - last]) + zlib.compress(_DELTA)
        else:
            raw = bytes([7 << 4 | len(_DELTA)]) + entry.base + zlib.compress(_DELTA)
        rows.append((entry.name, zlib.crc32(raw), at))
        body, last = body + raw, at
    trailer = hashlib.sha1(body).digest()
    rows.sort()
    index = b"\377tOc" + struct.pack(">I", 2)
    index += b"".join(struct.pack(">I", sum(r[0][0] <= k for r in rows)) for k in range(256))
    index += b"".join(r[0] for r in rows)
    index += b"".join(struct.pack(">I", r[1]) for r in rows)
    index += b"".join(struct.pack(">I", r[2]) for r in rows) + trailer
    folder.mkdir(exist_ok=True)
    pack = folder / "pack-crafted.pack"
    pack.write_bytes(body + trailer)
    pack.with_suffix(".idx").write_bytes(index + hashlib.sha1(index).digest())
    return pack
