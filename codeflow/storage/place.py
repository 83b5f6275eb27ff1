"""Where a dataset is: a folder, or a URL. The one place that tells the two apart.

What an argument may be depends on what is done with it. To read, a URL is a checked local copy
(`local`). What a run writes is sent to its URL from the folder it works in (`place_of`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from codeflow.errors import UsageError
from codeflow.storage import layout
from codeflow.storage.store import is_url, shown
from codeflow.storage.transfer import cached_copy, work_folder

PathLike = str | os.PathLike[str]


def local(place: PathLike) -> Path:
    """The folder itself, or an up-to-date local copy, in the cache, of the dataset at a URL.

    Raises:
        UsageError: a URL that went through `Path`.
        DataError, CodeflowError: as `codeflow.storage.transfer.download`.
    """
    text = _text(place)
    if is_url(text):
        return cached_copy(text)
    return Path(text)


def _text(place: PathLike) -> str:
    text = os.fspath(place)
    mangled = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/[^/]", text) and not isinstance(place, str)
    if mangled and not Path(text).exists():
        raise UsageError(f"{text}: a Path of a URL has lost a slash; give the URL as a string")
    return text


def place_of(out: PathLike, work: Path | None = None) -> tuple[Path, str | None]:
    """The folder to work in, and the URL to send to, if that is what `out` is.

    Args:
        work: the folder to work in for a URL; by default one in the cache.

    Raises:
        UsageError: `work` without a URL, or a URL that went through `Path`.
    """
    text = _text(out)
    if is_url(text):
        return work or work_folder(text), text
    if work is not None:
        raise UsageError(f"--work {work}: it is for a URL; leave it out")
    return Path(text), None


def mined_at(place: PathLike, work: Path | None = None) -> tuple[Path, str | None]:
    """As `place_of`, for a stage that is run again: the folder has what Git gave.

    Raises:
        UsageError: also when nothing of a URL was mined in that folder.
    """
    folder, url = place_of(place, work)
    if url is not None and not (folder / layout.MINED).is_dir():
        raise UsageError(
            f"{shown(url)}: a stage reads mined/, which is never sent to a URL, and {folder} has "
            "none; run it on the machine that mined, or give that run's folder with --work"
        )
    return folder, url
