"""The command line. The one place that turns errors into messages and exit statuses.

0 all mined; 1 finished, with failures in the ledger; 2 usage error; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow import __version__
from codeflow.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, CodeflowError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts threads that nothing uses
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except CodeflowError as error:
        print(f"codeflow: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("codeflow: stopped; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `codeflow inspect DIR | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="codeflow",
        description="Exact triples (old repository, patch, new repository) from Git histories.",
        epilog="exit status: 0 all done, 1 done with failures, 2 usage error, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"codeflow {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_mine(commands)
    _add_readers(commands)
    _add_training(commands)
    return parser


def _add_mine(commands: Any) -> None:
    mine = commands.add_parser("mine", help="mine repositories into a dataset folder")
    mine.set_defaults(command=_mine)
    mine.add_argument(
        "--repos", required=True, type=Path, metavar="LIST", help="a URL or path a line, with @REF"
    )
    mine.add_argument("--out", required=True, type=Path, metavar="DIR", help="dataset folder")
    mine.add_argument("--config", type=Path, metavar="TOML", help="configuration ([mine] tables)")
    mine.add_argument(
        "--window", metavar="A:B", help="part of a project's life, half-open (0.4:0.8)"
    )
    mine.add_argument(
        "--window-by", choices=("commits", "time", "changes"), help="what positions measure"
    )
    mine.add_argument("--kinds", metavar="KIND,...", help="kinds of triples (span,commit)")
    mine.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N")
    mine.add_argument("--ray-address", metavar="ADDR", help="of a Ray cluster, or `auto`")
    mine.add_argument("--cache", type=Path, metavar="DIR", help="where clones are kept")
    mine.add_argument(
        "--until",
        choices=("mine",),
        default="mine",
        help="last stage to run (mine is the only one yet)",
    )
    mine.add_argument("--fresh", action="store_true", help="forget what the folder holds")
    mine.add_argument("--json", action="store_true", help="progress and summary as JSON lines")


def _add_readers(commands: Any) -> None:
    inspect = commands.add_parser("inspect", help="show a dataset, or one triple")
    inspect.set_defaults(command=_inspect)
    inspect.add_argument("dir", type=Path, metavar="DIR")
    inspect.add_argument("id", nargs="?", metavar="ID", help="a triple's id or its beginning")

    checkout = commands.add_parser("checkout", help="write one side of a triple to a folder")
    checkout.set_defaults(command=_checkout)
    checkout.add_argument("dir", type=Path, metavar="DIR")
    checkout.add_argument("id", metavar="ID", help="a triple's id or its beginning")
    checkout.add_argument("--side", required=True, choices=("old", "new"))
    checkout.add_argument("--to", required=True, type=Path, metavar="PATH")

    verify = commands.add_parser("verify", help="replay every triple and check every hash")
    verify.set_defaults(command=_verify)
    verify.add_argument("dir", type=Path, metavar="DIR")


def _add_training(commands: Any) -> None:
    train = commands.add_parser("train", help="train LoopCoder on token shards (also in torchrun)")
    train.set_defaults(command=_train)
    train.add_argument("--out", type=Path, metavar="DIR", help="run folder (DATA/runs/NAME)")
    train.add_argument("--dry-run", action="store_true", help="sizes, cost, what is missing")
    resume = commands.add_parser("verify-resume", help="prove that resuming a recipe is exact")
    resume.set_defaults(command=_verify_resume)
    resume.add_argument("--steps", type=int, default=8, metavar="N", help="steps in all (8)")
    resume.add_argument("--at", type=int, default=3, metavar="K", help="stopped after (3)")
    for command in (train, resume):
        command.add_argument("--data", required=True, type=Path, metavar="DIR")
        command.add_argument("--recipe", required=True, type=Path, metavar="TOML")


def _mine(parsed: argparse.Namespace) -> int:
    from codeflow.progress import make_progress
    from codeflow.run import Execution, run
    from codeflow.summary import render_summary
    from codeflow_miners.repositories import read_list

    if parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: give 1 or more")
    config = _configuration(parsed)
    sources = read_list(parsed.repos)
    execution = Execution(parsed.workers, parsed.ray_address, fresh=parsed.fresh)
    if parsed.cache is not None:
        execution = replace(execution, cache=parsed.cache)
    progress = make_progress(parsed.json, sys.stdout if parsed.json else sys.stderr)
    try:
        summary = run(sources, parsed.out, config, execution, progress)
    finally:
        progress.close()
    render_summary(summary, sys.stdout, json=parsed.json)
    return EXIT_INCOMPLETE if summary.failed else EXIT_OK


def _configuration(parsed: argparse.Namespace) -> Any:
    """The mining configuration: the file's, then what the command line says."""
    from codeflow.config import MineConfig, from_mapping, read_toml

    values: dict[str, Any] = {}
    if parsed.config is not None:
        tables = read_toml(parsed.config)
        for name in tables:
            if name != "mine":
                raise UsageError(f"{parsed.config}: unknown table [{name}]; known: [mine]")
        values = tables.get("mine", {})
    if not isinstance(values, Mapping):
        raise UsageError(f"{parsed.config}: mine must be a table")
    config = from_mapping(MineConfig, values, "mine")
    if parsed.kinds is not None:
        kinds = tuple(dict.fromkeys(kind.strip() for kind in parsed.kinds.split(",")))
        config = replace(config, kinds=kinds)
    if parsed.window is not None:
        start, _, stop = parsed.window.partition(":")
        try:
            window = replace(config.window, start=float(start), stop=float(stop))
        except ValueError:
            raise UsageError(f"--window {parsed.window}: write it as 0.4:0.8") from None
        config = replace(config, window=window)
    if parsed.window_by is not None:
        config = replace(config, window=replace(config.window, by=parsed.window_by))
    return config


