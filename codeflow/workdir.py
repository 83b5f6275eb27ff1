"""The state of a run in its folder: the lock, what was asked for, and what is already known.

`.work/run.json` holds the configuration and the list that the folder was started with. The same
again goes on where it stopped; anything else is refused by name, because a folder holds one
answer to one question.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeflow import files
from codeflow.config import differing_keys
from codeflow.errors import UsageError

WORK = ".work"
RUN = f"{WORK}/run.json"
OPENED = f"{WORK}/opened.json"
SUMMARY = f"{WORK}/summary.json"
_OWN = ("mined", "decisions", "triples", "blobs", "trees", "tokens", "ledger")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this run. Raises UsageError when another run is in it."""
    try:
        (folder / WORK).mkdir(parents=True, exist_ok=True)
        opened = (folder / WORK / "lock").open("w")
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}; give a folder that can be written to"
        ) from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{folder}: another run is at work in this folder; wait for it or stop it"
            ) from None
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def begin(
    folder: Path, config: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], fresh: bool
) -> None:
    """Starts or resumes: afterwards the folder belongs to this configuration and list.

    Raises:
        UsageError: the folder holds a run of another configuration or list, or other files.
    """
    stored = require_ours(folder, config, sources, fresh)
    if stored is not None and fresh:
        clear(folder)
    if stored is None or fresh:
        files.write_json(folder / RUN, {"config": config, "sources": list(sources)})


def require_ours(
    folder: Path, config: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], fresh: bool
) -> Mapping[str, Any] | None:
    """What the folder was started with; None of a new one. Writes nothing. Raises as `begin`."""
    stored: Mapping[str, Any] | None = files.read_json(folder / RUN)
    if stored is None:  # not a run's, whatever it is: --fresh must not clear it
        there = folder.iterdir() if folder.exists() else ()
        strangers = sorted(p.name for p in there if p.name != WORK)
        if strangers:
            raise UsageError(
                f"{folder}: holds other files ({', '.join(strangers[:3])}); give a new folder"
            )
    elif not fresh:
        differing = differing_keys(stored["config"], config)
        if _targets(stored["sources"]) != _targets(sources):
            differing.append("repos")
        if differing:
            raise UsageError(
                f"{folder}: was mined with another {', '.join(differing)}; "
                "use --fresh to mine again, or another --out"
            )
    return stored


def _targets(sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the sources are; the order of the list changes nothing that is published."""
    return sorted((source["location"], source["ref"] or "") for source in sources)


def clear(folder: Path) -> None:
    """Removes what codeflow wrote into a folder, but for `.work/run.json` and the lock.

    The manifest goes first, so that a folder half cleared is not taken for a dataset, then the
    markers, so that no unit counts as done whose files are gone. The mark that the folder is ours
    stays, so that the same command may clear it again.
    """
    _remove(folder / "manifest.json")
    for child in (folder / WORK).iterdir():
        if child.name not in ("lock", Path(RUN).name):
            _remove(child)
    for name in ("README.md", "report.html", *_OWN):
        _remove(folder / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Temporary files of a run that was killed."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(files.TEMPORARY):
                (Path(place) / name).unlink(missing_ok=True)
