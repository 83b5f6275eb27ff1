"""Partial clones: which blobs one may lack, by what its configuration says of itself.

`git clone --filter=blob:limit=N` leaves out blobs of N bytes and more. Files over
`projection.max_file_bytes` are left out of every snapshot in any case, so a clone without them is
as good as a whole one, and is what codeflow makes. Other filters leave out what is needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.format import Settings, settings_of

_FALSE: Final = ("false", "no", "off", "0")
_LIMIT: Final = re.compile(r"blob:limit=(\d+)([kmg]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def filter_for(max_file_bytes: int) -> str:
    """The filter under which every file of a snapshot comes along."""
    return f"--filter=blob:limit={max_file_bytes + 1}"


def absent_from(settings: Settings) -> int | None:
    """The size in bytes from which on a blob may be missing; None where none may.

    Raises:
        RepositoryError: `partial`, it is a partial clone by another filter.
    """
    values = dict(settings)
    remotes = {
        key.removeprefix("remote.").removesuffix(".promisor")
        for key, value in values.items()
        if key.startswith("remote.")
        and key.endswith(".promisor")
        and (value is None or value.lower() not in _FALSE)
    }
    if "extensions.partialclone" in values:
        remotes.add(values["extensions.partialclone"] or "")
    limits = [_limit(values.get(f"remote.{name}.partialclonefilter")) for name in remotes]
    return min(limits, default=None)


def absent_in(git_dir: Path) -> int | None:
    """As `absent_from`, of a repository that preflight has passed; costs nothing for a whole one.

    A server that knows no filters sends everything, without the mark that git leaves beside a pack
    that lacks something.
    """
    config = git_dir / "config"
    if not any((git_dir / "objects/pack").glob("*.promisor")) or not config.exists():
        return None
    return absent_from(settings_of(config))


def _limit(filter: str | None) -> int:
    found = _LIMIT.fullmatch(filter or "")
    if found is None:
        reason = "it is a partial clone and lacks files; clone it again without --filter"
        raise RepositoryError("partial", reason)
    return int(found[1]) * _UNITS[found[2].lower()]


def require_files(absent: int | None, max_file_bytes: int) -> None:
    """Refuses a clone that may lack a file of a snapshot.

    Raises:
        RepositoryError: `partial`.
    """
    if absent is not None and absent <= max_file_bytes:
        raise RepositoryError(
            "partial",
            f"it is a partial clone and lacks files from {absent:,} bytes on, where "
            f"projection.max_file_bytes is {max_file_bytes:,}; clone it again with "
            f"{filter_for(max_file_bytes)} or without",
        )
