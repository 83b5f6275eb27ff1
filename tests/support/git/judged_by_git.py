"""What git says of a repository, and what we say: for tests that hold the two together."""

from __future__ import annotations

import subprocess
from pathlib import Path

from codeflow.errors import RepositoryError
from codeflow_miners.objects.reader import ObjectReader
from gitdag import ENV

NO_FALLBACK = {"GIT_CONFIG_COUNT": "3", "GIT_CONFIG_KEY_2": "core.multiPackIndex"}
NO_FALLBACK |= {"GIT_CONFIG_VALUE_2": "false"}


def run(repo: Path, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["git", f"--git-dir={repo}", *words]
    return subprocess.run(command, env=ENV | NO_FALLBACK, input=input, capture_output=True)


def git_has(repo: Path, oid: str) -> bool:
    return run(repo, "cat-file", "-e", oid).returncode == 0


def we_have(repo: Path, oid: str) -> bool:
    try:
        ObjectReader(repo).blob(bytes.fromhex(oid))
    except RepositoryError:
        return False
    return True
