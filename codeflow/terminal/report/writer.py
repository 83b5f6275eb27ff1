"""The report of a dataset, made and put in its place; an old page stays until the new one is."""

from __future__ import annotations

from pathlib import Path

from codeflow.errors import UsageError
from codeflow.execution.failures import disk_error
from codeflow.storage.files import write_bytes
from codeflow.storage.layout import REPORT
from codeflow.storage.place import local
from codeflow.storage.store import is_url, shown
from codeflow.terminal.report.page import render


def write(place: str | Path, out: Path | None = None) -> Path:
    """Writes the report of a dataset folder, or of one at a URL; the path of the page.

    Args:
        out: the page; by default `report.html` in the folder.

    Raises:
        DataError: it is not a dataset, or is damaged; the page cannot be written.
        UsageError: a URL without `out`.
    """
    if out is None and is_url(str(place)):
        raise UsageError(f"{shown(str(place))}: a page is not sent to a URL; give --out FILE")
    folder = local(place)
    path = out or folder / REPORT
    page = render(folder).encode("utf-8")
    try:
        write_bytes(path, page)
    except OSError as error:
        raise disk_error(OSError(error.errno, error.strerror), path) from None
    return path
