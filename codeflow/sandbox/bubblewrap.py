"""The sandbox proper: bubblewrap, which needs no rights, no daemon and no image.

A command sees the programs of this machine (`/usr`, read-only), what is mounted for it, and folders
in memory that vanish with it. It has namespaces of its own for users, mounts, processes, network,
IPC and host name, no capabilities, no way to more user namespaces, and not all system calls. Its
limits are set while its first process waits to begin, and watched from outside after that. When the
first process of its namespace ends, the kernel ends all others; that has happened before `run`
returns. bubblewrap dies with the thread that started it, and takes the namespace along.

Starting costs 15 ms and some 10 ms a thousand files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from codeflow.sandbox.archive import archive
from codeflow.sandbox.capture import Capture
from codeflow.sandbox.job import (
    ENVIRONMENT,
    RESULTS,
    WORK,
    End,
    Job,
    Limits,
    Outcome,
    SandboxError,
)
from codeflow.sandbox.processes import Namespace
from codeflow.sandbox.syscalls import seccomp_filter

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_OPTIONAL: Final = ("/etc/alternatives", "/etc/ld.so.cache")
_ETC: Final = {
    "/etc/passwd": b"sandbox:x:1000:1000:sandbox:/tmp:/bin/sh\n",
    "/etc/group": b"sandbox:x:1000:\n",
    "/etc/hosts": b"127.0.0.1 localhost\n::1 localhost\n",
}
_SHARED_MEMORY_BYTES: Final = 64 << 20
# The archive is the first standard input. That the mark is written says that the sandbox is there.
_BEGIN: Final = (
    'tar -xf - && echo begun > "$1" && exec < "$2" && cd -- "$3" && shift 3 && exec "$@"'
)
_START_S: Final = 60.0  # a machine that needs longer to make namespaces is not to be waited for
_LOOK_S: Final = 0.02
_LONGEST_LOOK_S: Final = 0.2  # of time asleep: when nobody looked, nobody knows
_OURS: Final = 2  # the first process, and the shell that became the command
_NICER: Final = 10  # so that who watches has its turn beside a command with many processes


class Bubblewrap:
    """A sandbox for each command.

    Args:
        program: the `bwrap` to use.
    """

    def __init__(self, program: Path) -> None:
        self._program = program

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"bubblewrap ({self._program})"

    def run(self, job: Job) -> Outcome:
        """Runs a command to its end; nothing of it is left then."""
        with ExitStack() as stack:
            try:
                return self._run(job, stack)
            except OSError as error:
                raise SandboxError(f"sandbox: {error}; nothing was run to its end") from error

    def _run(self, job: Job, stack: ExitStack) -> Outcome:
        limits = job.limits
        pipes = stack.enter_context(_Pipes())
        stdout, stderr, results, begun, info, block = (pipes.new() for _ in range(6))
        os.set_blocking(begun[1], False)  # nobody empties it for a command that writes there
        captures = [Capture(pipe[0], limits.output_bytes) for pipe in (stdout, stderr, results)]
        stdin = stack.enter_context(_sealed(job.stdin))
        passed = [stdin, results[1], begun[1], info[1], block[0]]
        options = _options(job, results[1])
        options += ["--info-fd", str(info[1]), "--block-fd", str(block[0])]
        for place, content in _ETC.items():
            passed.append(stack.enter_context(_sealed(content)))
            options += ["--ro-bind-data", str(passed[-1]), place]
        if (rules := seccomp_filter()) is not None:
            passed.append(stack.enter_context(_sealed(rules)))
            options += ["--seccomp", str(passed[-1])]
        options += ["--remount-ro", "/"]
        words = b"".join(os.fsencode(option) + b"\0" for option in options)
        passed.append(stack.enter_context(_sealed(words)))
        inner = [f"/dev/fd/{begun[1]}", f"/dev/fd/{stdin}", job.folder, *job.argv]
        process = subprocess.Popen(
            [self._program, "--args", str(passed[-1]), "--", "/bin/sh", "-c", _BEGIN, "sh", *inner],
            stdin=stack.enter_context(_sealed(archive(job.files))),
            stdout=stdout[1],
            stderr=stderr[1],
            pass_fds=passed,
            env={},
            cwd="/",
        )
        watched = None
        try:
            for end in (stdout[1], stderr[1], results[1], begun[1], info[1], block[0]):
                pipes.close(end)
            first = _first_process(info[0])
            if first is not None:
                with _handle(first) as handle:
                    _limit(first, limits)
                    os.write(block[1], b"x")
                    watched = _watch(first, handle, begun[0], captures, limits)
        finally:
            if watched is None:
                os.kill(process.pid, signal.SIGKILL)  # it may still wait for us
            status, used_s = _reap(process)
        out, err, said = (capture.finish() for capture in captures)
        if watched is None:
            reason = err.text.decode(errors="replace").strip() or "it said nothing"
            raise SandboxError(f"sandbox: could not be made: {reason}")
        why, seen_s = watched
        cpu_s = max(seen_s, used_s)
        if why is None and cpu_s > limits.cpu_s:
            why = "cpu"
        return Outcome(why or "exit", None if why else status, cpu_s, out, err, said)


class _Pipes:
    """Pipes of one run; what is still open of them is closed with the block."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __enter__(self) -> _Pipes:
        return self

    def __exit__(self, *_: object) -> None:
        for end in list(self._open):
            self.close(end)

    def new(self) -> tuple[int, int]:
        """The ends for reading and for writing."""
        ends = os.pipe()
        self._open.update(ends)
        return ends

    def close(self, end: int) -> None:
        """Closes one end."""
        self._open.discard(end)
        os.close(end)


