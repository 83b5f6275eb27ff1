"""One run in one folder: locked, stoppable, with a pool that starts when it is first needed.

What does nothing, because all is done, starts no pool and no Ray.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from codeflow.execution.failures import disk_error
from codeflow.execution.job import Job
from codeflow.execution.process import stopped_by_sigterm
from codeflow.execution.progress import Progress
from codeflow.execution.sized_pool import make_pool
from codeflow.storage.layout import CLONES
from codeflow.storage.lock import locked

_PRELOAD: Final = ("codeflow.curation.filter.judge", "codeflow_miners.flow")
"""What workers of a Ray import before they count as up: what units need."""


@dataclass(frozen=True)
class Execution:
    """How a run is carried out; but for `update`, which moves heads, it changes no published byte.

    `workers` None: as many as end the work first (`codeflow.execution.sized_pool.SizedPool`).
    """

    workers: int | None = 1
    ray_address: str | None = None
    cache: Path = CLONES
    fresh: bool = False
    update: bool = False


class Session:
    """A folder that is worked in; made by `session`."""

    def __init__(self, folder: Path, execution: Execution, progress: Progress) -> None:
        self.folder = folder
        self.progress = progress
        self._execution = execution
        self._stack = ExitStack()

    @cached_property
    def job(self) -> Job:
        """What does the work; the first use starts the pool."""
        how = self._execution
        note = self.progress.note
        pool = make_pool(self.folder.absolute(), how.workers, how.ray_address, note, _PRELOAD)
        self._stack.callback(pool.close)
        return Job(self.folder, pool, self.progress)

    def close(self) -> None:
        """Ends the pool, where there is one."""
        self._stack.close()


@contextmanager
def session(folder: Path, execution: Execution, progress: Progress) -> Iterator[Session]:
    """Works in a folder with nobody else in it.

    Raises:
        UsageError: another run is in the folder; Ray does not answer.
        CodeflowError: the disk is full, or cannot be written. KeyboardInterrupt: stopped.
    """
    try:
        with stopped_by_sigterm(), locked(folder):
            opened = Session(folder, execution, progress)
            try:
                yield opened
            finally:
                opened.close()
    except BrokenPipeError:  # of the display
        raise
    except OSError as error:
        raise disk_error(error, folder) from error
