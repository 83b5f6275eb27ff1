"""What is at a URL, and every request that changes it: for tests of output to object stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest

from codeflow.storage import layout
from codeflow.storage.store import Store

SECRET = "s3cr3t-of-the-test"


def store_of(url: str) -> dict[str, bytes]:
    """All that is at a URL, read by nobody but fsspec."""
    filesystem, prefix = fsspec.core.url_to_fs(url)
    filesystem.invalidate_cache()
    paths = filesystem.find(prefix) if filesystem.exists(prefix) else []
    length = len(prefix.strip("/")) + 1
    return {path.strip("/")[length:]: filesystem.cat_file(path) for path in paths}


def published(folder: Path) -> dict[str, bytes]:
    """The files of a dataset folder that are its own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and layout.WORK not in path.parts
    }


def is_whole(at: dict[str, bytes]) -> bool:
    """What a reader may rely on: no manifest, or all that it lists and no other shard."""
    if layout.MANIFEST not in at:
        return True
    listed = {line["path"]: line["sha256"] for line in json.loads(at[layout.MANIFEST])["files"]}
    shards = {path for path in at if path.endswith(".parquet")}
    return listed.keys() == shards and all(
        hashlib.sha256(at[path]).hexdigest() == digest for path, digest in listed.items()
    )


class Request(NamedTuple):
    action: str
    path: str


def watch(monkeypatch: pytest.MonkeyPatch, before: Callable[[Request], None]) -> list[Request]:
    """Every request that changes the store, after `before` has seen it."""
    seen: list[Request] = []
    for action in ("put", "remove"):
        plain = getattr(Store, action)

        def watched(self: Store, *arguments: Any, plain: Any = plain, action: str = action) -> None:
            request = Request(action, arguments[-1])
            before(request)
            seen.append(request)
            plain(self, *arguments)

        monkeypatch.setattr(Store, action, watched)
    return seen
