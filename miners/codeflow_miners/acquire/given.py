"""What `--repos` is given: repositories, or one list of them.

One rule decides, by what is on disk and nothing else. A folder is a repository, and so is a URL,
and a path or URL with `@REF`; any other file is a list, whatever its name. What is given is looked
at before anything is written: a word that names nothing, or a folder that is no repository, is a
mistake of the one who typed it. (A line of a list is not: it gets a ledger row, and the run goes
on.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from codeflow.errors import UsageError
from codeflow_miners.acquire.repositories import Source, parse_source, read_list, settled

_HEAD_BYTES: Final = 64
_BUNDLE = re.compile(rb"# v\d+ git bundle")
_HOST_AND_PATH = re.compile(r"[\w-]+(\.[\w-]+)+/[^/]+/[^/]+/?")


def read_repos(given: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """The sources that some paths and URLs name: repositories, or one list of them.

    Raises:
        UsageError: names what is none, with what to give instead.
    """
    words = [os.fspath(word) for word in given]
    lists = [word for word in words if _is_list(word)]
    if not lists:
        return settled(_source(n, word) for n, word in enumerate(words, 1))
    if len(words) > 1:
        raise UsageError(
            f"{lists[0]}: is a list of repositories; give one list alone, or repositories alone"
        )
    return read_list(Path(lists[0]))


def _is_list(word: str) -> bool:
    """Whether this is a file that holds lines; a pipe is one, too (`<(ls -d ../*/)`)."""
    path = Path(word)
    if not path.exists() or path.is_dir():
        return False
    start = b""
    if path.is_file() and os.access(path, os.R_OK):
        with path.open("rb") as file:
            start = file.read(_HEAD_BYTES)
    if _BUNDLE.match(start):
        raise UsageError(f"{word}: is a Git bundle; give a clone of it (`git clone --mirror`)")
    return not (path.name == ".git" and start.startswith(b"gitdir: "))


def _source(number: int, word: str) -> Source:
    if not word.strip():
        raise UsageError(f"repository {number} of those given is an empty word; give a path or URL")
    path = Path(word)
    if path.name == ".git" and path.is_file():  # of a linked worktree or a submodule
        word = str(path.parent)
    source = parse_source(number, word, Path.cwd())
    if source.problem:  # said without the word: what cannot be read may hold a password
        raise UsageError(f"repository {number} of those given: {source.problem}")
    if source.is_path:
        _require_repository(Path(source.location), source.spec)
    return source


def _require_repository(folder: Path, spec: str) -> None:
    """Looks whether a folder may be a repository; whether it is whole is seen when it is opened."""
    if not folder.is_dir():
        if folder.exists():  # with a ref: a list has none
            raise UsageError(f"{spec}: {folder.name} is a file, which has no @REF")
        likely = _HOST_AND_PATH.fullmatch(spec)
        hint = f"did you mean https://{spec}?" if likely else "give a path, a URL, or a list"
        raise UsageError(f"{spec}: there is no such repository or list; {hint}")
    if _looks_like_one(folder):
        return
    try:
        inside = sorted(p.name for p in folder.iterdir() if p.is_dir() and _looks_like_one(p))
    except OSError as error:
        raise UsageError(f"{spec}: {error.strerror}") from None
    if inside:
        raise UsageError(
            f"{spec}: is no repository, but holds {len(inside)}, such as {inside[0]}; "
            "give those, or a list of them"
        )
    around = next((p for p in folder.parents if os.path.lexists(p / ".git")), None)
    if around is not None:
        raise UsageError(f"{spec}: is a folder of the repository {around}; give that")
    raise UsageError(f"{spec}: is no Git repository; give one, its URL, or a list of them")


def _looks_like_one(folder: Path) -> bool:
    """A damaged repository does, too: what it lacks the ledger says."""
    if os.path.lexists(folder / ".git") or os.path.lexists(folder / "HEAD"):
        return True
    return all(os.path.lexists(folder / part) for part in ("objects", "refs"))
