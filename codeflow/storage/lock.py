"""The lock of a dataset folder: one run at a time works in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codeflow.errors import UsageError
from codeflow.storage import layout


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the folder for this run.

    Args:
        wait: until another run leaves it, if there is one.

    Raises:
        UsageError: another run is in it, or it cannot be written to.
    """
    try:
        (folder / layout.WORK).mkdir(parents=True, exist_ok=True)
        opened = (folder / layout.LOCK).open("w")
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}; give a folder that can be written to"
        ) from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise UsageError(
                f"{folder}: another run is at work in this folder; wait for it or stop it"
            ) from None
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
