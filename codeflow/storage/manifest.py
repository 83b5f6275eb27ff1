"""The manifest: what a dataset folder holds, with a checksum of every file and of itself.

`manifest.json` is written in one canonical form and carries the SHA-256 of that form without the
checksum, so that a change of any byte of it shows as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from codeflow.errors import DataError
from codeflow.records import SCHEMA_VERSION

NAME = "manifest.json"


class ListedFile(NamedTuple):
    """One published file: `path` relative to the folder; `rows` only for tables."""

    path: str
    rows: int | None
    bytes: int
    sha256: str


def seal(values: Mapping[str, Any]) -> bytes:
    """The bytes of `manifest.json` for these values, with the checksum of itself added."""
    plain = {key: value for key, value in values.items() if key != "sha256"}
    digest = hashlib.sha256(_text(plain)).hexdigest()
    return _text({**plain, "sha256": digest})


def is_sealed(data: bytes) -> bool:
    """Whether these bytes are exactly what `seal` wrote."""
    try:
        values = json.loads(data)
    except ValueError:
        return False
    return isinstance(values, dict) and seal(values) == data


def read(folder: Path) -> dict[str, Any]:
    """The values of a folder's manifest.

    Raises:
        DataError: there is none, it cannot be read, or it is of another schema version.
    """
    path = folder / NAME
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{folder}: not a dataset (no {NAME}); give the folder that `codeflow mine` wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version!r}, this codeflow reads {SCHEMA_VERSION}; "
            "mine again, or read it with the version of codeflow that wrote it"
        )
    assert isinstance(values, dict)
    return values


def listed_files(values: Mapping[str, Any], where: object) -> list[ListedFile]:
    """The manifest's `files`. Raises DataError when they are not what they should be."""
    try:
        return [
            ListedFile(str(f["path"]), f.get("rows"), int(f["bytes"]), str(f["sha256"]))
            for f in values["files"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: broken list of files in {NAME}: {error!r}") from None


def _text(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
