"""How work ends that does not end well: a failure of a repository, a disk that ends the run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from codeflow.errors import CodeflowError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM)
_WRONG_KIND = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
_OURS = (*_FULL, errno.EFBIG, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Failure(NamedTuple):
    """A unit that ended with an error of the repository's; JSON-able.

    `detail` is a traceback when the error is a bug of ours: one repository must not end a run.
    """

    rule: str
    reason: str
    deterministic: bool = True
    detail: str | None = None


def is_repositorys(error: OSError, folder: Path) -> bool:
    """Whether the error is about a file of a repository: removed under us, not ours to read.

    Arrow, which writes what is ours, names no file.
    """
    name = error.filename
    if error.errno in _OURS or not isinstance(name, (str, bytes, os.PathLike)):
        return False
    return not Path(os.fsdecode(name)).absolute().is_relative_to(folder.absolute())


def disk_error(error: OSError, folder: Path) -> CodeflowError:
    """What a user is told when a file of a run cannot be written or read."""
    where = os.fsdecode(error.filename) if error.filename else str(folder)
    if error.errno in _FULL:
        return CodeflowError(f"{where}: no space left; free some and run the same command again")
    if error.errno == errno.EFBIG:
        return CodeflowError(f"{where}: larger than files may be here (ulimit -f); raise the limit")
    what = os.strerror(error.errno) if error.errno else str(error)  # Arrow's are long
    if error.errno in _FORBIDDEN:
        return CodeflowError(
            f"{where}: {what}; allow writing there or give another place, and run the same command "
            "again"
        )
    if error.errno == errno.ENOENT and not Path(where).parent.exists():
        return CodeflowError(f"{where}: {what}; give another place")
    if error.errno in _WRONG_KIND:
        return CodeflowError(f"{where}: {what}; move away what is there, or give another place")
    return CodeflowError(f"{where}: {what}; run the same command again")
