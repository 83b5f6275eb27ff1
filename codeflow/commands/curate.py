"""`codeflow filter`, `dedup`, `mix`, `publish`: one stage again. `filters`: what there is."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.commands.options import (
    add_filter_options,
    add_split_options,
    carry_out,
    show_preview,
)
from codeflow.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from codeflow.execution.progress import Progress
    from codeflow.publish.summary import Summary


def add(commands: Any) -> None:
    """Puts the commands on the parser."""

    def stage(name: str, text: str, command: Callable[[argparse.Namespace], int]) -> Any:
        parser = commands.add_parser(
            name,
            help=text,
            description=sentence(text) + "\nThe stages after it follow; Git is not read.",
        )
        parser.set_defaults(command=command)
        parser.add_argument(
            "dir", metavar="DIR", help="dataset folder, or the URL that a run here was sent to"
        )
        parser.add_argument(
            "--config", type=Path, metavar="TOML", help=f"file with the [{_TABLES[name]}] table"
        )
        return parser

    parser = stage("filter", "choose triples by other filters", _filter)
    add_filter_options(parser)
    add_execution(parser)
    parser = stage("dedup", "find duplicates by another measure", _dedup)
    parser.add_argument(
        "--threshold", type=float, metavar="S", help="Jaccard similarity of near-duplicates"
    )
    add_execution(parser)
    parser = stage("mix", "mix languages another way", _mix)
    parser.add_argument(
        "--sampler", metavar="NAME", help="natural, temperature, uniform, shares, guided, optimal"
    )
    parser.add_argument("--budget", type=int, metavar="TOKENS", help="tokens in all")
    add_execution(parser)
    parser = stage("publish", "split and publish another way", _publish)
    add_split_options(parser)
    add_execution(parser)
    text = "list every filter with its parameters"
    listing = commands.add_parser("filters", help=text, description=sentence(text))
    listing.set_defaults(command=_filters)


_TABLES = {"filter": "filter", "dedup": "dedup", "mix": "mix", "publish": "split"}


def add_execution(parser: Any) -> None:
    """The options that change no byte of the result."""
    how = parser.add_argument_group("how it is run (nothing here changes a byte of the result)")
    how.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="1 works in this process, more are Ray workers (default: by what there is to do)",
    )
    how.add_argument("--ray-address", metavar="ADDR", help="use this Ray cluster, or `auto`")
    how.add_argument(
        "--work", type=Path, metavar="DIR", help="with a URL: the folder that its run worked in"
    )
    how.add_argument("--json", action="store_true", help="progress and summary as JSON lines")
    how.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )


def _filter(parsed: argparse.Namespace) -> int:
    from codeflow.api.choices import with_filter

    return _again(parsed, "filter", lambda c: with_filter(c, parsed.filter, parsed.decontaminate))


def _dedup(parsed: argparse.Namespace) -> int:
    from codeflow.api.choices import with_dedup
    from codeflow.storage.place import place_of

    status = _again(parsed, "dedup", lambda config: with_dedup(config, parsed.threshold))
    if not (parsed.json or parsed.dry_run):
        _show_curve(place_of(parsed.dir, parsed.work)[0])
    return status


def _show_curve(folder: Path) -> None:
    """How likely the bands of signatures are to find a pair, by its similarity."""
    from codeflow.curation.chain import stored

    record = stored(folder, "dedup")
    curve = record.figures.get("curve") if record is not None else None
    if curve:
        print("\nPairs found, by Jaccard similarity")
        for similarity, found in curve:
            if round(100 * similarity) % 10 == 0:
                print(f"  {similarity:.1f}  {found:6.1%}  {'#' * round(40 * found)}")


def _mix(parsed: argparse.Namespace) -> int:
    from codeflow.api.choices import with_mix

    return _again(parsed, "mix", lambda config: with_mix(config, parsed.sampler, parsed.budget))


def _publish(parsed: argparse.Namespace) -> int:
    from codeflow.api.choices import with_split

    return _again(parsed, "split", lambda c: with_split(c, parsed.split_by, parsed.validation))


def _again(parsed: argparse.Namespace, stage: str, change: Callable[[Any], Any]) -> int:
    from codeflow.pipeline.destination import send
    from codeflow.pipeline.plan import asked_settings, plan_again
    from codeflow.pipeline.run import run_again
    from codeflow.pipeline.session import Execution
    from codeflow.pipeline.settings import read_settings
    from codeflow.storage.place import mined_at

    if parsed.workers is not None and parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: give 1 or more")
    sys.dont_write_bytecode |= parsed.dry_run  # beside a filter of the user's own
    folder, url = mined_at(parsed.dir, parsed.work)
    settings = read_settings(parsed.config, asked_settings(folder))
    plan = plan_again(folder, stage, change(getattr(settings, stage)))
    if parsed.dry_run:
        from codeflow.pipeline.preview import preview_stages

        return show_preview(preview_stages(folder, plan), parsed.json)
    execution = Execution(parsed.workers, parsed.ray_address)

    def work(progress: Progress) -> Summary:
        summary = run_again(folder, execution, progress, plan)
        return summary if url is None else send(summary, folder, url, progress)

    carry_out(parsed.json, work)
    return EXIT_OK  # of this command: what could not be mined was told when it was mined


def _filters(parsed: argparse.Namespace) -> int:
    from codeflow.contracts import Profile
    from codeflow.plugins.entry_points import filter_factories

    factories = filter_factories()
    for name, factory in sorted(factories.items()):
        if isinstance(factory, Profile):
            continue
        print(f"{name}  ({getattr(factory, 'cost', 'patch')}): {getattr(factory, 'why', '')}")
        for field in fields(factory) if is_dataclass(factory) else ():
            print(f"    {field.name} = {getattr(factory, field.name, '(to be given)')!r}")
    print("\nprofiles")
    for name, factory in sorted(factories.items()):
        if isinstance(factory, Profile):
            print(f"{name}: {factory.why}")
            for part, values in factory.filters.items():
                given = ", ".join(f"{key} = {value!r}" for key, value in values.items())
                print(f"    {part}{'  ' if given else ''}{given}")
    sys.stdout.flush()
    return EXIT_OK
