"""`codeflow report`: the page that shows a dataset and the runs trained on it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codeflow.errors import EXIT_OK


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    report = commands.add_parser(
        "report",
        help="write the page that shows a dataset and its training runs",
        description="Writes DIR/report.html: one file that needs no network.",
    )
    report.set_defaults(command=_report)
    report.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")


def _report(parsed: argparse.Namespace) -> int:
    from codeflow.report import write
    from codeflow.show import human_bytes

    path = write(parsed.dir)
    print(f"{path} ({human_bytes(path.stat().st_size)})")
    return EXIT_OK
