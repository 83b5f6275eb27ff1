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
    report.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")
    report.add_argument(
        "--out", type=Path, metavar="PATH", help="where to write it (default: DIR/report.html)"
    )


def _report(parsed: argparse.Namespace) -> int:
    from codeflow.report import write
    from codeflow.show import human_bytes

    path = write(parsed.dir, parsed.out)
    print(f"{path} ({human_bytes(path.stat().st_size)})")
    return EXIT_OK