def _options(job: Job, results: int) -> list[str]:
    limits = job.limits
    options = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
    options += ["--unshare-uts", "--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL"]
    options += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
    options += ["--die-with-parent", "--new-session", "--clearenv"]
    for place in _SYSTEM:
        if os.path.islink(place):
            options += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            options += ["--ro-bind", place, place]
    for place in _OPTIONAL:
        options += ["--ro-bind-try", place, place]
    options += ["--proc", "/proc", "--dev", "/dev"]
    options += ["--size", str(_SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    for place in (WORK, "/tmp"):
        options += ["--size", str(limits.disk_bytes), "--tmpfs", place]
    for place, source in job.mounts.items():
        options += ["--ro-bind", source, place]
    environment = {**ENVIRONMENT, RESULTS: f"/dev/fd/{results}", **job.environment}
    for name, value in environment.items():
        options += ["--setenv", name, value]
    return [*options, "--chdir", WORK]


@contextmanager
def _sealed(content: bytes) -> Iterator[int]:
    """A file in memory that nobody can change, open at its start."""
    descriptor = os.memfd_create("codeflow", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)


def _first_process(info: int) -> int | None:
    """The first process of the namespace, as bubblewrap tells it; None when it gave up."""
    text = b""
    until = time.monotonic() + _START_S
    while select.select([info], [], [], max(0.0, until - time.monotonic()))[0]:
        data = os.read(info, 4096)
        if not data:
            return None
        text += data
        with contextlib.suppress(ValueError, KeyError):
            return int(json.loads(text)["child-pid"])
    raise SandboxError(f"sandbox: not made within {_START_S:.0f} s; this machine is too busy")


@contextmanager
def _handle(process: int) -> Iterator[int]:
    """A descriptor that means this process and never another of its number."""
    handle = os.pidfd_open(process)
    try:
        yield handle
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [])  # all of its namespace has ended then
        os.close(handle)


def _limit(process: int, limits: Limits) -> None:
    """Sets what the kernel counts by itself, for one process that hands it down to all."""
    wanted = {
        resource.RLIMIT_AS: limits.address_bytes,
        resource.RLIMIT_CPU: int(limits.cpu_s) + 2,
        resource.RLIMIT_FSIZE: limits.disk_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_NPROC: limits.processes + 8,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in wanted.items():
        if value is not None:
            _, hard = resource.prlimit(process, kind)
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.prlimit(process, kind, (most, most))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, _NICER)
        Path(f"/proc/{process}/oom_score_adj").write_text("1000")


def _watch(
    first: int, handle: int, begun: int, captures: list[Capture], limits: Limits
) -> tuple[End | None, float] | None:
    """Reads what is written until all has ended, or has to: why, and the CPU seconds seen.

    None where it ended before the command began. Until then the root of the first process is this
    machine's, and there is nothing to be looked at.
    """
    watched = _Watched(Namespace(first), limits)
    poll = select.poll()
    by_number = {capture.fileno(): capture for capture in captures}
    for number in (handle, begun, *by_number):
        poll.register(number, select.POLLIN)
    started = time.monotonic()
    looked: float | None = None
    while True:
        left_s = _LOOK_S if looked is None else looked + _LOOK_S - time.monotonic()
        for number, _ in poll.poll(max(0.0, 1000 * left_s)):
            if number == handle:
                if looked is None and not os.read(begun, 1):
                    return None
                return None, watched.cpu_s
            if number == begun:
                looked = time.monotonic() if os.read(begun, 1) else None
                poll.unregister(begun)
            elif not by_number[number].read():
                poll.unregister(number)  # its end
        now = time.monotonic()
        if looked is not None and now - looked >= _LOOK_S:
            if (end := watched.look(now - looked)) is not None:
                return end, watched.cpu_s
            looked = now
        if now - started > limits.wall_s:
            raise SandboxError(
                f"sandbox: not at an end after {limits.wall_s:.0f} s, of which it had "
                f"{watched.cpu_s:.0f} s of a processor; this machine is too busy"
            )


class _Watched:
    """What a command has taken so far, and which limit it went over."""

    def __init__(self, namespace: Namespace, limits: Limits) -> None:
        self._namespace, self._limits = namespace, limits
        self.cpu_s = 0.0
        self._asleep_s = 0.0

    def look(self, passed_s: float) -> End | None:
        """The limit that it is over now, with the time since the last look."""
        limits = self._limits
        if self._namespace.processes() > limits.processes + _OURS:
            return "processes"  # before more is read of each, while they multiply
        usage = self._namespace.look()
        if usage is None:
            return None
        if not usage.busy and usage.cpu_s <= self.cpu_s:
            self._asleep_s += min(passed_s, _LONGEST_LOOK_S)
        self.cpu_s = max(self.cpu_s, usage.cpu_s)
        if self.cpu_s > limits.cpu_s:
            return "cpu"
        if self._asleep_s > limits.asleep_s:
            return "asleep"
        if usage.tasks > limits.processes + _OURS:
            return "processes"
        if (
            usage.resident_bytes > limits.memory_bytes
            and self._namespace.proportional_bytes() > limits.memory_bytes
        ):
            return "memory"
        if self._namespace.files(WORK) + self._namespace.files("/tmp") > limits.files:
            return "files"
        return None


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """Waits for bubblewrap; its exit status, and the CPU seconds of all below it."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    code = process.returncode
    return (code if code >= 0 else 128 - code), usage.ru_utime + usage.ru_stime
