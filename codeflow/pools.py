"""Where units run: in this process, or as Ray tasks on this machine or a cluster.

Both pools share `run_unit`; only the mapping differs. A Ray worker that dies is replaced and its
unit run again; one that keeps dying is a failure of the unit.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from codeflow.contracts import Unit, UnitResult
from codeflow.errors import CodeflowError, UsageError
from codeflow.units import Failure, record_failure, run_unit

WAITING_THREADS = 8
RETRIES = 3

Done = tuple[Unit, UnitResult | Failure]


class Pool(Protocol):
    """Runs units in any order."""

    def submit(self, unit: Unit) -> None:
        """Accepts a unit."""
        ...

    def next_done(self) -> Done:
        """Waits for any accepted unit to end. Raises CodeflowError when the run must stop."""
        ...

    @property
    def room(self) -> int:
        """How many more units to submit before waiting."""
        ...

    def close(self) -> None:
        """Stops what runs."""
        ...


class SerialPool:
    """One worker: units run here, one at a time; those that wait for others run in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: deque[Unit] = deque()
        self._threads: ThreadPoolExecutor | None = None
        self._waiting: dict[Future[UnitResult | Failure], Unit] = {}

    @property
    def room(self) -> int:
        return 2 * WAITING_THREADS - len(self._queue) - len(self._waiting)

    def submit(self, unit: Unit) -> None:
        if unit.waits:
            self._threads = self._threads or ThreadPoolExecutor(WAITING_THREADS)
            self._waiting[self._threads.submit(run_unit, unit, self._folder)] = unit
        else:
            self._queue.append(unit)

    def next_done(self) -> Done:
        if not self._queue:
            done, _ = wait(self._waiting, return_when=FIRST_COMPLETED)
            future = done.pop()
            return self._waiting.pop(future), future.result()
        unit = self._queue.popleft()
        return unit, run_unit(unit, self._folder)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


class RayPool:
    """Ray tasks. `folder` must be the same path on every node.

    Args:
        workers: size of a Ray started here; None to use all of an existing cluster.
        address: of an existing cluster; None to start one on this machine.
    """

    def __init__(self, folder: Path, workers: int | None, address: str | None) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray = ray
        self._folder = folder
        try:
            if address is None:
                ray.init(
                    num_cpus=workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(f"Ray at {address or 'this machine'}: {lines[0]}") from None
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.workers = workers or max(1, int(resources.get("CPU", 1)))
        self._run: Any = ray.remote(max_retries=RETRIES, retry_exceptions=False)(run_unit)
        self._pending: dict[Any, Unit] = {}

    @property
    def room(self) -> int:
        return 4 * self.workers - len(self._pending)

    def submit(self, unit: Unit) -> None:
        cpus = 1 / WAITING_THREADS if unit.waits else 1
        reference = self._run.options(num_cpus=cpus, name=unit.key).remote(unit, self._folder)
        self._pending[reference] = unit

    def next_done(self) -> Done:
        [reference], _ = self._ray.wait(list(self._pending), num_returns=1)
        unit = self._pending.pop(reference)
        exceptions = self._ray.exceptions
        try:
            return unit, self._ray.get(reference)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            rule = "memory" if isinstance(error, exceptions.OutOfMemoryError) else "worker-died"
            failure = Failure(rule, f"{unit.key}: its worker died {RETRIES + 1} times", False)
            record_failure(unit.key, failure, self._folder)
            return unit, failure
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, CodeflowError):
                raise cause from None
            raise

    def close(self) -> None:
        self._ray.shutdown()


def make_pool(folder: Path, workers: int, address: str | None) -> Pool:
    """The pool for `--workers` and `--ray-address`."""
    if address is not None:
        return RayPool(folder, None, address)
    return RayPool(folder, workers, None) if workers > 1 else SerialPool(folder)
