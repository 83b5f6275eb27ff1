"""One process at a time: a lock on a file, which ends with the process that holds it.

Some file systems of clusters know no locks. There nothing is held, because the other choice is to
do no work on them at all.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from codeflow.errors import CodeflowError, UsageError
from codeflow.storage import layout

_NO_LOCKS: Final = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # of a file system that has none


@contextmanager
def locked_file(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a file, which is made with its folders and names the process; it stays afterwards.

    Args:
        wait: until another process leaves it, if there is one.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a dataset folder for this run.

    Args:
        wait: until another run leaves it, if there is one.

    Raises:
        UsageError: another run is in it, or it cannot be written to.
        CodeflowError: the disk is full.
    """
    with ExitStack() as held:
        try:
            held.enter_context(locked_file(folder / layout.LOCK, wait=wait))
        except BlockingIOError:
            raise UsageError(
                f"{folder}: another run is at work in this folder; wait for it or stop it"
            ) from None
        except OSError as error:
            where = error.filename or folder
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CodeflowError(
                    f"{where}: no space left; free some and run the same command again"
                ) from None
            raise UsageError(
                f"{where}: {error.strerror}; give a folder that can be written to"
            ) from None
        yield
