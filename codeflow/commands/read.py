"""`codeflow inspect`, `checkout` and `verify`: looking at what is in a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_INCOMPLETE, EXIT_OK, UsageError
from codeflow.storage.layout import SPLITS

if TYPE_CHECKING:
    from rich.console import Console

    from codeflow.dataset.statistics import Statistics


_NAMED = 10
_CONDITIONS = ("grep", "path", "repo", "kind", "language", "split")


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
    inspect.add_argument("--json", action="store_true", help="as JSON; of a list, a line each")
    found = inspect.add_argument_group(
        "finding triples (each of these lists what matches them all)"
    )
    found.add_argument("--list", action="store_true", help="list triples, in the order of history")
    found.add_argument("--grep", metavar="TEXT", help="with TEXT in a message, in whatever case")
    found.add_argument(
        "--path", metavar="GLOB", help="that touch a path: a glob, or the name of a file or folder"
    )
    found.add_argument("--repo", metavar="NAME", help="of a repository; its last name is enough")
    found.add_argument("--kind", metavar="KIND", help="of a kind, as in commit")
    found.add_argument("--language", metavar="NAME", help="mostly in a language")
    found.add_argument("--split", choices=SPLITS, help="of a split")
    found.add_argument(
        "--limit", type=int, default=20, metavar="N", help="at most N; 0 for all (default: 20)"
    )

    checkout = reader("checkout", "write one side of a triple to a new folder", _checkout)
    checkout.add_argument("id", metavar="ID", help=one)
    checkout.add_argument(
        "--side", required=True, choices=("old", "new"), help="before or after the change"
    )
    checkout.add_argument(
        "--to", required=True, type=Path, metavar="PATH", help="a new or empty folder"
    )

    proof = reader("verify", "replay every triple and check every hash", _verify)
    proof.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: by what there is to do)"
    )


def _inspect(parsed: argparse.Namespace) -> int:
    from codeflow.dataset import reader as dataset
    from codeflow.dataset.search import Query, search
    from codeflow.terminal.inspect import show_dataset, show_triple
    from codeflow.terminal.search import show_found, write_dataset, write_found, write_triple

    conditions = {name: getattr(parsed, name) for name in _CONDITIONS}
    wanted = parsed.list or any(value is not None for value in conditions.values())
    if wanted and parsed.id is not None:
        raise UsageError("inspect: give an ID, or what to list, and not both")
    opened = dataset.open(parsed.dir)
    if wanted:
        found = search(opened, Query(**conditions), parsed.limit)
        if parsed.json:
            write_found(found, sys.stdout)
        else:
            show_found(found, _console())
            if not found.triples:
                for line in _not_here(opened.statistics(), conditions):
                    print(line)
        return EXIT_OK if found.triples else EXIT_INCOMPLETE
    if parsed.id is not None:
        triple = opened.triple(parsed.id)
        if parsed.json:
            write_triple(triple, sys.stdout)
        else:
            show_triple(triple, _console(), opened.folder)
    elif parsed.json:
        write_dataset(opened, sys.stdout)
    else:
        show_dataset(opened, _console())
    return EXIT_OK


def _not_here(statistics: Statistics, conditions: Mapping[str, str | None]) -> Iterator[str]:
    """A line for each condition that no triple at all could meet, with what may have been meant."""
    from codeflow.commands.arguments import nearest
    from codeflow.text.escape import one_line

    repos = {repo for repo, _ in statistics.repos}
    known = {
        "kind": {kind for _, kind in statistics.triples},
        "language": {language for language in statistics.languages if language},
        "repo": repos | {repo.rpartition("/")[2] for repo in repos},
    }
    for name, values in known.items():
        asked = conditions[name]
        if asked is None or asked.casefold() in {value.casefold() for value in values}:
            continue
        near = nearest(asked, values)
        some = ", ".join(sorted(values)[:_NAMED])
        meant = f"did you mean {near}?" if near else f"there are {some}"
        yield one_line(f"there is no {name} {asked!r} here; {meant}")


def _console() -> Console:
    from rich.console import Console

    class Plain(Console):
        """rich ends the program with status 1 when its reader is gone; `main` knows better."""

        def on_broken_pipe(self) -> None:
            raise

    return Plain(highlight=False)


def _checkout(parsed: argparse.Namespace) -> int:
    from codeflow.dataset import reader as dataset
    from codeflow.dataset.checkout import checkout
    from codeflow.text.escape import one_line

    opened = dataset.open(parsed.dir)
    written = checkout(opened, opened.triple(parsed.id), parsed.side, parsed.to)
    print(f"{written.files:,} files in {parsed.to}")
    for path in written.unlinked:
        shown = one_line(path)
        print(f"  {shown} leads out of the folder: written as a file that holds its target")
    return EXIT_OK


def _verify(parsed: argparse.Namespace) -> int:
    from codeflow.dataset.verify import verify
    from codeflow.storage.damage import mends
    from codeflow.storage.place import local
    from codeflow.terminal.verify import show_report, verify_progress

    if parsed.workers is not None and parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: give 1 or more")
    with verify_progress(sys.stderr) as progress:
        report = verify(parsed.dir, progress=progress, workers=parsed.workers)
    show_report(report, sys.stdout)
    if not report.ok:
        print(f"to mend it: {mends(local(parsed.dir))}")
    return EXIT_OK if report.ok else EXIT_INCOMPLETE
