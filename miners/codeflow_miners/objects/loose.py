"""Loose objects, read here and not by libgit2, which never returns from a truncated one (1.9).

Format: gitformat-loose: a zlib stream of `TYPE SIZE`, a NUL byte, and the content.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from codeflow.errors import RepositoryError

_CHUNK_BYTES = 1 << 16
_MAX_BYTES = 1 << 31
_FAN = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{38}")
_HEADER = re.compile(rb"(blob|tree|commit|tag) (\d{1,12})\0")


def loose_objects(stores: Iterable[Path]) -> dict[bytes, str]:
    """Path of every loose object of some object stores, the first that has it."""
    found: dict[bytes, str] = {}
    for folder in stores:
        for fan in os.scandir(folder):
            if _FAN.fullmatch(fan.name) and fan.is_dir():
                for entry in os.scandir(fan.path):
                    if _NAME.fullmatch(entry.name):
                        found.setdefault(bytes.fromhex(fan.name + entry.name), entry.path)
    return found


def open_loose(path: str, object_id: bytes) -> tuple[bytes, int]:
    """(type, size in bytes) from the header alone."""
    with open(path, "rb") as file:
        try:
            head = zlib.decompressobj().decompress(file.read(256), 64)
        except zlib.error as error:
            raise _damaged(object_id, str(error)) from None
    match = _HEADER.match(head)
    if match is None:
        raise _damaged(object_id, "it has no header")
    return match[1], int(match[2])


def read_loose(path: str, object_id: bytes) -> tuple[bytes, bytes]:
    """(type, content). Raises RepositoryError `damaged-object` for anything but a whole object."""
    kind, size = open_loose(path, object_id)
    stream = zlib.decompressobj()
    parts = []
    total = 0
    with open(path, "rb") as file:
        try:
            while not stream.eof:
                chunk = stream.unconsumed_tail or file.read(_CHUNK_BYTES)
                if not chunk:
                    raise _damaged(object_id, "it is cut short")
                part = stream.decompress(chunk, _CHUNK_BYTES * 16)
                total += len(part)
                if total > size + 64 or total > _MAX_BYTES:
                    raise _damaged(object_id, "it is longer than its header says")
                parts.append(part)
        except zlib.error as error:
            raise _damaged(object_id, str(error)) from None
    content = b"".join(parts).partition(b"\0")[2]
    if len(content) != size:
        raise _damaged(object_id, "its size is not what its header says")
    return kind, content


def _damaged(object_id: bytes, what: str) -> RepositoryError:
    reason = f"object {object_id.hex()} does not read ({what}); run git fsck"
    return RepositoryError("damaged-object", reason)
