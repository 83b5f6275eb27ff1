"""The object stores of a repository: its own, and those that it borrows from, as git finds them.

`objects/info/alternates` has a path a line: `#` starts a comment, a path in double quotes is
C-quoted, a relative one starts at the store that names it. git (`link_alt_odb_entries`) follows
such files six deep, each store once, and only warns of a store that is not there. libgit2 reads
another language (no quotes, and what does not begin with a period is relative to the working
folder of the process), so it is never asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from codeflow.errors import RepositoryError
from codeflow.text.quoting import unquote_at

_DEEPEST: Final = 5
_MOST_STORES: Final = 256
_MAX_LISTING_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Stores:
    """The folders of objects that are there, the repository's own first, without symbolic links.

    Attributes:
        lost: whether another one is named and not there; it may not be needed.
    """

    folders: tuple[Path, ...]
    lost: bool


def object_stores(objects: Path, inspect: Callable[[Path], None] | None = None) -> Stores:
    """Finds the stores that begin at a folder of objects.

    Args:
        inspect: called for each before anything in it is opened; for those not looked at yet.

    Raises:
        RepositoryError: `missing-alternate`, there are too many; `damaged`, a list is too long.
    """
    found: dict[str, None] = {}
    lost = False

    def visit(folder: str, depth: int) -> None:
        nonlocal lost
        if folder in found:
            return
        if not os.path.isdir(folder):
            lost = True
            return
        if len(found) == _MOST_STORES:
            raise RepositoryError("missing-alternate", "it borrows from too many repositories")
        found[folder] = None
        if inspect is not None:
            inspect(Path(folder))
        for entry in _listed(Path(folder)) if depth <= _DEEPEST else ():
            visit(os.path.realpath(os.path.join(folder, os.fsdecode(entry))), depth + 1)

    visit(os.path.realpath(objects), 0)
    return Stores(tuple(map(Path, found)), lost)


def _listed(folder: Path) -> Iterator[bytes]:
    path = folder / "info" / "alternates"
    if not path.is_file():
        return iter(())
    with open(path, "rb") as file:
        data = file.read(_MAX_LISTING_BYTES + 1)
    if len(data) > _MAX_LISTING_BYTES:
        raise RepositoryError("damaged", "its list of alternates is longer than 1 MiB")
    return parse_alternates(data)


def parse_alternates(data: bytes) -> Iterator[bytes]:
    """The paths that a file of alternates names, as git reads it (`parse_alt_odb_entry`)."""
    data = data.partition(b"\0")[0]
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        quoted = unquote_at(data, at)
        if quoted is not None:
            path, end = quoted
        elif data.startswith(b"#", at):
            path = b""
        else:  # also where a quotation does not end
            path = data[at:end]
        if path:
            yield path
        at = end + 1
