"""The command line. The one place that turns errors into messages and exit statuses.

A wrong word on the command line costs its reader one line: what is wrong, and what to do. Modules
that take time to import are imported by the command that needs them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from codeflow import __version__
from codeflow.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, CodeflowError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

_DESCRIPTION = """\
Mines Git histories into exact triples: the repository before a change, the patch,
and the repository after it."""

_EPILOG = """\
exit status:
  0    all done
  1    done, but something failed: a repository could not be mined, a dataset is damaged
       or does not hold what was asked for
  2    wrong usage: a wrong option, list, configuration or folder
  130  interrupted; `codeflow mine` goes on when the same command is given again

start with:
  echo ../my-project > list.txt
  codeflow mine --repos list.txt --out data
  codeflow inspect data"""

_MINE_EPILOG = """\
A run that was stopped goes on when the same command is given again, and gives the same bytes.
Repositories that cannot be mined are named at the end and in the ledger; the run goes on.

  codeflow mine --repos list.txt --out data
  codeflow mine --repos list.txt --out data --kinds commit --window 0.2:0.9 --workers 8"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts threads that nothing uses
    try:
        try:
            parsed = _parser().parse_args(arguments)
            command: Callable[[argparse.Namespace], int] = parsed.command
            return command(parsed)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that is gone can still be handled
    except CodeflowError as error:
        _complain(f"codeflow: {error}")
        return error.exit_status
    except KeyboardInterrupt as stop:
        _complain(f"codeflow: {str(stop) or 'interrupted'}")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `codeflow inspect DIR | head`
        _let_go(sys.stdout)
        _let_go(sys.stderr)
        return EXIT_OK


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def _let_go(stream: Any) -> None:
    """Sends what is still buffered nowhere, so that the interpreter ends quietly."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="codeflow", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"codeflow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_mine(commands)
    _add_readers(commands)
    _add_tokenize(commands)
    _add_training(commands)
    return parser


def _add_mine(commands: Any) -> None:
    text = "mine repositories into a dataset folder"
    mine = commands.add_parser("mine", help=text, description=_sentence(text), epilog=_MINE_EPILOG)
    mine.set_defaults(command=_mine)
    mine.add_argument(
        "--repos",
        required=True,
        type=Path,
        metavar="LIST",
        help="file with a repository a line: a URL or a path, optionally with @REF",
    )
    mine.add_argument("--out", required=True, type=Path, metavar="DIR", help="dataset folder")

    what = mine.add_argument_group("what is mined")
    what.add_argument("--kinds", metavar="KIND,...", help="kinds of triples (default: span,commit)")
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
        "--config", type=Path, metavar="TOML", help="file with the [mine] tables; options win"
    )

    how = mine.add_argument_group("how it is run (nothing here changes a byte of the result)")
    how.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="1 works in this process, more are Ray workers (default here: %(default)s)",
    )
    how.add_argument("--ray-address", metavar="ADDR", help="use this Ray cluster, or `auto`")
    how.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where clones are kept (default: ~/.cache/codeflow/repositories)",
    )
    how.add_argument(
        "--until", choices=("mine",), default="mine", help="last stage to run (the only one yet)"
    )
    how.add_argument(
        "--fresh", action="store_true", help="forget what DIR holds and resolve heads again"
    )
    how.add_argument("--json", action="store_true", help="progress and summary as JSON lines")


def _add_readers(commands: Any) -> None:
    def reader(name: str, text: str, command: Callable[[argparse.Namespace], int]) -> Any:
        parser = commands.add_parser(name, help=text, description=_sentence(text))
        parser.set_defaults(command=command)
        parser.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")
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


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_tokenize(commands: Any) -> None:
    tokenize = commands.add_parser("tokenize", help="render and pack triples into token shards")
    tokenize.set_defaults(command=_tokenize)
    tokenize.add_argument("dir", type=Path, metavar="DIR")
    tokenize.add_argument(
        "--render",
        required=True,
        metavar="RENDERING",
        help="diff, blocks, files, fim-file, fim-repo or snapshot",
    )
    tokenize.add_argument("--length", required=True, type=int, metavar="T", help="tokens of a row")
    tokenize.add_argument("--name", metavar="NAME", help="of the folder (RENDERING-T)")
    tokenize.add_argument("--tokenizer", type=Path, metavar="FILE", help="a tokenizer.json")
    tokenize.add_argument(
        "--vocab", type=int, default=32768, metavar="N", help="size of a tokenizer to train"
    )
    tokenize.add_argument("--loss", metavar="WHERE", help="patch, all, or the rest's weight")
    tokenize.add_argument("--long", choices=("cut", "drop"), default="cut", help="long documents")
    tokenize.add_argument(
        "--validation", type=float, default=0.05, metavar="SHARE", help="latest part to hold out"
    )
    tokenize.add_argument("--seed", type=int, default=0)


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
    if parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: give 1 or more")

    from codeflow.api import read_config, with_choices
    from codeflow.progress import make_progress
    from codeflow.run import Execution, run
    from codeflow.summary import render_summary
    from codeflow_miners.repositories import read_list

    kinds = None if parsed.kinds is None else [kind.strip() for kind in parsed.kinds.split(",")]
    config = with_choices(
        read_config(parsed.config), kinds, _window(parsed.window), parsed.window_by
    )
    sources = read_list(parsed.repos)
    execution = Execution(parsed.workers, parsed.ray_address, fresh=parsed.fresh)
    if parsed.cache is not None:
        execution = replace(execution, cache=parsed.cache)
    progress = make_progress(parsed.json, sys.stdout if parsed.json else sys.stderr)
    try:
        summary = run(sources, parsed.out, config, execution, progress)
    except (KeyboardInterrupt, BrokenPipeError):  # without a reader of the progress it stops, too
        raise KeyboardInterrupt("stopped; the same command goes on from here") from None
    finally:
        with contextlib.suppress(BrokenPipeError):
            progress.close()
    render_summary(summary, sys.stdout, json=parsed.json)
    return EXIT_INCOMPLETE if summary.failed else EXIT_OK


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    start, _, stop = text.partition(":")
    try:
        return float(start), float(stop)
    except ValueError:
        raise UsageError(f"--window {text}: write it as 0.4:0.8") from None


def _inspect(parsed: argparse.Namespace) -> int:
    from codeflow import dataset
    from codeflow.show import show_dataset, show_triple

    opened = dataset.open(parsed.dir)
    if parsed.id is None:
        show_dataset(opened, _console())
    else:
        show_triple(opened.triple(parsed.id), _console(), parsed.dir)
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
    from codeflow.show_verify import show_report, verify_progress
    from codeflow.verify import verify

    with verify_progress(sys.stderr) as progress:
        report = verify(parsed.dir, progress=progress)
    show_report(report, sys.stdout)
    return EXIT_OK if report.ok else EXIT_INCOMPLETE


def _tokenize(parsed: argparse.Namespace) -> int:
    try:
        from codeflow.tokens.stage import tokenize
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}; pip install 'codeflow-kit[train]'") from None

    done = tokenize(
        parsed.dir,
        parsed.name or f"{parsed.render}-{parsed.length}",
        parsed.render,
        parsed.length,
        tokenizer=parsed.tokenizer,
        vocab_size=parsed.vocab,
        loss=parsed.loss,
        long=parsed.long,
        validation=parsed.validation,
        seed=parsed.seed,
    )
    for split, rows in done.rows.items():
        tokens, fill = done.tokens[split], done.fill[split]
        print(f"{split}: {rows:,} rows of {parsed.length:,}, {tokens:,} tokens, {fill:.2%} full")
    counted = {**done.documents, "straddling": done.triples["straddling"]}
    print("documents: " + ", ".join(f"{n:,} {what}" for what, n in sorted(counted.items())))
    if done.slow_because is not None:
        print(f"encoded slowly: {done.slow_because}")
    print(f"in {done.folder}")
    return EXIT_OK


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
