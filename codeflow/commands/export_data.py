"""`codeflow export-data`: the triples of a dataset folder in somebody else's columns."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from codeflow.errors import EXIT_OK
from codeflow.records import SPLITS

_DESCRIPTION = """\
Write the triples of a dataset folder in the columns of another dataset.

commitpack: the ten columns of CommitPackFT, a row a commit that changes one file. Triples of
several commits or several files have no place there; what is left out is counted by reason."""


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "write triples in the columns of another dataset"
    export = commands.add_parser("export-data", help=text, description=_DESCRIPTION)
    export.set_defaults(command=_export_data)
    export.add_argument("dir", metavar="DIR", help="dataset folder, or a URL of fsspec")
    export.add_argument(
        "--format", required=True, choices=("commitpack",), help="whose columns they are"
    )
    export.add_argument(
        "--to", required=True, type=Path, metavar="PATH", help="a new .jsonl or .parquet file"
    )
    export.add_argument("--split", choices=SPLITS, default="train", help="(default: train)")


def _export_data(parsed: argparse.Namespace) -> int:
    from codeflow.dataset.commitpack import export_commitpack

    done = export_commitpack(parsed.dir, parsed.to, parsed.split)
    print(f"{done.rows:,} rows in {parsed.to}")
    for reason, count in sorted(done.left_out.items()):
        print(f"  left out: {count:,} {reason}")
    return EXIT_OK
