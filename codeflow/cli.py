"""The command line. The one place that turns errors into messages and exit statuses.

A wrong word on the command line costs its reader one line: what is wrong, and what to do. The
commands themselves are in `codeflow.commands`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from codeflow.commands import (
    curate,
    export,
    export_data,
    generate,
    grade,
    mine,
    quality,
    read,
    report,
    tasks,
    tokenize,
    train,
)
from codeflow.commands.arguments import Parser
from codeflow.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, CodeflowError
from codeflow.version import __version__

# in the order of a life: from repositories to a model that others load
_COMMANDS = (
    mine,
    curate,
    quality,
    read,
    report,
    export_data,
    tasks,
    grade,
    tokenize,
    train,
    generate,
    export,
)

_DESCRIPTION = """\
Mines Git histories into exact triples: the repository before a change, the patch,
and the repository after it."""

_EPILOG = """\
exit status:
  0    all done
  1    done, but something failed: a repository could not be mined; or not done: a dataset
       is damaged or does not hold what was asked for, a disk is full or cannot be written
  2    wrong usage: a wrong option, list, configuration or folder
  130  interrupted; `codeflow mine` goes on when the same command is given again

start with:
  codeflow mine --repos ../my-project --out data
  codeflow inspect data"""


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
        ours = arguments is None  # the process, which need not be a test's or a notebook's
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _complain(f"codeflow: {str(stop) or 'interrupted'}")
        if ours:
            _leave()
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `codeflow inspect DIR | head`
        _let_go(sys.stdout)
        _let_go(sys.stderr)
        return EXIT_OK
    except OSError as error:  # a full disk, a place that cannot be written, a folder for a file
        from codeflow.execution.failures import disk_error

        _complain(f"codeflow: {disk_error(error, Path('the output'))}")
        if error.filename is None:
            _let_go(sys.stdout)
        return EXIT_INCOMPLETE


def _leave() -> NoReturn:
    """Ends without what libraries do at the end, where one more Ctrl-C would cost a traceback."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError):
            stream.flush()
    os._exit(EXIT_INTERRUPTED)


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


def _let_go(stream: Any) -> None:
    """Sends what is still buffered nowhere, so that the interpreter ends quietly."""
    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> Parser:
    parser = Parser(prog="codeflow", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"codeflow {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add(commands)
    return parser
