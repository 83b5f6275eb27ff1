"""`report.html`: what went in, what came out, and what was trained on it, on one page.

`gather`, `stages`, `examples` and `training` read the folder; `figures` and `curation` turn what
they found into charts, which `charts` draws; `views` are the tables and words; `page` fills
`page.html.j2`. Costs about two reads of the triples, and a second or two for the drawings.
"""

from __future__ import annotations

from pathlib import Path

NAME = "report.html"


def write(folder: Path, out: Path | None = None) -> Path:
    """Writes the report of a dataset folder into it, or to `out`; the path of the page.

    Raises:
        DataError: it is not a dataset, or is damaged.
        CodeflowError: the page cannot be written.
    """
    from codeflow.files import write_bytes
    from codeflow.report.page import render
    from codeflow.units import disk_error

    path = folder / NAME if out is None else out
    page = render(folder).encode("utf-8")
    try:
        write_bytes(path, page)
    except OSError as error:
        raise disk_error(OSError(error.errno, error.strerror), path) from None
    return path
