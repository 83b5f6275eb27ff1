"""`codeflow mine`: repositories in, a dataset folder out."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.commands.options import (
    add_filter_options,
    add_split_options,
    carry_out,
    show_preview,
)
from codeflow.errors import UsageError

if TYPE_CHECKING:
    from codeflow.execution.progress import Progress
    from codeflow.publish.summary import Summary

_MINE_EPILOG = """\
A run that was stopped goes on when the same command is given again, and gives the same bytes.
Repositories that cannot be mined are named at the end and in the ledger; the run goes on.

  codeflow mine --repos ../my-project --out data
  codeflow mine --repos list.txt --out data --kinds commit --window 0.2:0.9 --workers 8"""


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "mine repositories into a dataset folder"
    mine = commands.add_parser("mine", help=text, description=sentence(text), epilog=_MINE_EPILOG)
    mine.set_defaults(command=_mine)
    mine.add_argument(
        "--repos",
        required=True,
        action="extend",
        nargs="+",
        metavar="REPO",
        help="paths and URLs, each optionally with @REF; or a file with one of them a line",
    )
    mine.add_argument(
        "--out", required=True, metavar="DIR", help="dataset folder, or a URL of fsspec to write to"
    )

    what = mine.add_argument_group("what is mined")
    what.add_argument(
        "--kinds",
        metavar="KIND,...",
        help="kinds of triples, or file.py:attr (default: span,commit)",
    )
    what.add_argument(
        "--window",
        metavar="A:B",
        help="part of a project's life that changes start in, half-open (default: 0.4:0.8)",
    )
    what.add_argument(
        "--window-by",
        choices=("commits", "time", "changes"),
        help="what a project's life is measured by (default: commits)",
    )
    what.add_argument(
        "--config", type=Path, metavar="TOML", help="file with a table a stage; options win"
    )

    kept = mine.add_argument_group("what is kept")
    kept.add_argument(
        "--until",
        choices=("mine", "filter", "dedup", "mix", "tokens"),
        help="last stage to run; what survived so far is published "
        "(default: mix, or as DIR was last asked for)",
    )
    add_filter_options(kept)
    add_split_options(kept)

    how = mine.add_argument_group("how it is run (nothing here changes a byte of the result)")
    how.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="1 works in this process, more are Ray workers (default: by what there is to do, "
        f"1 or {os.cpu_count() or 1} here)",
    )
    how.add_argument("--ray-address", metavar="ADDR", help="use this Ray cluster, or `auto`")
    how.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where clones are kept (default: ~/.cache/codeflow/repositories)",
    )
    how.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="with a URL: the folder to work in (default: one in ~/.cache/codeflow/runs)",
    )
    how.add_argument(
        "--fresh", action="store_true", help="forget what DIR holds and resolve heads again"
    )
    how.add_argument(
        "--update",
        action="store_true",
        help="move heads to where they are now, and take out what the list lacks",
    )
    how.add_argument("--json", action="store_true", help="progress and summary as JSON lines")
    how.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def _mine(parsed: argparse.Namespace) -> int:
    if parsed.workers is not None and parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: give 1 or more")
    sys.dont_write_bytecode |= parsed.dry_run  # beside a filter of the user's own

    from codeflow.api.choices import execution_of, with_filter, with_mine, with_split
    from codeflow.mining.sources import read_repos
    from codeflow.pipeline.destination import send
    from codeflow.pipeline.plan import asked_settings, plan
    from codeflow.pipeline.run import run
    from codeflow.pipeline.settings import read_settings
    from codeflow.storage.place import place_of
    from codeflow.storage.store import shown

    kinds = None if parsed.kinds is None else [kind.strip() for kind in parsed.kinds.split(",")]
    out, url = place_of(parsed.out, parsed.work)
    before = None if parsed.fresh else asked_settings(out)
    settings = read_settings(parsed.config, before)
    settings = replace(
        settings,
        mine=with_mine(settings.mine, kinds, parsed.window, parsed.window_by),
        filter=with_filter(settings.filter, parsed.filter, parsed.decontaminate),
        split=with_split(settings.split, parsed.split_by, parsed.validation),
    )
    stages = plan(out, settings, parsed.until, before=before)
    sources = read_repos(parsed.repos)
    execution = execution_of(
        parsed.workers, parsed.ray_address, parsed.cache, parsed.fresh, parsed.update
    )

    if parsed.dry_run:
        from codeflow.pipeline.preview import preview_mine

        after = [f"would then write the token folders of {out}"] * (parsed.until == "tokens")
        if url is not None:
            after.append(f"would work in {out}, and send the dataset to {shown(url)}")
        found = preview_mine(sources, out, settings.mine, execution, stages)
        return show_preview(replace(found, lines=(*found.lines, *after)), parsed.json)

    def work(progress: Progress) -> Summary:
        if url is not None:
            progress.note(f"working in {out.absolute()} (--work chooses another folder)")
        summary = run(sources, out, settings.mine, execution, progress, stages)
        return summary if url is None else send(summary, out, url, progress)

    status = carry_out(parsed.json, work)
    if parsed.until == "tokens":
        from codeflow.commands.tokenize import write_all

        write_all(out, settings.tokens)
    return status