def _inspect(parsed: argparse.Namespace) -> int:
    from rich.console import Console

    from codeflow import dataset
    from codeflow.show import show_dataset, show_triple

    opened = dataset.open(parsed.dir)
    if parsed.id is None:
        show_dataset(opened, Console(highlight=False))
    else:
        show_triple(opened.triple(parsed.id), Console(highlight=False), parsed.dir)
    return EXIT_OK


def _checkout(parsed: argparse.Namespace) -> int:
    from codeflow import dataset
    from codeflow.checkout import checkout

    opened = dataset.open(parsed.dir)
    written = checkout(opened, opened.triple(parsed.id), parsed.side, parsed.to)
    print(f"{written.files} files in {parsed.to}")
    for path in written.unlinked:
        print(f"  {path!r} leads out of the folder: written as a file that holds its target")
    return EXIT_OK


def _verify(parsed: argparse.Namespace) -> int:
    from codeflow.verify import verify

    report = verify(parsed.dir)
    print(report)
    return EXIT_OK if report.ok else EXIT_INCOMPLETE


def _train(parsed: argparse.Namespace) -> int:
    _need_torch()
    from codeflow.loopcoder.dry_run import dry_run
    from codeflow.loopcoder.metrics import say
    from codeflow.loopcoder.recipe import read_recipe
    from codeflow.loopcoder.train import train

    recipe = read_recipe(parsed.recipe)
    out = parsed.out or parsed.data / "runs" / recipe.name
    if parsed.dry_run:
        report = dry_run(recipe, parsed.data, out)
        print(report)
        return EXIT_INCOMPLETE if report.problems else EXIT_OK
    result = train(recipe, parsed.data, out, progress=say)
    if os.environ.get("RANK", "0") == "0":
        print(f"step {result.step}, loss {result.loss:.4f}: {result.checkpoint}")
    return EXIT_OK


def _verify_resume(parsed: argparse.Namespace) -> int:
    _need_torch()
    import tempfile

    from codeflow.loopcoder.verify import verify_resume

    with tempfile.TemporaryDirectory(prefix="codeflow-resume-") as work:
        proof = verify_resume(parsed.recipe, parsed.data, Path(work), parsed.steps, parsed.at)
    print(proof)
    return EXIT_OK if proof.ok else EXIT_INCOMPLETE


def _need_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise UsageError("training needs torch: pip install 'codeflow-kit[train]'")
