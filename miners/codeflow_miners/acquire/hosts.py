"""Politeness to a host: few clones of it at a time, and none while it wants none.

All processes that share a cache share what is known of its hosts: a file a slot, held by a lock
while git talks to the host, and a file that tells until when the host wants to be left alone.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from codeflow.errors import LimitExceededError

SLOTS: Final = 16
"""Clones of one host at a time, over all processes that share a cache."""

_LOOK_S: Final = 0.1


class Host:
    """The host of a URL, as all runs with this cache know it.

    Args:
        cache_dir: an existing folder.
        url: what git is given; one without a host, such as `file://`, is never waited for.
        most_s: the longest wait for a slot, and for the host.
    """

    def __init__(self, cache_dir: Path, url: str, most_s: float) -> None:
        name = quote(urlsplit(url).netloc.rpartition("@")[2], safe="")
        self._folder = cache_dir / "hosts" / name if name else None
        self._most_s = most_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Holds a slot of the host while it may be asked.

        Raises:
            LimitExceededError: `busy`, there was none for too long.
            LimitExceededError: `rate-limited`, the host wants to be left alone for too long.
        """
        with ExitStack() as stack:
            if self._folder is not None:
                self._leave_alone()
                stack.enter_context(self._slot(self._folder))
            yield

    def hold_off(self, wait_s: float) -> None:
        """Has every process wait before it asks the host again, each a little differently."""
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        until = time.time() + wait_s
        path = self._folder / "until"
        part = path.with_name(f"until.{os.getpid()}")
        part.write_text(repr(max(until, self._until())))
        os.replace(part, path)

    def _until(self) -> float:
        assert self._folder is not None
        try:
            return float((self._folder / "until").read_text())
        except (OSError, ValueError):  # never asked to wait
            return 0.0

    def _leave_alone(self) -> None:
        waited_s = 0.0
        while (left_s := self._until() - time.time()) > 0:
            if waited_s + left_s > self._most_s:
                reason = f"the server wants no requests for another {left_s:.0f} s"
                raise LimitExceededError("rate-limited", reason, deterministic=False)
            pause_s = left_s + random.uniform(0, 1)  # not all of us at the same moment
            time.sleep(pause_s)
            waited_s += pause_s

    @contextmanager
    def _slot(self, folder: Path) -> Iterator[None]:
        folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self._most_s
        while True:
            for number in random.sample(range(SLOTS), SLOTS):
                file = open(folder / f"{number}.lock", "wb")  # noqa: SIM115
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    continue
                with file:
                    yield
                return
            if time.monotonic() > deadline:
                reason = "too many clones of its host at a time, for too long; try again later"
                raise LimitExceededError("busy", reason, deterministic=False)
            time.sleep(_LOOK_S)
