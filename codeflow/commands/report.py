"""`codeflow report`: the page that shows a dataset and the runs trained on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_OK


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "write the page that shows a dataset and the runs trained on it"
    report = commands.add_parser("report", help=text, description=sentence(text))
    report.set_defaults(command=_report)
    report.add_argument("dir", metavar="DIR", help="dataset folder, or a URL of fsspec")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (DIR/report.html; needed with a URL)"
    )


def _report(parsed: argparse.Namespace) -> int:
    from codeflow.terminal.report.writer import write
    from codeflow.text.numbers import quantity

    path = write(parsed.dir, parsed.out)
    print(f"{path} ({quantity(path.stat().st_size, 'B')})")
    return EXIT_OK
