"""What a folder was mined with, and whether another run may go on in it.

`.work/run.json` holds the configuration and the list that the folder was started with. The same
again goes on where it stopped; anything else is refused by name, because a folder holds one
answer to one question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from codeflow.config import differing_keys
from codeflow.errors import UsageError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import files, layout
from codeflow.storage.damage import reading
from codeflow.storage.shape import build, require_schema

if TYPE_CHECKING:
    from codeflow.mining.sources import Source


class Run(NamedTuple):
    """What a folder was mined with: the configuration, and the sources of its list."""

    config: Mapping[str, Any]
    sources: list[Mapping[str, Any]]
    schema_version: int = 1


def stored(folder: Path) -> Run | None:
    """What a folder was mined with; None where nothing was. Raises DataError: it is damaged."""
    values = files.read_json(folder / layout.RUN)
    if values is None:
        return None
    with reading(folder / layout.RUN, ValueError, KeyError):
        run = build(Run, values)
        _targets(run.sources)
        return run


def listed(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The sources of a list as `run.json` holds them."""
    names = ("repo", "location", "ref", "name", "line", "spec")
    return [{name: getattr(source, name) for name in names} for source in sources]


def require_ours(
    folder: Path,
    config: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    fresh: bool = False,
    update: bool = False,
) -> Run | None:
    """Looks whether a run with this configuration and list may begin or go on in a folder.

    A list may have grown; with `update` it may lack some, too.

    Raises:
        UsageError: the folder holds a run of another configuration or list, or other files.
        DataError: what it was mined with is damaged, and is not to be forgotten.
    """
    if not (folder / layout.RUN).exists():  # not a run's, whatever it is: --fresh must not clear it
        there = folder.iterdir() if folder.exists() else ()
        strangers = sorted(p.name for p in there if p.name != layout.WORK)
        if strangers and {layout.MINED, layout.DECISIONS} <= {*strangers}:
            raise UsageError(
                f"{folder / layout.RUN}: is missing, so that mining cannot go on here; give a new "
                "folder, or choose anew of what was mined, with `codeflow filter`"
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
    if differing:
        raise UsageError(
            f"{folder}: was mined with another {', '.join(differing)}; "
            "use --fresh to mine again, or another --out"
        )
    here = _targets(sources)
    gone = [source for target, source in _targets(run.sources).items() if target not in here]
    if gone and not update:
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        raise UsageError(
            f"{folder}: was mined from {gone[0]['spec']}{more}, which the list lacks; use --update "
            "to take it out, --fresh to mine again, or another --out"
        )
    return run


def begin(
    folder: Path, config: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], fresh: bool
) -> None:
    """Afterwards the folder belongs to this configuration and list; `fresh` clears it before."""
    begun = (folder / layout.RUN).exists()
    if begun and fresh:
        clear(folder)
    run = None if not begun or fresh else stored(folder)
    if run is None or run.sources != list(sources):  # the same lines may be in other places
        files.make_room(folder / layout.RUN)
        values = {"schema_version": SCHEMA_VERSION, "config": config, "sources": list(sources)}
        files.write_json(folder / layout.RUN, values)


def _targets(
    sources: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """The sources by what they are; the order of the list changes nothing that is published."""
    return {(source["location"], source["ref"] or "", source["name"]): source for source in sources}


def differs(run: Run, sources: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list has other repositories than a run had."""
    return _targets(run.sources).keys() != _targets(sources).keys()


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
    files.remove(folder / layout.MANIFEST)
    for child in (folder / layout.WORK).iterdir():
        if child not in (folder / layout.LOCK, folder / layout.RUN):
            files.remove(child)
    for name in (layout.CARD, layout.REPORT, *layout.OURS):
        files.remove(folder / name)
