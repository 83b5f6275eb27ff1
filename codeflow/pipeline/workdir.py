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

from codeflow.config import differing_keys
from codeflow.errors import UsageError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import files

WORK = ".work"
RUN = f"{WORK}/run.json"
OPENED = f"{WORK}/opened.json"
SUMMARY = f"{WORK}/summary.json"
_OWN = ("mined", "decisions", "triples", "blobs", "trees", "tokens", "ledger")


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds the folder for this run.

    Args:
        wait: until another run leaves it, if there is one.

    Raises:
        UsageError: another run is in it, or it cannot be written to.
    """
    try:
        (folder / WORK).mkdir(parents=True, exist_ok=True)
        opened = (folder / WORK / "lock").open("w")
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}; give a folder that can be written to"
        ) from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
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
    stored = files.read_json(folder / RUN)
    if stored is None:  # not a run's, whatever it is: --fresh must not clear it
        strangers = sorted(p.name for p in folder.iterdir() if p.name != WORK)
        if strangers:
            raise UsageError(
                f"{folder}: holds other files ({', '.join(strangers[:3])}); give a new folder"
            )
    elif fresh:
        clear(folder)
    if stored is None or fresh:
        run = {"schema_version": SCHEMA_VERSION, "config": config, "sources": list(sources)}
        files.write_json(folder / RUN, run)
        return
    require_schema(folder, stored)
    differing = differing_keys(stored["config"], config)
    if _targets(stored["sources"]) != _targets(sources):
        differing.append("repos")
    if differing:
        raise UsageError(
            f"{folder}: was mined with another {', '.join(differing)}; "
            "use --fresh to mine again, or another --out"
        )
    if stored["sources"] != list(sources):  # the same lines in other places
        files.write_json(folder / RUN, {**stored, "sources": list(sources)})


def require_schema(folder: Path, stored: Mapping[str, Any]) -> None:
    """Refuses what a codeflow with other tables left: nothing of it can be gone on with."""
    version = stored.get("schema_version", 1)
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{folder}: was mined with schema version {version}, this codeflow has "
            f"{SCHEMA_VERSION}; use --fresh to mine again, or the version that mined it"
        )


def _targets(sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """What the sources are; the order of the list changes nothing that is published."""
    return sorted((source["location"], source["ref"] or "", source["name"]) for source in sources)


def lines_of(folder: Path) -> dict[str, tuple[int, str]]:
    """By `repo`, the number of its line in the list, and the line without comment and credentials.

    For people only: lines hold paths of this machine, and what is published does not.
    """
    stored = files.read_json(folder / RUN) or {"sources": ()}
    return {s["repo"]: (s["line"], s["spec"]) for s in stored["sources"]}


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
