"""The state of a run in its folder: the lock, what was asked for, and what is already known.

`.work/run.json` holds the configuration and the list that the folder was started with. The same
again goes on where it stopped; anything else is refused by name, because a folder holds one
answer to one question.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.config import differing_keys
from codeflow.errors import UsageError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import files
from codeflow.storage.damage import reading
from codeflow.storage.lock import locked_file
from codeflow.storage.shape import build

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
    with ExitStack() as held:
        try:
            held.enter_context(locked_file(folder / WORK / "lock", wait=wait))
        except BlockingIOError:
            raise UsageError(
                f"{folder}: another run is at work in this folder; wait for it or stop it"
            ) from None
        except OSError as error:
            where = error.filename or folder
            raise UsageError(
                f"{where}: {error.strerror}; give a folder that can be written to"
            ) from None
        yield


class Run(NamedTuple):
    """What a folder was mined with: the configuration, and the sources of its list."""

    config: Mapping[str, Any]
    sources: list[Mapping[str, Any]]
    schema_version: int = 1


def stored(folder: Path) -> Run | None:
    """What a folder was mined with; None where nothing was. Raises DataError: it is damaged."""
    values = files.read_json(folder / RUN)
    if values is None:
        return None
    with reading(folder / RUN, ValueError, KeyError):
        run = build(Run, values)
        _targets(run.sources)
        return run


def listed(sources: Sequence[Any]) -> list[dict[str, Any]]:
    """The sources of a list as `run.json` holds them."""
    names = ("repo", "location", "ref", "name", "line", "spec")
    return [{name: getattr(source, name) for name in names} for source in sources]


def require_ours(
    folder: Path, config: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], fresh: bool
) -> Run | None:
    """Looks whether a run with this configuration and list may begin or go on in a folder.

    Raises:
        UsageError: the folder holds a run of another configuration or list, or other files.
        DataError: what it was mined with is damaged, and is not to be forgotten.
    """
    if not (folder / RUN).exists():  # not a run's, whatever it is: --fresh must not clear it
        there = folder.iterdir() if folder.exists() else ()
        strangers = sorted(p.name for p in there if p.name != WORK)
        if strangers and "mined" in strangers and "decisions" in strangers:
            raise UsageError(
                f"{folder / RUN}: is missing, so that mining cannot go on here; give a new folder, "
                "or choose anew of what was mined, with `codeflow filter`"
            )
        if strangers:
            raise UsageError(
                f"{folder}: holds other files ({', '.join(strangers[:3])}); give a new folder"
            )
        return None
    if fresh:
        return Run({}, [])
    run = stored(folder)
    assert run is not None
    require_schema(folder, run.schema_version)
    differing = differing_keys(run.config, config)
    if _targets(run.sources) != _targets(sources):
        differing.append("repos")
    if differing:
        raise UsageError(
            f"{folder}: was mined with another {', '.join(differing)}; "
            "use --fresh to mine again, or another --out"
        )
    return run


def require_schema(folder: Path, version: int) -> None:
    """Refuses what a codeflow with other tables left: nothing of it can be gone on with."""
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{folder}: was mined with schema version {version}, this codeflow has "
            f"{SCHEMA_VERSION}; use --fresh to mine again, or the version that mined it"
        )


def begin(
    folder: Path, config: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], fresh: bool
) -> None:
    """Afterwards the folder belongs to this configuration and list; `fresh` clears it before."""
    begun = (folder / RUN).exists()
    if begun and fresh:
        clear(folder)
    run = None if not begun or fresh else stored(folder)
    if run is None or run.sources != list(sources):  # the same lines may be in other places
        make_room(folder / RUN)
        values = {"schema_version": SCHEMA_VERSION, "config": config, "sources": list(sources)}
        files.write_json(folder / RUN, values)


def _targets(sources: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """What the sources are; the order of the list changes nothing that is published."""
    return sorted((source["location"], source["ref"] or "", source["name"]) for source in sources)


def lines_of(folder: Path) -> dict[str, tuple[int, str]]:
    """By `repo`, the number of its line in the list, and the line without comment and credentials.

    For people only: lines hold paths of this machine, and what is published does not.
    """
    run = stored(folder)
    return {} if run is None else {s["repo"]: (s["line"], s["spec"]) for s in run.sources}


def clear(folder: Path) -> None:
    """Removes what codeflow wrote into a folder, but for `.work/run.json` and the lock.

    The manifest goes first, so that a folder half cleared is not taken for a dataset, then the
    markers, so that no unit counts as done whose files are gone. The mark that the folder is ours
    stays, so that the same command may clear it again.
    """
    remove(folder / "manifest.json")
    for child in (folder / WORK).iterdir():
        if child.name not in ("lock", Path(RUN).name):
            remove(child)
    for name in ("README.md", "report.html", *_OWN):
        remove(folder / name)


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_room(path: Path, folder: bool = False) -> None:
    """Removes a folder that lies where a file of ours belongs, or the other way round."""
    if os.path.lexists(path) and path.is_dir() != folder:
        remove(path)


def remove_leftovers(folder: Path) -> None:
    """Temporary files of a run that was killed."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(files.TEMPORARY):
                (Path(place) / name).unlink(missing_ok=True)
