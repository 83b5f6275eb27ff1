"""Bounded reading of what a program writes: the start, the end, and a count of the rest."""

from __future__ import annotations

import os

from codeflow.sandbox.job import Captured

_CHUNK_BYTES = 1 << 16


class Capture:
    """The read end of a pipe, not blocking. A program is never stopped by what it writes."""

    def __init__(self, descriptor: int, most_bytes: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._half = max(1, most_bytes // 2)
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def fileno(self) -> int:
        """For a selector."""
        return self._descriptor

    def read(self) -> bool:
        """Takes some of what is there; False at the end of the stream or where nothing waits."""
        try:
            data = os.read(self._descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[max(0, room) :]
        if (over := len(self._tail) - self._half) > 0:
            del self._tail[:over]
            self._left_out += over
        return bool(data)

    def finish(self) -> Captured:
        """Reads what is still there; what was captured in all."""
        while self.read():
            pass
        return Captured(bytes(self._head), bytes(self._tail), self._left_out)


def bounded(data: bytes, most_bytes: int) -> Captured:
    """What `Capture` keeps of a stream that was read already."""
    half = max(1, most_bytes // 2)
    rest = data[half:]
    return Captured(data[:half], rest[-half:], max(0, len(rest) - half))
