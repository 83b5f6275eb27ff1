"""Environments by `uv`: requirements as of a date, resolved to a lock with hashes, wheels alone.

Nothing of a package runs on this machine: only wheels are taken, which are unpacked. An environment
is known by what it holds, so that tasks share it, and once it is there no index is asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from codeflow.errors import DataError, UsageError
from codeflow.storage import files
from codeflow.storage.lock import locked_file
from codeflow.tasks.grading.environment import Environment

_RELEASED: Final = {  # the first release of each, by python.org
    "3.7": "2018-06",
    "3.8": "2019-10",
    "3.9": "2020-10",
    "3.10": "2021-10",
    "3.11": "2022-10",
    "3.12": "2023-10",
    "3.13": "2024-10",
    "3.14": "2025-10",
}
_SETTLED: Final = timedelta(days=120)  # until wheels for a new interpreter are there
_DESCRIPTION: Final = "environment.json"
_LOCK: Final = "requirements.txt"


class ResolutionError(Exception):
    """Requirements that cannot be met; one line."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine: its version (3.12), its program, and the folder that it is in."""

    version: str
    program: str
    prefix: str


@cache
def uv_program() -> str:
    """The `uv` of the extra, or the system's. Raises UsageError when there is none."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise UsageError(
                "environments of tasks are made by uv: pip install 'codeflow-kit[tasks]'"
            ) from None
        return found


@cache
def interpreters() -> tuple[Interpreter, ...]:
    """The CPythons of this machine that can run tests, oldest first, one of each version.

    This one, those of pyenv, which hides them, and those that uv finds: its own, on the path.
    """
    words = [uv_program(), "python", "list", "--only-installed", "--output-format", "json"]
    done = subprocess.run(words, capture_output=True, text=True)
    found: dict[str, Interpreter] = {}
    own = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    _keep(found, platform.python_version(), own.resolve())
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    for program in sorted(root.glob("versions/*/bin/python3")):
        _keep(found, program.parents[1].name, program.resolve())
    for entry in json.loads(done.stdout or "[]"):
        if entry.get("implementation") == "cpython":
            _keep(found, entry["version"], Path(entry["path"]).resolve())
    return tuple(found[version] for version in _RELEASED if version in found)


def _keep(found: dict[str, Interpreter], full: str, program: Path) -> None:
    version = ".".join(full.split(".")[:2])
    usual = re.fullmatch(r"[\d.]+", full) and program.parent.name == "bin"  # no shim
    if version in _RELEASED and usual and program.is_file():
        found.setdefault(version, Interpreter(version, str(program), str(program.parents[1])))


def interpreter_of(date: datetime, versions: Sequence[Interpreter]) -> Interpreter:
    """The newest that was settled at a date; the oldest, where all are newer."""
    settled = [i for i in versions if _released(i.version) + _SETTLED <= date]
    return (settled or versions[:1])[-1]


def _released(version: str) -> datetime:
    return datetime.strptime(_RELEASED[version], "%Y-%m").replace(tzinfo=UTC)


def resolve(requirements: Sequence[str], interpreter: Interpreter, until: datetime | None) -> str:
    """A lock with hashes. Raises ResolutionError: the last line of what uv says."""
    words = ["pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
    words += ["--only-binary", ":all:", "--python", interpreter.program, "--no-config"]
    if until is not None:
        words += ["--exclude-newer", until.strftime("%Y-%m-%dT%H:%M:%SZ")]
    return _uv(words, "\n".join(requirements))


def build(folder: Path, lock: str, interpreter: Interpreter) -> Environment:
    """The environment of a lock, in a folder of environments; made where it is not there yet."""
    digest = hashlib.sha256(f"{interpreter.version}\n{lock}".encode()).hexdigest()[:16]
    key = f"py{interpreter.version}-{digest}"
    place = folder / key
    with locked_file(folder / f".{key}.lock", wait=True):
        if not (place / _DESCRIPTION).exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            (place / _LOCK).write_text(lock, encoding="utf-8")
            (place / "site").mkdir()
            words = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--no-config"]
            words += ["--only-binary", ":all:", "--target", str(place / "site")]
            words += ["--python", interpreter.program, "--requirements", str(place / _LOCK)]
            if lock.strip():
                _uv(words, "")
            files.write_json(place / _DESCRIPTION, {"key": key, "python": interpreter.version})
    return Environment(key, interpreter.program, str(place / "site"), interpreter.prefix)


def find(folder: Path, key: str) -> Environment:
    """An environment that was made before, maybe on another machine.

    Raises:
        DataError: it is not there. UsageError: this machine lacks its interpreter.
    """
    values = files.read_json(folder / key / _DESCRIPTION)
    if values is None:
        raise DataError(f"{folder / key}: no such environment; `codeflow tasks make` builds it")
    version = values.get("python")
    chosen = next((i for i in interpreters() if i.version == version), None)
    if chosen is None:
        raise UsageError(f"{key} needs Python {version}; install it: uv python install {version}")
    return Environment(key, chosen.program, str(folder / key / "site"), chosen.prefix)


def _uv(words: Sequence[str], text: str) -> str:
    done = subprocess.run([uv_program(), *words], input=text, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip(" \t×╰─▶│├") for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in said if not line.startswith(("hint", "warning"))]
        raise ResolutionError(" ".join(said)[:400] or f"uv ended with {done.returncode}")
    return done.stdout
