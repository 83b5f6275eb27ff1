"""Runs the `git` command line so that nothing of a repository or of the user leaks in or out.

git is only ever started on folders that codeflow made itself: clones in the cache, and the stand-in
of `codeflow_miners.acquire.refs` for everything else. So no configuration, hook, attribute or
program of a mined repository takes part. Of the environment only what is not git's own is kept, and
the one configuration file is `isolated.gitconfig`. Needs git 2.36 or newer. Costs a process, 2-3
ms.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from codeflow.errors import LimitExceededError, RepositoryError, UsageError

PROTOCOLS: Final = "https:ssh:git:file"
_CONFIG: Final = Path(__file__).with_name("isolated.gitconfig")
# where git is installed, and how the user reaches hosts: not settings of a repository
_KEPT: Final = ("GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSH_COMMAND")
# what git says last is often advice; the cause stands before it
_NOISE = re.compile(
    r"hint:|warning:|please make sure|and the repository exists|could not read from remote|\s*$",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=://)[^/@\s']*@")


_NOT_FOUND: Final = 127  # what a shell says; git itself never does
# Runs "$0" "$@" beside a watcher that waits for the end of our standard input, a pipe whose other
# end only codeflow's process has. That end closes with the process, even with one that is killed,
# and takes the whole group along.
_LEASH: Final = """\
exec 3<&0
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
"$0" "$@" </dev/null 3<&-
"""


class GitFailedError(RepositoryError):
    """git exited with an error. `stderr` is all it said, with credentials taken out."""

    def __init__(self, rule: str, reason: str, stderr: str = "") -> None:
        super().__init__(rule, reason)
        self.stderr = stderr


def run_git(
    args: Sequence[str],
    *,
    git_dir: Path | None = None,
    timeout_s: float = 60.0,
    input: bytes | None = None,
    settings: Iterable[tuple[str, str]] = (),
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    leashed: bool = False,
) -> bytes:
    """Runs git in isolation and returns what it printed.

    Args:
        git_dir: a folder that codeflow made; None for commands that need no repository.
        settings: configuration for this command, handed over outside the argument list, where
            other users of the machine cannot read it.
        env: more environment variables.
        pass_fds: descriptors that stay open in git, so that a lock lives as long as it does.
        leashed: git must die with this process, however that ends. For commands that may take
            long; costs a shell.

    Raises:
        GitFailedError: rule `git`, with the last line that says something.
        LimitExceededError: rule `timeout`; git and everything it started have been killed.
        UsageError: there is no git.
    """
    command = ["git", *([f"--git-dir={git_dir}"] if git_dir else []), *args]
    assert input is None or not leashed
    with contextlib.ExitStack() as stack:
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        if leashed:
            command = ["sh", "-c", _LEASH, *command]
            stdin, held = os.pipe()
            stack.callback(os.close, held)
            stack.callback(os.close, stdin)
        try:
            process = subprocess.Popen(
                command,
                cwd="/",  # a repository around the current folder must not be found
                env={**_environment(settings), **(env or {})},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # no terminal to ask on, and one group to kill
                pass_fds=pass_fds,
            )
        except FileNotFoundError:
            raise UsageError("git: command not found; install git 2.36 or newer") from None
        return _finish(process, args, input, timeout_s)


def _finish(
    process: subprocess.Popen[bytes], args: Sequence[str], input: bytes | None, timeout_s: float
) -> bytes:
    with process:
        try:
            output, errors = process.communicate(input, timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            reason = f"git {args[0]} took longer than {timeout_s:g} s"
            raise LimitExceededError("timeout", reason, deterministic=False) from None
        except BaseException:
            _kill_group(process)
            raise
    if process.returncode == _NOT_FOUND:
        raise UsageError("git: command not found; install git 2.36 or newer")
    if process.returncode:
        stderr = _USERINFO.sub("", errors.decode("utf-8", "replace"))
        reason = last_words(stderr) or f"git {args[0]} failed with status {process.returncode}"
        raise GitFailedError("git", reason, stderr)
    return output


def last_words(stderr: str) -> str:
    """The last line of git's complaint that names a cause, without its prefix."""
    lines = [line.strip() for line in stderr.splitlines() if not _NOISE.match(_bare(line))]
    return _bare(lines[-1]) if lines else ""


def _bare(line: str) -> str:
    return re.sub(r"^(?:\s*(?:fatal|error|remote|ERROR):)+\s*", "", line).strip()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in _KEPT}
    ssh = env.pop("GIT_SSH_COMMAND", "ssh")
    env |= {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.fspath(_CONFIG),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "false",
        "SSH_ASKPASS": "false",
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        "GIT_SSH_COMMAND": f"{ssh} -oBatchMode=yes -oControlMaster=no",
    }
    pairs = list(settings)
    env["GIT_CONFIG_COUNT"] = str(len(pairs))
    for i, (key, value) in enumerate(pairs):
        env[f"GIT_CONFIG_KEY_{i}"] = key
        env[f"GIT_CONFIG_VALUE_{i}"] = value
    return env
