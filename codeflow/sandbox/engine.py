"""A container engine as a sandbox, where there is one and bubblewrap cannot work.

Dearer (half a second and more a command) and coarser: an engine counts no CPU seconds over all
processes, so that the limit on them is one on each process. It goes by the same interface. The
archive of the files comes first on standard input, then the command's own input.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from contextlib import suppress
from typing import Final

from codeflow.sandbox.archive import archive
from codeflow.sandbox.capture import bounded
from codeflow.sandbox.job import (
    ENVIRONMENT,
    RESULTS,
    WORK,
    Captured,
    End,
    Job,
    Outcome,
    SandboxError,
)

ENGINES: Final = ("docker", "podman")

_MARK: Final = "--codeflow-results--"
_FAILED: Final = (125, 126)  # of the engine itself, of a command that cannot be started
# results go to a file, which follows what was written to standard output
_BEGIN: Final = (
    'head -c "$1" | tar -xf - && cd -- "$2" && n=$3 && shift 3 && "$@"; s=$?; '
    'printf "\\n%s\\n" "$n"; cat "$CODEFLOW_RESULTS" 2> /dev/null; exit $s'
)


class ContainerEngine:
    """A container for each command, which is removed with it."""

    def __init__(self, program: str, image: str) -> None:
        self._program, self._image = program, image

    @property
    def name(self) -> str:
        """What it is, for people."""
        return f"{os.path.basename(self._program)} ({self._image})"

    def argv(self, job: Job, name: str, archive_bytes: int) -> list[str]:
        """The words of the engine's command line for a job."""
        limits = job.limits
        words = [self._program, "run", "--rm", "--interactive", "--name", name]
        words += ["--network", "none", "--read-only", "--cap-drop", "ALL", "--pull", "never"]
        words += ["--security-opt", "no-new-privileges", "--user", "1000:1000", "--init"]
        words += ["--memory", str(limits.memory_bytes), "--memory-swap", str(limits.memory_bytes)]
        words += ["--pids-limit", str(limits.processes), "--hostname", "sandbox"]
        for kind, value in (
            ("cpu", int(limits.cpu_s) + 1),
            ("fsize", limits.disk_bytes),
            ("nofile", limits.open_files),
            ("core", 0),
        ):
            words += ["--ulimit", f"{kind}={value}:{value}"]
        for place in (WORK, "/tmp"):
            room = f"size={limits.disk_bytes},nr_inodes={limits.files}"
            words += ["--tmpfs", f"{place}:rw,exec,nosuid,nodev,mode=1777,{room}"]
        for place, source in job.mounts.items():
            words += ["--mount", f"type=bind,source={source},target={place},readonly"]
        environment = {**ENVIRONMENT, RESULTS: "/tmp/.results", **job.environment}
        for key, text in environment.items():
            words += ["--env", f"{key}={text}"]
        words += ["--workdir", WORK, "--entrypoint", "/bin/sh", self._image, "-c", _BEGIN, "sh"]
        return [*words, str(archive_bytes), job.folder, _MARK + name, *job.argv]

    def run(self, job: Job) -> Outcome:
        """Runs a command to its end; its container is removed then."""
        files = archive(job.files)
        name = f"codeflow-{uuid.uuid4().hex}"
        limits = job.limits
        try:
            done = subprocess.run(
                self.argv(job, name, len(files)),
                input=files + job.stdin,
                capture_output=True,
                timeout=limits.wall_s,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxError(f"sandbox: {self.name}: {error}") from error
        finally:
            self._remove(name)
        if done.returncode in _FAILED:
            why = done.stderr.decode(errors="replace").strip()
            raise SandboxError(f"sandbox: {self.name} could not run: {why}")
        out, _, said = done.stdout.partition(f"\n{_MARK}{name}\n".encode())
        end: End = "cpu" if done.returncode == 128 + 24 else "exit"  # SIGXCPU
        kept: list[Captured] = [bounded(s, limits.output_bytes) for s in (out, done.stderr, said)]
        return Outcome(end, None if end == "cpu" else done.returncode, None, *kept)

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # of an engine that is not there
            subprocess.run([self._program, "rm", "--force", name], capture_output=True)
