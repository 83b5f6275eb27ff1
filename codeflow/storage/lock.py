"""One process at a time: a lock on a file, which ends with the process that holds it.

Some file systems of clusters know no locks. There nothing is held, because the other choice is to
do no work on them at all.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

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
