"""What goes into a sandbox and what comes out: the one small interface that all sandboxes have.

CPU seconds decide, never the wall clock: a machine with much to do must not change what is said of
a program. So a program ends by itself, or over a limit that does not depend on what else runs:

- `cpu`: its processes used more CPU seconds than they may;
- `asleep`: for so long it had nothing to run, only to wait for, as a program that hangs;
- `memory`, `processes`, `files`: it took more than it may.

Whatever else goes wrong (no sandbox could be made, the machine gave it no time) is nothing that the
program did. It is a `SandboxError` and never an outcome.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from codeflow.errors import CodeflowError

File = tuple[str, bytes]
"""A file: Git's mode (`100644`, `100755`, `120000`) and its content, of a link its target."""

End = Literal["exit", "cpu", "asleep", "memory", "processes", "files"]

RESULTS: Final = "CODEFLOW_RESULTS"
"""Of the environment inside: a path to which what `Outcome.results` holds is written."""

WORK: Final = "/work"
"""The folder inside where the files lie and the command starts."""

ENVIRONMENT: Final = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TZ": "UTC",
    "USER": "sandbox",
}


class SandboxError(CodeflowError):
    """The sandbox failed, not what runs in it: nothing may be concluded about that."""


@dataclass(frozen=True)
class Limits:
    """What a command and all its processes together may take.

    Attributes:
        asleep_s: how long in all it may have nothing to run.
        wall_s: after that the machine is at fault: an error, no outcome.
        memory_bytes: resident, of all processes.
        address_bytes: of one process; None for runtimes that reserve much more than they use.
        disk_bytes: of all files together, which are in memory, too.
        processes: threads included.
        output_bytes: kept of each stream; of what is longer, the start and the end.
    """

    cpu_s: float = 60.0
    asleep_s: float = 60.0
    wall_s: float = 1800.0
    memory_bytes: int = 2 << 30
    address_bytes: int | None = 8 << 30
    disk_bytes: int = 512 << 20
    files: int = 100_000
    open_files: int = 1024
    processes: int = 256
    output_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} = {value}: a limit is a positive number")


@dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
        argv: its words; the first is looked up in `PATH`.
        files: written to `WORK` before it starts, by relative path.
        mounts: folders or files of this machine that it may read, by the place where it sees them.
        environment: all that it gets besides `ENVIRONMENT`.
        folder: where it starts, relative to `WORK`.
    """

    argv: tuple[str, ...]
    files: Mapping[str, File] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    folder: str = "."
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Captured:
    """What was written to a stream: its start, its end, and how much between them is left out."""

    head: bytes = b""
    tail: bytes = b""
    left_out: int = 0

    @property
    def text(self) -> bytes:
        """As one text, with a line where something is left out."""
        if not self.left_out:
            return self.head + self.tail
        return b"%s\n[%d bytes left out]\n%s" % (self.head, self.left_out, self.tail)


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        end: why; `exit` where it ended by itself.
        exit_status: as a shell has it, 128 + N after signal N; None where it was stopped.
        cpu_s: of all its processes; None where the sandbox cannot tell.
        results: what was written to the path in `RESULTS`.
    """

    end: End
    exit_status: int | None
    cpu_s: float | None
    stdout: Captured
    stderr: Captured
    results: Captured


class Sandbox(Protocol):
    """Runs commands; may be used by many threads and processes at once."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def run(self, job: Job) -> Outcome:
        """Runs a command to its end; nothing of it is left then.

        Raises:
            SandboxError: it could not be run, which is no fault of the command's.
        """
        ...
