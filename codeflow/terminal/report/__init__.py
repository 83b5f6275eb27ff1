"""`report.html`: what went in, what came out, and what was trained on it, on one page.

`gather`, `stages`, `examples` and `training` read the folder; `figures` and `curation` turn what
they found into charts, which `charts` draws; `views` are the tables and words; `page` fills
`page.html.j2`. Costs about two reads of the triples, and a second or two for the drawings.
"""

from __future__ import annotations

from pathlib import Path

from codeflow.errors import UsageError
from codeflow.storage.layout import REPORT


def write(place: str | Path, out: Path | None = None) -> Path:
    """Writes the report of a dataset folder, or of one at a URL; the path of the page.

    Args:
        out: the page; by default `report.html` in the folder.

    Raises:
        DataError: it is not a dataset, or is damaged; the page cannot be written.
        UsageError: a URL without `out`.
    """
    from codeflow.execution.failures import disk_error
    from codeflow.storage.files import write_bytes
    from codeflow.storage.place import local
    from codeflow.storage.store import is_url, shown
    from codeflow.terminal.report.page import render

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
