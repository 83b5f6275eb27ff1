"""Reading Git objects raw, each checked against its own id.

Objects come straight from a repository's object database, so that nothing else of it has a say:
no configuration, replace refs, grafts or attributes. libgit2's own hash check is slow and off;
instead every object read is hashed here (SHA-1 in hardware, about 0.5 s for 600 MB), and one that
does not match its name ends the repository with the rule `damaged-object`.
"""

from __future__ import annotations

import re
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple

import pygit2
from pygit2.enums import ObjectType

from codeflow.errors import RepositoryError
from codeflow_miners.objects.loose import loose_objects, open_loose, read_loose

_ENTRY = re.compile(rb"([0-7]{1,7}) ([^\0]+)\0(.{20})", re.S)
_CANONICAL_MODES = frozenset({b"100644", b"100755", b"120000", b"40000", b"160000"})
_CACHED_BYTES = 32 << 20
_WINDOW_BYTES, _MAPPED_BYTES = 64 << 20, 256 << 20  # of packs, which may be larger than memory

Entry = tuple[bytes, bytes, bytes]
"""(canonical mode, name, id) of one tree entry."""


class RawCommit(NamedTuple):
    """The fields of a commit object, undecoded. Times are seconds since the epoch."""

    tree: bytes
    parents: tuple[bytes, ...]
    author: bytes
    committed_at: int
    encoding: bytes | None
    message: bytes


class ObjectReader:
    """The objects of one repository. Not shared between processes or threads."""

    def __init__(self, git_dir: Path) -> None:
        pygit2.settings.enable_strict_hash_verification(False)
        pygit2.settings.cache_max_size(_CACHED_BYTES)
        pygit2.settings.mwindow_size = _WINDOW_BYTES
        pygit2.settings.mwindow_mapped_limit = _MAPPED_BYTES
        self._loose = loose_objects(git_dir / "objects")
        try:
            self._odb = pygit2.Odb(str(git_dir / "objects"))
        except pygit2.GitError:  # whose text names the folder, and ledgers are published
            raise RepositoryError(
                "damaged", "its folder of objects is gone or does not open; run git fsck"
            ) from None

    def blob(self, object_id: bytes) -> bytes:
        """Content of a blob."""
        return self._read(object_id, ObjectType.BLOB)

    def blob_size(self, object_id: bytes) -> int:
        """Size of a blob in bytes, from its header alone."""
        if object_id in self._loose:
            return open_loose(self._loose[object_id], object_id)[1]
        try:
            return int(self._odb.read_header(pygit2.Oid(raw=object_id))[1])
        except Exception as error:  # libgit2 has a class of error for each kind of damage
            raise _unreadable(object_id, error) from None

    def commit(self, object_id: bytes) -> RawCommit:
        """A parsed commit object."""
        return _parse_commit(object_id, self._read(object_id, ObjectType.COMMIT))

    def tree(self, object_id: bytes) -> list[Entry]:
        """Entries of a tree in stored order, modes as Git's index would make them.

        Raises RepositoryError for one that no index could hold: a name twice, a slash in a name.
        """
        raw = self._read(object_id, ObjectType.TREE)
        entries: list[Entry] = _ENTRY.findall(raw)
        modes = [entry[0] for entry in entries]
        names = [entry[1] for entry in entries]
        joined = b"".join(names)
        if (
            len(b"".join(modes)) + len(joined) + 22 * len(entries) != len(raw)
            or b"/" in joined
            or len(set(names)) < len(names)
        ):
            raise RepositoryError(
                "damaged-object", f"tree {object_id.hex()} is malformed; run git fsck"
            )
        if not _CANONICAL_MODES.issuperset(modes):
            return [(_canonical(mode), name, child) for mode, name, child in entries]
        return entries

    def _read(self, object_id: bytes, wanted: ObjectType) -> bytes:
        if object_id in self._loose:
            name, data = read_loose(self._loose[object_id], object_id)
        else:
            try:
                kind, data = self._odb.read(pygit2.Oid(raw=object_id))
            except Exception as error:
                raise _unreadable(object_id, error) from None
            name = _TYPE_NAMES.get(kind, b"unknown")
        digest = sha1(b"%s %d\0" % (name, len(data)))
        digest.update(data)
        if digest.digest() != object_id:
            raise RepositoryError(
                "damaged-object", f"object {object_id.hex()} does not match its id; run git fsck"
            )
        if name != _TYPE_NAMES[wanted]:
            raise RepositoryError(
                "damaged-object", f"object {object_id.hex()} is a {name.decode()}; run git fsck"
            )
        return data


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
    """The mode as Git's index makes it: old histories hold 100664, 100000 and the like."""
    bits = int(mode, 8)
    kind = bits & 0o170000
    if kind == 0o040000:
        return b"40000"
    if kind == 0o120000:
        return b"120000"
    if kind == 0o160000:
        return b"160000"
    return b"100755" if bits & 0o100 else b"100644"


_COMMIT = re.compile(
    rb"tree ([0-9a-f]{40})\n"
    rb"((?:parent [0-9a-f]{40}\n)*)"
    rb"author ([^\n]*)\n(?:author [^\n]*\n)*"
    rb"committer ([^\n]*)"
)
_ENCODING = re.compile(rb"^encoding ([^\n]*)", re.M)


def _parse_commit(object_id: bytes, raw: bytes) -> RawCommit:
    head, _, message = raw.partition(b"\n\n")
    match = _COMMIT.match(head)
    if match is None:
        raise RepositoryError(
            "damaged-object", f"commit {object_id.hex()} is malformed; run git fsck"
        )
    tree, parents, author, committer = match.groups()
    ids = [bytes.fromhex(line[7:47].decode()) for line in parents.splitlines()]
    encoding = _ENCODING.search(head, match.end()) if len(head) > match.end() else None
    return RawCommit(
        bytes.fromhex(tree.decode()),
        tuple(dict.fromkeys(ids)),  # a duplicate parent counts once
        author,
        _seconds(committer),
        encoding[1] if encoding else None,
        message,
    )


_LAST_SECOND = 253402300799  # 9999-12-31, the last time that Arrow readers turn into a date


def _seconds(identity: bytes) -> int:
    """The time of an author or committer line; 0 when it has none, as Git reads it."""
    fields = identity.rpartition(b"> ")[2].split(b" ")
    try:
        return min(max(int(fields[0]), 0), _LAST_SECOND)
    except ValueError:
        return 0


def identity(line: bytes) -> tuple[bytes, bytes]:
    """(name, e-mail) of an author line."""
    name, _, rest = line.partition(b"<")
    return name.strip(), rest.partition(b">")[0].strip()
