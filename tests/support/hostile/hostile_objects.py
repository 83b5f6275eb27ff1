"""Hostile repositories by their objects: missing, damaged, forged, or bases of themselves."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gitdag import Repo
from hostile_case import MIDDLE, Cases, HostileCase, history
from packwriter import DeltaEntry, write_pack

CASES = Cases()

DAMAGED: Final = frozenset({"missing-object", "damaged-object", "damaged"})


def _damage(name: str, spec: str, harm: Callable[[Repo, Path], None]) -> None:
    """Registers a history in which the object `spec` of the middle commit is harmed."""

    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        oid = repo.git("rev-parse", ids[MIDDLE] + spec).decode().strip()
        harm(repo, repo.loose_path(oid))
        return HostileCase(str(path), DAMAGED)

    CASES.case(name)(build)


def _flip(path: Path, offset: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x41
    path.write_bytes(data)


def _loose(header: bytes, body: bytes) -> Callable[[Repo, Path], None]:
    return lambda _, path: (path.write_bytes(zlib.compress(header + b"\0" + body)), None)[1]


_damage("missing-blob", ":src/app.py", lambda _, path: path.unlink())
_damage("missing-tree", ":src", lambda _, path: path.unlink())
_damage("missing-commit", "", lambda _, path: path.unlink())
_damage("corrupt-blob", ":src/app.py", lambda _, path: _flip(path, path.stat().st_size // 2))
_damage("corrupt-tree", ":src", lambda _, path: _flip(path, path.stat().st_size // 2))
_damage("truncated-blob", ":src/app.py", lambda _, path: os.truncate(path, 20))
_damage("empty-object-file", ":src/app.py", lambda _, path: os.truncate(path, 0))
_damage("forged-blob", ":src/app.py", _loose(b"blob 12", b"evil = True\n"))
_damage("forged-tree", ":src", _loose(b"tree 0", b""))
_damage("lying-size", ":src/app.py", _loose(b"blob 1000000000000", b"small\n"))
_damage("inflating-blob", ":src/app.py", _loose(b"blob 6", b"\0" * (64 << 20)))
_damage("wrong-kind", ":src/app.py", _loose(b"commit 3", b"abc"))


@CASES.case("corrupt-pack")
def _corrupt_pack(path: Path) -> HostileCase:
    """A byte flipped inside a packed blob that other versions may be deltas of."""
    repo, ids = history(path)
    blob = repo.git("rev-parse", f"{ids[MIDDLE]}:src/app.py")
    repo.pack()
    [index] = repo.git_dir.glob("objects/pack/*.idx")
    for line in repo.git("verify-pack", "-v", str(index)).splitlines():
        if line.startswith(blob.strip()):
            size, offset = (int(x) for x in line.split()[3:5])
            _flip(index.with_suffix(".pack"), offset + size - 6)
    return HostileCase(str(path), DAMAGED)


def _pack_harmed(name: str, pattern: str, harm: Callable[[Path], object]) -> None:
    """Registers a packed history one file of whose pack is harmed."""

    def build(path: Path) -> HostileCase:
        repo, _ = history(path)
        repo.pack()
        [file] = repo.git_dir.glob(f"objects/pack/*.{pattern}")
        file.chmod(0o644)
        harm(file)
        return HostileCase(str(path), DAMAGED)

    CASES.case(name)(build)


_pack_harmed("truncated-pack", "pack", lambda p: os.truncate(p, p.stat().st_size // 2))
_pack_harmed("truncated-index", "idx", lambda p: os.truncate(p, p.stat().st_size // 2))
_pack_harmed("empty-pack", "pack", lambda p: os.truncate(p, 0))
_pack_harmed("empty-index", "idx", lambda p: os.truncate(p, 0))
_pack_harmed("garbage-pack", "pack", lambda p: p.write_bytes(b"\xff" * p.stat().st_size))
_pack_harmed("garbage-index", "idx", lambda p: p.write_bytes(b"\xff" * p.stat().st_size))
_pack_harmed("pack-without-index", "idx", lambda p: p.unlink())
_pack_harmed("index-without-pack", "pack", lambda p: p.unlink())


def _endless_deltas(name: str, bases: Callable[[bytes, bytes], list[DeltaEntry]]) -> None:
    """Registers a history whose middle blob is a delta that leads back to itself."""

    def build(path: Path) -> HostileCase:
        repo, ids = history(path)
        blob = repo.git("rev-parse", f"{ids[MIDDLE]}:src/app.py").decode().strip()
        repo.loose_path(blob).unlink()
        write_pack(repo.git_dir / "objects/pack", bases(bytes.fromhex(blob), b"\xbb" * 20))
        return HostileCase(str(path), frozenset({"damaged"}))

    CASES.case(name)(build)


_endless_deltas("delta-of-itself", lambda a, b: [DeltaEntry(a, base=a)])
_endless_deltas("delta-circle", lambda a, b: [DeltaEntry(a, base=b), DeltaEntry(b, base=a)])
_endless_deltas("delta-circle-by-offset", lambda a, b: [DeltaEntry(b, base=a), DeltaEntry(a)])
