"""The manifest: what a dataset folder holds, with a checksum of every file and of itself.

`manifest.json` is written in one canonical form and carries the SHA-256 of that form without the
checksum, so that a change of any byte of it shows as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Final, NamedTuple

from codeflow.errors import DataError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import files
from codeflow.storage.damage import damaged, mends, reading
from codeflow.storage.layout import CARD, MANIFEST, MINED, MINED_INDEX, TABLES

_READABLE: Final = (2, SCHEMA_VERSION)
"""Schema versions that are read; before 3 there were no steps."""
_KINDS: Mapping[str, type] = {
    "config": dict,
    "files": list,
    "publish_hash": str,
    "repositories": list,
    "stages": list,
    "triples": dict,
}


class ListedFile(NamedTuple):
    """One published file: `path` relative to the folder; `rows` only for tables."""

    path: str
    rows: int | None
    bytes: int
    sha256: str


class Fault(NamedTuple):
    """A published file, and what is wrong with it."""

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def seal(values: Mapping[str, Any]) -> bytes:
    """The bytes of `manifest.json` for these values, with the checksum of itself added."""
    plain = {key: value for key, value in values.items() if key != "sha256"}
    digest = hashlib.sha256(_text(plain)).hexdigest()
    return _text({**plain, "sha256": digest})


def is_sealed(data: bytes) -> bool:
    """Whether these bytes are exactly what `seal` wrote."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and seal(values) == data


def read(folder: Path) -> dict[str, Any]:
    """The values of a folder's manifest.

    Raises:
        DataError: there is none, it cannot be read, or it is of another schema version.
    """
    path = folder / MANIFEST
    values = files.read_json(path)
    if values is None:
        mined = (folder / MINED_INDEX).is_file()
        what = mends(folder) if mined else "give the folder that `codeflow mine` wrote"
        raise DataError(f"{folder}: not a dataset (no {MANIFEST}); {what}")
    for key, kind in _KINDS.items():
        if key in values and not isinstance(values[key], kind):
            raise damaged(path, f"its {key!r} is not what codeflow writes")
    for key in ("files", "stages", "repositories"):
        if not all(isinstance(row, dict) for row in values.get(key, ())):
            raise damaged(path, f"its {key!r} are not what codeflow writes")
    version = values.get("schema_version")
    if version not in _READABLE:
        raise DataError(
            f"{path}: schema version {version!r}, this codeflow reads {SCHEMA_VERSION}; "
            "mine again, or read it with the version of codeflow that wrote it"
        )
    return values


def sealed(folder: Path) -> tuple[dict[str, Any] | None, Fault | None]:
    """The values of a manifest that is as it was written, of any version; else what is wrong with
    it, or neither where there is none. Raises CodeflowError where this process may not read it."""
    path = folder / MANIFEST
    with reading(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None, None
        except IsADirectoryError:
            return None, Fault(path, "is a folder")
    if not is_sealed(data):
        return None, Fault(path, "is damaged")
    values: dict[str, Any] = json.loads(data)
    return values, None


def listed_files(values: Mapping[str, Any], where: object) -> list[ListedFile]:
    """The manifest's `files`. Raises DataError when they are not what they should be."""
    try:
        return [
            ListedFile(str(f["path"]), f.get("rows"), int(f["bytes"]), str(f["sha256"]))
            for f in values["files"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: broken list of files in {MANIFEST}: {error!r}; `codeflow publish` makes it "
            "again"
        ) from None


def faults(folder: Path, values: Mapping[str, Any], hashed: bool = False) -> list[Fault]:
    """What is wrong with the files that a manifest lists.

    Found by their sizes; with `hashed` by all their bytes, and what is not listed is found, too.
    The card is people's to edit: only `hashed` minds.
    """
    found = []
    listed = listed_files(values, folder)
    for file in listed:
        path = folder / file.path
        own = file.path == CARD and not hashed and path.is_file()
        fault = None if own else files.fault(path, file.bytes)
        if fault is None and hashed and files.sha256(path) != file.sha256:
            fault = "has other bytes than the manifest says"
        if fault is not None:
            found.append(Fault(path, fault))
    names = {file.path for file in listed}
    for table in TABLES if hashed else ():
        for path in sorted((folder / table).glob("**/*")):
            if path.relative_to(folder).as_posix() not in names:
                found.append(Fault(path, "is not in the manifest"))
    return found


def remove_unlisted(out: Path, listed: Set[str]) -> None:
    """What a killed worker, or a run that was cleared half, left beside the published files."""
    for table in TABLES:
        for path in (out / table).glob("*"):
            if path.relative_to(out).as_posix() not in listed:
                files.remove(path)
    for path in (out / MINED).glob(f"**/*{files.TEMPORARY}"):
        path.unlink()


def _text(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
