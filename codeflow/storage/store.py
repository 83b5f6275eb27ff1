"""A prefix of any filesystem that fsspec knows, and the errors of its library in one line each.

How to get to a store (endpoint, credentials) is known to fsspec and the store's library, from the
environment and their configuration files. No URL is shown with its user information or its query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from codeflow.errors import CodeflowError, UsageError


def is_url(text: str) -> bool:
    """Whether it is for here, as `s3://bucket/prefix`, and not a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) is not None


def shown(url: str) -> str:
    """A URL without its user information and its query: either may hold a key."""
    return re.sub(r"(://)[^/]*@", r"\1", url.partition("?")[0])


class Store:
    """A prefix of an fsspec filesystem. Paths are relative to it."""

    def __init__(self, filesystem: Any, prefix: str) -> None:
        self._fs = filesystem
        self._prefix = prefix.rstrip("/")

    def _at(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    def found(self) -> Mapping[str, int]:
        """What is there, with sizes in bytes."""
        self._fs.invalidate_cache()
        try:
            listing = self._fs.find(self._prefix, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._prefix.lstrip("/")) + 1
        names = {name.lstrip("/")[start:]: info["size"] for name, info in listing.items()}
        return {name: size for name, size in names.items() if name}

    def read(self, path: str) -> bytes:
        data: bytes = self._fs.cat_file(self._at(path))
        return data

    def put(self, local: Path, path: str) -> None:
        self._fs.put_file(str(local), self._at(path))

    def get(self, path: str, local: Path) -> None:
        self._fs.get_file(self._at(path), str(local))

    def remove(self, path: str) -> None:
        self._fs.rm_file(self._at(path))

    def checksum(self, path: str) -> str:
        """The store's own: it changes when the content does, and says nothing more."""
        return str(self._fs.checksum(self._at(path)))


@contextmanager
def store(url: str) -> Iterator[Store]:
    """The store behind a URL; whatever its library raises becomes one line."""
    import fsspec

    protocol = fsspec.core.split_protocol(url)[0]
    options = {"auto_mkdir": True} if protocol in ("file", "local") else {}
    try:
        filesystem, prefix = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise UsageError(f"{shown(url)}: {_line(error, url)}; pip install it") from None
    except Exception as error:  # somebody else's code: anything may come
        raise UsageError(f"{shown(url)}: {_line(error, url)}") from None
    try:
        yield Store(filesystem, prefix)
    except CodeflowError:
        raise
    except Exception as error:
        raise CodeflowError(
            f"{shown(url)}: {type(error).__name__}: {_line(error, url)}; "
            "the same command goes on from here"
        ) from None


def _line(error: Exception, url: str) -> str:
    """What an error says, in a line, without the user information of the URL."""
    text = str(error).strip() or type(error).__name__
    if secret := re.search(r"://([^/]*)@", url):
        password = secret[1].partition(":")[2]
        for part in (secret[1], password, unquote(password)):
            text = text.replace(part, "***") if part else text
    return text.splitlines()[0][:300]
