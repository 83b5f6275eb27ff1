"""`report.html`: what went in, what came out, and what was trained on it, on one page.

`gather`, `stages`, `examples` and `training` read the folder; `figures` and `curation` turn what
they found into charts, which `charts` draws; `views` are the tables and words; `page` fills
`page.html.j2`. Costs about two reads of the triples, and a second or two for the drawings.
"""

from __future__ import annotations

from pathlib import Path

NAME = "report.html"


def write(folder: Path) -> Path:
    """Writes the report of a dataset folder into it; the path of the page.

    Raises:
        DataError: it is not a dataset, or is damaged.
    """
    from codeflow.storage.files import write_bytes
    from codeflow.terminal.report.page import render

    path = folder / NAME
    write_bytes(path, render(folder).encode("utf-8"))
    return path
