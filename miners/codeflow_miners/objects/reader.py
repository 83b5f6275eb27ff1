"""Reading Git objects raw, each checked against its own id.

Objects come straight from a repository's object database, so that nothing else of it has a say:
no configuration, replace refs, grafts or attributes. libgit2's own hash check is slow and off;
instead every object read is hashed here (SHA-1 in hardware, about 0.5 s for 600 MB), and one that
does not match its name ends the repository with the rule `damaged-object`. Where a copy of an
object is damaged and git finds another, so does `codeflow_miners.acquire.second_look`.

What git tolerates in an object is tolerated: modes as its index makes them, commits without an
author. Only a tree that no index could hold is not read.
"""

from __future__ import annotations

import re
from hashlib import sha1
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.alternates import Stores, object_stores
from codeflow_miners.acquire.partial import absent_in
from codeflow_miners.acquire.second_look import PackFolder, read_with_git
from codeflow_miners.history.commit import RawCommit, parse_commit
from codeflow_miners.objects.loose import loose_objects, open_loose, read_loose

_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.S)
_CANONICAL_MODES = frozenset({b"100644", b"100755", b"120000", b"40000", b"160000"})
_CACHED_BYTES = 32 << 20
_WINDOW_BYTES, _MAPPED_BYTES = 64 << 20, 256 << 20  # of packs, which may be larger than memory

Entry = tuple[bytes, bytes, bytes]
"""(canonical mode, name, id) of one tree entry."""


class ObjectReader:
    """The objects of one repository. Not shared between processes or threads."""

    def __init__(self, git_dir: Path) -> None:
        pygit2.settings.enable_strict_hash_verification(False)
        pygit2.settings.cache_max_size(_CACHED_BYTES)
        pygit2.settings.mwindow_size = _WINDOW_BYTES
        pygit2.settings.mwindow_mapped_limit = _MAPPED_BYTES
        self._objects = git_dir / "objects"
        stores = object_stores(self._objects)
        self._lost = stores.lost
        self._absent_from = absent_in(git_dir)
        self._loose = loose_objects(stores.folders)
        self._odb = pygit2.Odb()
        try:
            self._packs = [PackFolder(folder) for folder in stores.folders]
            for packs in self._packs:
                self._odb.add_backend(pygit2.OdbBackendPack(packs.objects), 1)
        except pygit2.GitError:  # whose text names the folder, and ledgers are published
            stores = Stores((), False)
        if not stores.folders:
            raise RepositoryError(
                "damaged", "its folder of objects is gone or does not open; run git fsck"
            )

    def blob(self, object_id: bytes) -> bytes:
        """Content of a blob."""
        return self._read(object_id, ObjectType.BLOB)

    def blob_size(self, object_id: bytes) -> int:
        """Size of a blob in bytes, from its header alone.

        Of one that a partial clone lacks, it is the least that it can be.
        """
        try:
            if object_id in self._loose:
                return open_loose(self._loose[object_id], object_id)[1]
            return int(self._odb.read_header(pygit2.Oid(raw=object_id))[1])
        except Exception as error:  # libgit2 has a class of error for each kind of damage
            if self._absent_from is not None and isinstance(error, KeyError):
                return self._absent_from
            return len(self.blob(object_id))

    def commit(self, object_id: bytes) -> RawCommit:
        """A parsed commit object."""
        return parse_commit(object_id, self._read(object_id, ObjectType.COMMIT))

    def tree(self, object_id: bytes) -> list[Entry]:
        """Entries of a tree in stored order, modes as Git's index would make them.

        Raises RepositoryError for one that no index could hold: a name twice, a slash in a name.
        """
        raw = self._read(object_id, ObjectType.TREE)
        entries: list[Entry] = _ENTRY.findall(raw)
        modes = [entry[0] for entry in entries]
        names = [entry[1] for entry in entries]
        joined = b"".join(names)
        if len(b"".join(modes)) + len(joined) + 22 * len(entries) != len(raw):
            raise _malformed(object_id, "is malformed")
        if b"/" in joined:
            raise _malformed(object_id, "has a name with a slash in it, which no index holds")
        if len(set(names)) < len(names):
            raise _malformed(object_id, "has a name twice, which no index holds")
        if not _CANONICAL_MODES.issuperset(modes):
            return [(_canonical(mode), name, child) for mode, name, child in entries]
        return entries

    def _read(self, object_id: bytes, wanted: ObjectType) -> bytes:
        kind = _TYPE_NAMES[wanted]
        try:
            return self._read_once(object_id, kind)
        except (RepositoryError, OSError) as error:
            data = read_with_git(self._objects, object_id, kind)
            if data is not None and _digest(kind, data) == object_id:
                return data  # git has found another copy of it
            if self._lost and getattr(error, "rule", None) == "missing-object":
                raise RepositoryError(
                    "missing-alternate",
                    f"object {object_id.hex()} is missing, and so is a repository that it borrows "
                    "objects from (objects/info/alternates)",
                ) from None
            raise

    def _read_once(self, object_id: bytes, wanted: bytes) -> bytes:
        if object_id in self._loose:
            name, data = read_loose(self._loose[object_id], object_id)
        else:
            try:
                kind, data = self._odb.read(pygit2.Oid(raw=object_id))
            except Exception as error:
                raise _unreadable(object_id, error) from None
            name = _TYPE_NAMES.get(kind, b"unknown")
        if _digest(name, data) != object_id:
            raise RepositoryError(
                "damaged-object", f"object {object_id.hex()} does not match its id; run git fsck"
            )
        if name != wanted:
            raise RepositoryError(
                "damaged-object", f"object {object_id.hex()} is a {name.decode()}; run git fsck"
            )
        return data


def _digest(kind: bytes, data: bytes) -> bytes:
    digest = sha1(b"%s %d\0" % (kind, len(data)))
    digest.update(data)
    return digest.digest()


def _malformed(object_id: bytes, what: str) -> RepositoryError:
    return RepositoryError("damaged-object", f"tree {object_id.hex()} {what}; run git fsck")


_TYPE_NAMES = {
    ObjectType.COMMIT: b"commit",
    ObjectType.TREE: b"tree",
    ObjectType.BLOB: b"blob",
    ObjectType.TAG: b"tag",
}


def _unreadable(object_id: bytes, error: Exception) -> RepositoryError:
    if isinstance(error, KeyError):
        return RepositoryError(
            "missing-object", f"object {object_id.hex()} is missing; run git fsck"
        )
    return RepositoryError(
        "damaged-object", f"object {object_id.hex()} does not read ({error}); run git fsck"
    )


def _canonical(mode: bytes) -> bytes:
    """The mode as git reads it (`canon_mode`): old histories hold 100664, 0100644 and the like."""
    bits = int(mode, 8) & 0xFFFFFFFF
    kind = bits & 0o170000
    if kind == 0o100000:
        return b"100755" if bits & 0o100 else b"100644"
    return _OTHER_KINDS.get(kind, b"160000")


_OTHER_KINDS = {0o040000: b"40000", 0o120000: b"120000"}
