"""What several commands share: options of filters and of the split, and how a run is shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import asdict
from json import dumps
from typing import TYPE_CHECKING, Any, TypeVar

from codeflow.errors import EXIT_INCOMPLETE, EXIT_OK

if TYPE_CHECKING:
    from codeflow.execution.progress import Progress
    from codeflow.pipeline.preview import Preview
    from codeflow.publish.summary import Summary

T = TypeVar("T")

_GOES_ON = "stopped; the same command goes on from here"


def add_filter_options(parser: Any) -> None:
    """The options that choose filters."""
    parser.add_argument(
        "--filter",
        action="extend",
        nargs="+",
        metavar="FILTER",
        help="NAME, module:attr or file.py:attr; `codeflow filters` lists names (default: default)",
    )
    parser.add_argument(
        "--decontaminate",
        action="extend",
        nargs="+",
        metavar="JSONL",
        help="leave out what these benchmark instances would be given away by",
    )


def add_split_options(parser: Any) -> None:
    """The options of the split."""
    parser.add_argument(
        "--split-by",
        choices=("auto", "family", "time"),
        help="hold out whole families of forks, or the latest positions (auto: by their number)",
    )
    parser.add_argument("--validation", type=float, metavar="SHARE", help="how much to hold out")


def show_preview(preview: Preview, json: bool) -> int:
    """Says what would be done; the exit status is that of the run, as far as it can be told."""
    print(dumps({"event": "dry-run", **asdict(preview)}) if json else preview)
    return EXIT_INCOMPLETE if preview.problems else EXIT_OK


def with_progress(json: bool, work: Callable[[Progress], T]) -> T:
    """Does something that can be stopped and resumed, with a display."""
    from codeflow.execution.process import Interrupts, spare_pandas, stopped_by
    from codeflow.execution.ray_pool import kill_local_ray
    from codeflow.terminal.progress import make_progress

    spare_pandas()
    with stopped_by(Interrupts(_GOES_ON, kill_local_ray)):
        progress = make_progress(json, sys.stdout if json else sys.stderr)
        try:
            return work(progress)
        except (KeyboardInterrupt, BrokenPipeError):  # without a reader it stops, too
            raise KeyboardInterrupt(_GOES_ON) from None
        finally:
            with contextlib.suppress(BrokenPipeError):
                progress.close()


def carry_out(json: bool, work: Callable[[Progress], Summary]) -> int:
    """Runs something with a display, and says at the end what came of it."""
    from codeflow.terminal.summary import render_summary

    summary = with_progress(json, work)
    render_summary(summary, sys.stdout, json=json)
    return EXIT_INCOMPLETE if summary.failed else EXIT_OK
