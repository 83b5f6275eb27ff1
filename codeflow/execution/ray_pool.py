"""Units as Ray tasks, on this machine or a cluster.

A worker that dies is replaced and its unit run again; one that keeps dying is a failure of the
unit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from codeflow.contracts import Unit, UnitResult
from codeflow.errors import CodeflowError, UsageError
from codeflow.execution.failures import Failure
from codeflow.execution.pool import WAITING_THREADS, Done, Note
from codeflow.execution.process import spare_pandas
from codeflow.execution.units import record_failure, run_unit

RETRIES = 3
_ANSWER_S = 10.0
_DISCONNECTED_S = 0.2
_CANCELLED_TIMES = 3
_CANCELLED_S = 1.0


class RayPool:
    """Ray tasks. `folder` must be the same path on every node.

    A Ray that this process is connected to already is used, and left as it is.

    Args:
        workers: size of a Ray started here; None to use all of an existing cluster.
        address: of an existing cluster; None to start one on this machine.
        note: takes a line when it is down.
        preload: modules that a worker of a Ray started here imports before it counts as up.
    """

    def __init__(
        self,
        folder: Path,
        workers: int | None,
        address: str | None,
        note: Note = lambda text: None,
        preload: Sequence[str] = (),
    ) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # else for ever
        import ray

        self._ray = ray
        self._folder, self._note = folder, note
        self._started = not ray.is_initialized()
        self._pending: dict[Any, Unit] = {}
        try:
            self._begin(workers, address, preload)
        except BaseException:  # Ctrl-C while it starts: nobody else knows of its processes
            self._shut_down()
            raise

    def _begin(self, workers: int | None, address: str | None, preload: Sequence[str]) -> None:
        ray = self._ray
        if self._started:
            _start_ray(workers, address)
        resources: dict[str, float] = ray.cluster_resources()
        self.workers = workers or max(1, int(resources.get("CPU", 1)))
        if self._started and address is None:
            warm = ray.remote(_import)
            ray.get([warm.remote(tuple(preload)) for _ in range(self.workers)])
        self._run: Any = ray.remote(max_retries=RETRIES, retry_exceptions=False)(_run_in_worker)

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
        except exceptions.RayError as error:
            raise CodeflowError(
                f"Ray failed ({type(error).__name__}); run the same command again"
            ) from error

    def close(self) -> None:
        begun = time.monotonic()
        if self._started:
            self._shut_down()
        else:
            self._cancel_all()
        self._note(f"Ray is down after {time.monotonic() - begun:.1f} s")

    def _cancel_all(self) -> None:
        """Ends what runs on a cluster that lives on. One that was about to start when it was
        cancelled may start all the same, and is cancelled again."""
        left = list(self._pending)
        for _ in range(_CANCELLED_TIMES):
            for reference in left:
                self._ray.cancel(reference, force=True)
            if left:
                _, left = self._ray.wait(left, num_returns=len(left), timeout=_CANCELLED_S)

    def _shut_down(self) -> None:
        if self._started:
            timer = threading.Timer(_DISCONNECTED_S, kill_local_ray)
            timer.daemon = True
            timer.start()
            self._ray.shutdown()
            timer.cancel()


def _run_in_worker(unit: Unit, folder: Path) -> UnitResult | Failure:
    """`run_unit` in a process that does nothing else."""
    spare_pandas()
    return run_unit(unit, folder)


def _import(modules: Sequence[str]) -> None:
    """Makes a worker ready: it is up when it has imported what units need."""
    spare_pandas()
    for name in modules:
        import_module(name)


def kill_local_ray() -> None:
    """Ends the processes of a Ray that was started here, all at once.

    `ray.shutdown` waits for one after the other to end by itself, more than a second in all. By
    now nothing of ours is in them. Where /proc does not tell our children, it takes its time.
    """
    pending = [pid for pid in _children("self") if b"/ray/" in _read(f"/proc/{pid}/cmdline")]
    found = []
    while pending:
        found.append(pending.pop())
        pending += _children(found[-1])
    for pid in found:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int | str) -> list[int]:
    paths = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in paths for child in _read(path).split()]


def _read(path: Path | str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def _start_ray(workers: int | None, address: str | None) -> None:
    """Connects to the cluster at `address`, or starts one here. Raises UsageError."""
    import ray

    if address is not None and re.fullmatch(r"[^/]+:\d+", address):
        _require_answer(address)
    own: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",  # not one that the environment names
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **({} if address else own),
        )
    except (ConnectionError, ValueError, RuntimeError, OSError, ImportError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"Ray at {address or 'this machine'}: {lines[0]}") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray puts its own there


def _require_answer(address: str) -> None:
    """Asks at once what Ray would ask for two minutes, with a page of logs."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"Ray at {address}: no answer ({error}); is `ray start --head` running there?"
        ) from None
