"""What the processes of a PID namespace are at, read from outside through its own /proc.

The list of a namespace's processes is its own: nothing can leave it, and no tree of parents has to
be followed. CPU seconds count what ended as well: a parent that waited for a child has its time,
and what was seen of a process that nobody waited for is kept, by the scheduler's own clock: many
short ones, of a parent that ignores their end, would not fill a tick each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_BUSY: Final = (b"R", b"D")
_Stat = tuple[bytes, int, int, int, int, int]


@dataclass(frozen=True)
class Usage:
    """What all processes of a namespace take at one moment."""

    tasks: int
    cpu_s: float
    resident_bytes: int
    busy: bool
    """Whether any of them runs, wants to run, or waits for a disk."""


class Namespace:
    """The processes below the first process of a PID namespace.

    Args:
        first: its number on this machine.
    """

    def __init__(self, first: int) -> None:
        self._proc = f"/proc/{first}/root/proc"
        self._seen: dict[tuple[int, int], float] = {}

    def processes(self) -> int:
        """How many there are; cheap, however many."""
        return len(self._pids())

    def look(self) -> Usage | None:
        """What is taken now; None when it is gone."""
        tasks = with_children = pages = 0
        busy = False
        for pid, (state, ticks, waited, threads, started, resident) in self._stats():
            tasks += threads
            pages += resident
            with_children += ticks + waited
            self._seen[pid, started] = max(ticks / _TICKS_PER_S, self._scheduled_s(pid))
            busy = busy or state in _BUSY or (threads > 1 and self._has_busy_thread(pid))
        if not tasks:
            return None
        cpu_s = max(sum(self._seen.values()), with_children / _TICKS_PER_S)
        return Usage(tasks, cpu_s, pages * _PAGE_BYTES, busy)

    def proportional_bytes(self) -> int:
        """Resident memory with shared pages counted once; dearer than what `look` says."""
        total = 0
        for pid in self._pids():
            for line in _read(f"{self._proc}/{pid}/smaps_rollup").splitlines():
                if line.startswith(b"Pss:"):
                    total += int(line.split()[1]) << 10
        return total

    def files(self, folder: str) -> int:
        """How many files there are on the file system of a folder inside."""
        try:
            found = os.statvfs(f"{self._proc[:-5]}{folder}")
        except OSError:
            return 0
        return found.f_files - found.f_ffree

    def _pids(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return []

    def _stats(self) -> Iterator[tuple[int, _Stat]]:
        for pid in self._pids():
            stat = _stat(f"{self._proc}/{pid}/stat")
            if stat is not None:
                yield pid, stat

    def _scheduled_s(self, pid: int) -> float:
        fields = _read(f"{self._proc}/{pid}/schedstat").split()  # of its first thread
        return int(fields[0]) / 1e9 if fields else 0.0

    def _has_busy_thread(self, pid: int) -> bool:
        folder = f"{self._proc}/{pid}/task"
        try:
            threads = os.listdir(folder)
        except OSError:
            return False
        stats = (_stat(f"{folder}/{thread}/stat") for thread in threads)
        return any(stat is not None and stat[0] in _BUSY for stat in stats)


def _stat(path: str) -> _Stat | None:
    """State, own ticks, ticks of children waited for, threads, start and resident pages."""
    _, bracket, rest = _read(path).rpartition(b")")  # the name before it may hold anything
    fields = rest.split()
    if not bracket or len(fields) < 22:
        return None
    own = int(fields[11]) + int(fields[12])
    waited = int(fields[13]) + int(fields[14])
    return fields[0], own, waited, int(fields[17]), int(fields[19]), int(fields[21])


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:  # it has ended meanwhile
        return b""
