"""Sends what a run published to the URL that was asked for."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from codeflow.execution.progress import Progress
from codeflow.publish.summary import Summary
from codeflow.storage.store import shown
from codeflow.storage.transfer import upload


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
