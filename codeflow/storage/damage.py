"""What is said of a file that does not read, and which command mends it: the one place for both.

Git's contents are in `mined/`, so whatever comes after it can be made again: decisions by the
command of their stage, what is published by `codeflow publish`. What is damaged in `mined/` itself
has to be mined again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from codeflow.errors import CodeflowError, DataError
from codeflow.storage import layout

_MARKS = (layout.MANIFEST, layout.WORK, layout.MINED)
_MINE = "`codeflow mine` with the same --repos and --out"
FRESH = f"mine again: {_MINE}, and --fresh"
_COMMANDS = {"filter": "filter", "dedup": "dedup", "mix": "mix"}
_NOT_DAMAGE = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def remedy(path: Path) -> str:
    """What to do about a damaged file of a dataset folder, as the end of a sentence."""
    path = path.absolute()
    folder = next((p for p in path.parents if any((p / m).exists() for m in _MARKS)), None)
    if folder is None:
        return "give another, or make it again"
    inside = path.relative_to(folder).parts
    if path == folder / layout.MINED_INDEX:
        return f"{_MINE} makes it again"
    if inside[0] == layout.MINED:
        return FRESH
    if path == folder / layout.ASKED:
        return "remove it, and give the options of the last command again"
    if inside[0] == layout.WORK:
        begun = any(
            path.is_relative_to(folder / place) for place in (layout.INTERMEDIATE, layout.DONE)
        )
        stage = begun and len(inside) > 3 and inside[2].startswith(_STAGED)
        return "run the same command again" if stage else FRESH
    if inside[0] == layout.DECISIONS:
        return mends(folder, inside[1] if len(inside) > 1 else "filter")
    return mends(folder)


_STAGED = ("filter-", "dedup-", "mix-", "split-", "publish-", "publish")


def mends(folder: Path, stage: str = "split") -> str:
    """Which command makes again what a stage decided, or what is published."""
    if not (folder / layout.MINED_INDEX).is_file():
        return f"there is no mined/ to make it from: get the dataset again, or {FRESH}"
    return f"`codeflow {_COMMANDS.get(stage, 'publish')} {folder}` makes it again from mined/"


def damaged(path: Path, what: object) -> DataError:
    """The error for a file that is damaged; `what` is wrong with it."""
    lines = str(what).splitlines() or [type(what).__name__]
    return DataError(f"{path}: {lines[0]}; {remedy(path)}")


@contextmanager
def reading(path: Path, *wrong: type[Exception]) -> Iterator[None]:
    """Turns what the system and Arrow say of a file into an error that names it.

    Args:
        wrong: errors that tell of damage besides, in a block that does nothing but read.

    Raises:
        DataError: it is missing or damaged. CodeflowError: this process may not read it.
    """
    try:
        yield
    except FileNotFoundError:
        raise damaged(path, "is missing") from None
    except IsADirectoryError:
        raise damaged(path, "is a folder") from None
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else _said(error)
        if error.errno in _NOT_DAMAGE:
            raise CodeflowError(
                f"{path}: cannot be read: {what}; mend that and run the same command again"
            ) from None
        raise damaged(path, f"cannot be read: {what}") from None
    except (pa.ArrowException, *wrong) as error:
        raise damaged(path, f"cannot be read: {_said(error)}") from None


def _said(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0]
    return os.fspath(text[:200]) or type(error).__name__
