"""`codeflow inspect`, `checkout` and `verify`: looking at what is in a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_INCOMPLETE, EXIT_OK

if TYPE_CHECKING:
    from rich.console import Console


def add(commands: Any) -> None:
    """Puts the commands on the parser."""

    def reader(name: str, text: str, command: Callable[[argparse.Namespace], int]) -> Any:
        parser = commands.add_parser(name, help=text, description=sentence(text))
        parser.set_defaults(command=command)
        parser.add_argument("dir", metavar="DIR", help="dataset folder, or a URL of fsspec")
        return parser

    one = "a triple's id, or the beginning of it"
    inspect = reader("inspect", "show a dataset, or one triple with its diff", _inspect)
    inspect.add_argument("id", nargs="?", metavar="ID", help=one)

    checkout = reader("checkout", "write one side of a triple to a new folder", _checkout)
    checkout.add_argument("id", metavar="ID", help=one)
    checkout.add_argument(
        "--side", required=True, choices=("old", "new"), help="before or after the change"
    )
    checkout.add_argument(
        "--to", required=True, type=Path, metavar="PATH", help="a new or empty folder"
    )

    reader("verify", "replay every triple and check every hash", _verify)


def _inspect(parsed: argparse.Namespace) -> int:
    from codeflow import dataset
    from codeflow.show import show_dataset, show_triple

    opened = dataset.open(parsed.dir)
    if parsed.id is None:
        show_dataset(opened, _console())
    else:
        show_triple(opened.triple(parsed.id), _console(), opened.folder)
    return EXIT_OK


def _console() -> Console:
    from rich.console import Console

    class Plain(Console):
        """rich ends the program with status 1 when its reader is gone; `main` knows better."""

        def on_broken_pipe(self) -> None:
            raise

    return Plain(highlight=False)


def _checkout(parsed: argparse.Namespace) -> int:
    from codeflow import dataset
    from codeflow.checkout import checkout
    from codeflow.progress import clean

    opened = dataset.open(parsed.dir)
    written = checkout(opened, opened.triple(parsed.id), parsed.side, parsed.to)
    print(f"{written.files:,} files in {parsed.to}")
    for path in written.unlinked:
        print(f"  {clean(path)} leads out of the folder: written as a file that holds its target")
    return EXIT_OK


def _verify(parsed: argparse.Namespace) -> int:
    from codeflow.damage import mends
    from codeflow.remote import local
    from codeflow.show_verify import show_report, verify_progress
    from codeflow.verify import verify

    folder = local(parsed.dir)
    with verify_progress(sys.stderr) as progress:
        report = verify(folder, progress=progress)
    show_report(report, sys.stdout)
    if not report.ok:
        print(f"to mend it: {mends(folder)}")
    return EXIT_OK if report.ok else EXIT_INCOMPLETE
