"""Parsing of hostile texts, from the caller's side: one child process, started when first needed.

See `codeflow_filters.grammar.parser_child` for why a process, its limits and its cost. A request
that a child dies of is put to a second one, then its texts count as unparsed. A child ends when its
input does, so none outlives the process that started it.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from codeflow.errors import UsageError

_MODULE: Final = "codeflow_filters.grammar.parser_child"


class Limits(NamedTuple):
    """What one text may cost. Bytes come first: they alone are the same on every machine."""

    file_bytes: int
    memory_bytes: int
    seconds: float

    def check(self, where: str) -> None:
        """Raises UsageError when a text could never be parsed under these limits."""
        least = Limits(1, 256 << 20, 0.1)
        for name, value, bound in zip(self._fields, self, least, strict=True):
            if not value >= bound:
                raise UsageError(f"{where}: max_{name} = {value}: give {bound} or more")


def errors(language: str, sources: Sequence[bytes], limits: Limits) -> list[int | None]:
    """How many syntax errors each text has; None for one that went over a limit."""
    return _CHILD.ask("errors", language, sources, (0, 0), limits)


def reads(language: str, sources: Sequence[bytes], limits: Limits) -> list[bool | None]:
    """Whether the language's own parser reads each text; None for one that went over a limit."""
    return _CHILD.ask("reads", language, sources, (0, 0), limits)


def tokens(language: str, source: bytes, common: tuple[int, int], limits: Limits) -> str | None:
    """A hash of a text's tokens and structure; None over a limit or with syntax errors.

    Args:
        common: how much it has in common with the text it is to be compared with, at the start and
            at the end, in bytes.
    """
    answer: str | None = _CHILD.ask("tokens", language, [source], common, limits)[0]
    return answer


def layouts(language: str, sources: Sequence[bytes], limits: Limits) -> list[str | None]:
    """A hash of what a formatter leaves alone in each text; None over a limit or with errors."""
    return _CHILD.ask("layout", language, sources, (0, 0), limits)


class _Child:
    """The child of this process, or none yet."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def ask(
        self,
        task: str,
        language: str,
        sources: Sequence[bytes],
        common: tuple[int, int],
        limits: Limits,
    ) -> list[Any]:
        if any(len(source) > limits.file_bytes for source in sources):
            return [None] * len(sources)
        request = (task, language, sources, common, limits.memory_bytes, limits.seconds)
        with self._lock:
            for _ in range(2):  # what ended it may have come from outside
                answer = self._asked(request)
                if isinstance(answer, str):
                    raise UsageError(f"{language}: no grammar or parser ({answer}); install it")
                if answer is not None:
                    return answer
        return [None] * len(sources)

    def _asked(self, request: object) -> list[Any] | str | None:
        """One request and its answer; None when the child dies of it."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            self.stop()
            return None
        answer = json.loads(line)
        assert isinstance(answer, list | str)
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a fork does not share its pipes
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            assert self._process.stdout is not None
            if self._process.stdout.readline() != b'"ready"\n':
                raise UsageError(f"{_MODULE}: did not start; try `python -m {_MODULE}`")
        return self._process

    def stop(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None


_CHILD = _Child()
atexit.register(_CHILD.stop)
