"""Settings of a process that runs units: the allocator keeps its memory, the collector waits.

Contents of a hundred kilobytes come and go by the thousand. By default glibc maps and clears fresh
pages for each, and Python's cycle collector walks tables of rows that hold no cycles
(benchmarks/LOG.md, "Mining"). Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.abc import MetaPathFinder
from typing import Final

import pyarrow as pa

from codeflow.errors import EXIT_INTERRUPTED

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
_KEPT_BYTES = 128 << 20
_MAPPED_BYTES = 32 << 20  # glibc's largest


@cache
def tune() -> None:
    """Applies the settings, once a process."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    pa.set_memory_pool(pa.system_memory_pool())  # the same allocator, which keeps its pages
    keep_pages(_MAPPED_BYTES, _KEPT_BYTES)


@cache
def spare_pandas() -> None:
    """Has pyarrow look for pandas now, and not find it; for processes that are ours alone.

    The first list that becomes an array makes pyarrow import pandas where it is installed, only to
    ask whether the list is a Series: a tenth of the run on a history of 3,600 commits, in every
    worker. What does need pandas (`to_pandas`) looks again and finds it.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ImportError("pyarrow has no need of pandas here")


def keep_pages(mapped_bytes: int, kept_bytes: int) -> None:
    """Lets glibc's allocator keep its pages; another C library stays as it is.

    Args:
        mapped_bytes: from this size on, a block is mapped and given back by itself.
        kept_bytes: free memory at the heap's end that is not given back; both below 2 GiB.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, mapped_bytes)
        libc.mallopt(_M_TRIM_THRESHOLD, kept_bytes)
    except (OSError, AttributeError):
        pass


class Interrupts:
    """A handler of signals: the first one raises KeyboardInterrupt, the second ends the process.

    Between the two a run cleans up. Whoever asks again does not want to wait for that, nor to read
    where it was: nothing is lost, since a folder can be resumed from any moment.

    Args:
        line: what is said at the end.
        clean: what has to be done even then.
    """

    def __init__(self, line: str, clean: Callable[[], None]) -> None:
        self._line, self._clean = line, clean
        self._asked = False

    def __call__(self, number: int, frame: object) -> None:
        if not self._asked:
            self._asked = True
            raise KeyboardInterrupt
        for asked in _ASKS:
            signal.signal(asked, signal.SIG_IGN)
        self._clean()
        with suppress(OSError):
            cursor = "\x1b[?25h" if os.isatty(2) else ""  # a live display has hidden it
            os.write(2, f"{cursor}codeflow: {self._line}\n".encode())
        os._exit(EXIT_INTERRUPTED)


_ASKS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by(interrupts: Interrupts) -> Iterator[None]:
    """SIGINT and SIGTERM go to a handler of ours; only the main thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.getsignal(number) for number in _ASKS]
    for number, old in zip(_ASKS, before, strict=True):
        if old is not signal.SIG_IGN:  # of a background job, which has no Ctrl-C
            signal.signal(number, interrupts)
    try:
        yield
    finally:
        for number, old in zip(_ASKS, before, strict=True):
            signal.signal(number, old)


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does; only the main thread may ask for that."""
    before = signal.getsignal(signal.SIGTERM)
    elsewhere = threading.current_thread() is not threading.main_thread()
    if elsewhere or isinstance(before, Interrupts):
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
