"""A commit object as git reads it, however odd.

git needs a tree and takes what else it finds: a commit may lack its author or its date, have them
twice (the last one counts, as in `git log`), or name a parent twice.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from codeflow.errors import RepositoryError


class RawCommit(NamedTuple):
    """The fields of a commit object, undecoded. Times are seconds since the epoch.

    `parents` are as written: one may stand there twice, and makes a merge for git.
    """

    tree: bytes
    parents: tuple[bytes, ...]
    author: bytes
    authored_at: int
    committed_at: int
    encoding: bytes | None
    message: bytes


_HEAD: Final = re.compile(rb"tree ([0-9a-fA-F]{40})\n((?:parent [0-9a-fA-F]{40}\n)*)")
_PARENT_BYTES: Final = 47
_AUTHOR: Final = re.compile(rb"^author ([^\n]*)", re.M)
_COMMITTER: Final = re.compile(rb"^committer ([^\n]*)", re.M)
_ENCODING: Final = re.compile(rb"^encoding ([^\n]*)", re.M)
_TIME: Final = re.compile(rb"[ \t\n\v\f\r]*([0-9]+)")
_LAST_SECOND: Final = 253402300799  # 9999-12-31, the last time that Arrow readers make a date of


def parse_commit(object_id: bytes, raw: bytes) -> RawCommit:
    """A commit from its raw object.

    Raises:
        RepositoryError: `damaged-object`: it names no tree, or git cannot tell its parents.
    """
    match = _HEAD.match(raw)
    end = match.end() if match else len(raw)
    # what begins like a parent is one, unless it is too short for that
    half = raw.startswith(b"parent ", end) and end + _PARENT_BYTES < len(raw)
    if match is None or end == len(raw) or half:
        raise RepositoryError(
            "damaged-object", f"commit {object_id.hex()} is malformed; run git fsck"
        )
    tree, parents = match.groups()
    head, _, message = raw[end - 1 :].partition(b"\n\n")
    author, committer = _last(_AUTHOR, head), _last(_COMMITTER, head)
    encoding = _ENCODING.search(head)
    return RawCommit(
        bytes.fromhex(tree.decode()),
        tuple(bytes.fromhex(line[7:47].decode()) for line in parents.splitlines()),
        author,
        _seconds(author),
        _seconds(committer),
        encoding[1] if encoding else None,
        message,
    )


def identity(line: bytes) -> tuple[bytes, bytes]:
    """(name, e-mail) of an author line."""
    name, _, rest = line.partition(b"<")
    return name.strip(), rest.partition(b">")[0].strip()


def _last(pattern: re.Pattern[bytes], text: bytes) -> bytes:
    found: list[bytes] = pattern.findall(text)
    return found[-1] if found else b""


def _seconds(line: bytes) -> int:
    """The time of an author or committer line, after its last `>`; 0 when it has none."""
    _, mark, rest = line.rpartition(b">")
    match = _TIME.match(rest) if mark else None
    return min(int(match[1][:20]), _LAST_SECOND) if match else 0
