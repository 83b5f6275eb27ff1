"""Settings of a process that runs units: the allocator keeps its memory, the collector waits.

Contents of a hundred kilobytes come and go by the thousand. By default glibc maps and clears fresh
pages for each, and Python's cycle collector walks tables of rows that hold no cycles
(benchmarks/LOG.md, "Mining"). Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.abc import MetaPathFinder

import pyarrow as pa

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


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM stops a run as Ctrl-C does; only the main thread may ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
