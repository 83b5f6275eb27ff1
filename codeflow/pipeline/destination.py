"""Where a run's dataset goes: a folder, or a URL that a folder is sent to."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from codeflow.errors import UsageError
from codeflow.publish.summary import Summary
from codeflow.storage.store import is_url, shown
from codeflow.storage.transfer import upload, work_folder
from codeflow.terminal.progress import Progress


def place_of(out: str | os.PathLike[str], work: Path | None = None) -> tuple[Path, str | None]:
    """The folder to work in, and the URL to send to, if that is what `out` is.

    Args:
        work: the folder to work in for a URL; by default one in the cache.

    Raises:
        UsageError: `work` without a URL.
    """
    text = os.fspath(out)
    if is_url(text):
        return work or work_folder(text), text
    if work is not None:
        raise UsageError(f"--work {work}: it is for an --out that is a URL; leave it out")
    return Path(text), None


def send(summary: Summary, folder: Path, url: str, progress: Progress) -> Summary:
    """Sends what was published to its URL. Raises: as `codeflow.storage.transfer.upload`."""
    sent = 0

    def moved(done: int, total: int) -> None:
        nonlocal sent
        progress.add(bytes=done - sent)
        sent = done

    progress.stage("upload", None)
    upload(folder, url, moved)
    where = shown(url)
    worked = f"worked in {folder.absolute()}, where stages can be run again"
    return replace(
        summary,
        out=where,
        next_command=f"codeflow inspect {shlex.quote(where)}",
        notes=[*summary.notes, worked],
    )
