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
MINED_INDEX = f"{WORK}/mined.json"
SUMMARY = f"{WORK}/summary.json"
_OWN = ("mined", "decisions", "triples", "blobs", "trees", "tokens", "ledger", WORK)


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
    if fresh:
        clear(folder)
    stored = files.read_json(folder / RUN)
    if stored is None:
        strangers = sorted(p.name for p in folder.iterdir() if p.name not in _OWN)
        if strangers:
            raise UsageError(
                f"{folder}: holds other files ({', '.join(strangers[:3])}); give a new folder"
            )
        files.write_json(folder / RUN, {"config": config, "sources": list(sources)})
        return
    differing = differing_keys(stored["config"], config)
    if [source["location"] for source in stored["sources"]] != [s["location"] for s in sources] or [
        source["ref"] for source in stored["sources"]
    ] != [s["ref"] for s in sources]:
        differing.append("repos")
    if differing:
        raise UsageError(
            f"{folder}: was mined with another {', '.join(differing)}; "
            "use --fresh to mine again, or another --out"
        )


def clear(folder: Path) -> None:
    """Removes what codeflow wrote into a folder, but for the lock that is held."""
    for name in (*_OWN, "README.md", "manifest.json", "report.html"):
        path = folder / name
        if name == WORK:
            for child in path.iterdir():
                if child.name != "lock":
                    shutil.rmtree(child) if child.is_dir() else child.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
