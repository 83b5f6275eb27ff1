"""How far a call is: lines on a terminal and in a notebook, a display of one's own, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from codeflow.execution.progress import Progress, Quiet
from codeflow.terminal.progress import make_progress


@contextmanager
def displayed(progress: Progress | bool | None) -> Iterator[Progress]:
    """What is told of the work; one's own display is one's own to close."""
    display = _display(progress)
    try:
        yield display
    finally:
        if display is not progress:
            display.close()


def _display(progress: Progress | bool | None) -> Progress:
    if progress is None:  # a notebook shows lines, and says that it is no terminal
        progress = sys.stderr is not None and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    if isinstance(progress, bool):
        return make_progress(False, sys.stderr) if progress else Quiet()
    return progress
