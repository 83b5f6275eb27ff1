"""Writing one side of a triple to disk, without trusting a single name in it.

- All names are checked before anything is written: nothing that any file system we know of may
  take for `.git` or for a parent folder.
- Everything is written to a new folder beside the target, which is renamed at the end. Regular
  files and folders come first and are created exclusively, symlinks last: no write can pass
  through a link, and two names that meet on this file system (case, Unicode form) are an error.
- A symlink that might lead out of the folder is written as a plain file that contains the target,
  as git does where links are not supported, and is named in the result. A link is kept when its
  target is relative, has its `..` at the front only, and has no more of them than the link has
  folders above it. From the real folder of the link these stay inside; names that follow only
  descend, or pass through links of which the same is true.

Times, owners and the modes beyond the executable bit are left to the system.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from codeflow.dataset.reader import Dataset
from codeflow.errors import DataError, UsageError
from codeflow.execution.failures import disk_error
from codeflow.git.objects import TreeEntry
from codeflow.records import EXECUTABLE_MODE, SYMLINK_MODE
from codeflow.text.paths import refused_by_git
from codeflow.triple import Snapshot, Triple

SIDES = ("old", "new")
_OF_NAMES = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)
_MAX_TARGET_BYTES = 4095  # PATH_MAX of Linux


class Checkout(NamedTuple):
    """What was written. `unlinked` are the symlinks that became plain files."""

    folder: Path
    files: int
    bytes: int
    unlinked: tuple[str, ...]


def checkout(dataset: Dataset, triple: Triple, side: str, to: str | os.PathLike[str]) -> Checkout:
    """Writes the projected snapshot of one side into `to`, which must be new or empty.

    Raises:
        UsageError: the side does not exist, or the target is in use.
        DataError: a name may not be written, two names meet, or a content is missing.
        CodeflowError: the place is full or cannot be written to. Nothing is left behind then.
    """
    if side not in SIDES:
        raise UsageError(f"side {side!r}: choose one of {', '.join(SIDES)}")
    target = Path(to)
    _check_target(target)
    snapshot: Snapshot = triple.old_repo if side == "old" else triple.new_repo
    entries = dict(snapshot.entries())
    for path, entry in entries.items():
        if refused_by_git(path, entry.mode, hfs=True):
            raise DataError(f"{path!r} may not be written to a disk; nothing was checked out")
    try:
        with _new_folder(target) as folder:
            size, unlinked = _write(dataset, triple.repo, entries, folder)
    except OSError as error:  # of the place: a name that cannot be written is a DataError
        raise disk_error(OSError(error.errno, error.strerror), target) from None
    return Checkout(target, len(entries), size, unlinked)


def _check_target(target: Path) -> None:
    if target.is_symlink():
        raise UsageError(f"{target}: is a symlink; give the folder itself")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: is not an empty folder; give a new path")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{target.absolute().parent}: no such folder; make it first")


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place on success, and goes on failure."""
    absolute = target.absolute()
    folder = Path(tempfile.mkdtemp(prefix=f".{absolute.name[:100]}-", dir=absolute.parent))
    try:
        inner = folder / "files"  # made by mkdir, so that the umask decides its mode
        inner.mkdir()
        yield inner
        os.rename(inner, absolute)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    dataset: Dataset, repo: str, entries: dict[str, TreeEntry], folder: Path
) -> tuple[int, tuple[str, ...]]:
    """Writes everything; the number of bytes, and the links that became files."""
    made: set[str] = set()
    for path in entries:
        for parent in _parents(path):
            if parent not in made:
                _exclusively(parent, Path.mkdir, folder)
                made.add(parent)
    paths: dict[str, list[str]] = {}
    for path, entry in entries.items():
        paths.setdefault(entry.id, []).append(path)
    links: list[tuple[str, bytes]] = []
    unlinked: list[str] = []
    size = 0
    for blob, content in dataset.blobs(repo, paths):
        for path in paths[blob]:
            size += len(content)
            mode = entries[path].mode
            if mode == SYMLINK_MODE and stays_inside(path, content):
                links.append((path, content))
                continue
            if mode == SYMLINK_MODE:
                unlinked.append(path)
            bits = 0o777 if mode == EXECUTABLE_MODE else 0o666
            _exclusively(path, _writer(content, bits), folder)
    for path, content in sorted(links):
        _exclusively(path, _linker(content), folder)
    return size, tuple(sorted(unlinked))


def stays_inside(path: str, target: bytes) -> bool:
    """Whether a link at `path` may be kept: see the module's text for the rule and its reason."""
    if not target or len(target) > _MAX_TARGET_BYTES or target.startswith(b"/"):
        return False
    if b"\\" in target or b":" in target:  # separators and drives elsewhere
        return False
    names = [name for name in target.split(b"/") if name not in (b"", b".")]
    up = 0
    while up < len(names) and names[up] == b"..":
        up += 1
    return b".." not in names[up:] and up <= path.count("/")


def _parents(path: str) -> Iterator[str]:
    """The folders above a path, outermost first."""
    place = path.find("/")
    while place >= 0:
        yield path[:place]
        place = path.find("/", place + 1)


def _exclusively(path: str, make: Callable[[Path], None], folder: Path) -> None:
    """Creates one thing where nothing may be yet."""
    try:
        make(folder / path)
    except FileExistsError:
        raise DataError(
            f"{path!r} and another name are one on this file system (case or Unicode form); "
            "check out on a case-sensitive one"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _OF_NAMES:
            raise
        raise DataError(f"{path!r} cannot be written: {error}; check out elsewhere") from None


def _writer(content: bytes, bits: int) -> Callable[[Path], None]:
    def write(place: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(place, flags, bits), "wb") as stream:
            stream.write(content)

    return write


def _linker(content: bytes) -> Callable[[Path], None]:
    return lambda place: os.symlink(content, os.fsencode(place))
