"""A dataset folder on an object store, or wherever else fsspec reaches: `s3://bucket/prefix`.

A run works in a local folder, because units rename, link and map files; what its manifest lists is
then uploaded, so neither `mined/` nor `tokens/`. A prefix with a `manifest.json` is a whole dataset
at every moment: a mark that the prefix is ours goes first, then the manifest of another dataset
goes away, then what is not listed; then come the files, and the manifest last. `steps` is that
order and nothing else. A file is one PUT; a large one that the store's client splits (s3fs does,
from 100 MB on) still appears as a whole.

A killed upload goes on: a journal beside the run says which file was put, and the store's own
checksum of it; a file is put again unless both are what they were. On another machine, without
the journal, all of them are. Costs two requests a file, and one more read of every local file.

Reading goes through a local copy (`download`): every file is checked against the manifest.
Two uploads to one prefix at once, from two machines, are not told apart.

The URL is stored nowhere, so nothing that stands in it is published.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Set
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from codeflow.errors import DataError, UsageError
from codeflow.storage import files, layout, manifest
from codeflow.storage.lock import locked
from codeflow.storage.manifest import ListedFile
from codeflow.storage.store import Store, shown, store

_TABLES = tuple(f"{table}/" for table in layout.TABLES)

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and the bytes in all."""


class Step(NamedTuple):
    """One request that changes the store. `path` is relative to the prefix."""

    action: str  # put or remove
    path: str


class Moved(NamedTuple):
    """What went over the line, and what did not have to."""

    files: int
    bytes: int
    skipped: int


def work_folder(url: str) -> Path:
    """Where a run that goes to this URL works: in the cache, the same folder for the same URL."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", shown(url).rstrip("/").rpartition("/")[2])
    return layout.WORK_FOLDERS.expanduser() / f"{name}-{_key(url)}"


def cached_copy(url: str) -> Path:
    """An up-to-date local copy of the dataset at a URL. Raises: as `download`."""
    folder = layout.COPIES.expanduser() / work_folder(url).name
    download(url, folder)
    return folder


def _key(url: str) -> str:
    return hashlib.sha256(shown(url).rstrip("/").encode()).hexdigest()[:16]


def steps(wanted: Collection[str], present: Set[str], same: Set[str]) -> Iterator[Step]:
    """The requests that turn what is at a prefix into the wanted dataset, in their order.

    Args:
        wanted: the files of the dataset, without its manifest.
        present: what is at the prefix.
        same: those of `present` that are as they should be; with the manifest, all is.
    """
    if layout.MANIFEST not in same or not set(wanted) <= same:
        yield Step("put", layout.UPLOAD_MARK)
        if layout.MANIFEST in present:
            yield Step("remove", layout.MANIFEST)
        for path in sorted(present):
            if path.startswith(_TABLES) and path not in wanted:
                yield Step("remove", path)
        for path in sorted(wanted):
            if path not in same:
                yield Step("put", path)
        yield Step("put", layout.MANIFEST)
        yield Step("remove", layout.UPLOAD_MARK)
    elif layout.UPLOAD_MARK in present:
        yield Step("remove", layout.UPLOAD_MARK)


def upload(folder: Path, url: str, progress: Progress = lambda done, total: None) -> Moved:
    """Makes the dataset at `url` the one that is published in `folder`; goes on where it stopped.

    Raises:
        UsageError: something else is at the URL, or it cannot be used at all.
        DataError: the folder is not a dataset, or is damaged.
        CodeflowError: the store refuses or does not answer.
    """
    data = _manifest_bytes(folder)
    listed = {file.path: file for file in manifest.listed_files(json.loads(data), folder)}
    with locked(folder), store(url) as there:
        found = there.found()
        theirs = there.read(layout.MANIFEST) if layout.MANIFEST in found else None
        if theirs is None and layout.UPLOAD_MARK not in found and found:
            raise UsageError(
                f"{shown(url)}: holds other files ({', '.join(sorted(found)[:3])}); "
                "give a prefix that is empty, or one that codeflow wrote"
            )
        if theirs is not None and not manifest.is_sealed(theirs):
            raise UsageError(f"{shown(url)}: its {layout.MANIFEST} is not codeflow's; give another")
        journal = _Journal(folder / layout.WORK / f"uploaded-{_key(url)}.jsonl")
        sized = {p for p, file in listed.items() if found.get(p) == file.bytes}
        if theirs == data:
            same = sized | {layout.MANIFEST}
        else:
            same = {path for path in sized if journal.has(listed[path], there)}
        total = sum(file.bytes for file in listed.values())
        done = sum(listed[path].bytes for path in same & listed.keys())
        moved = moved_bytes = 0
        for action, path in steps(listed, found.keys(), same):
            if action == "remove":
                there.remove(path)
            elif path in listed:
                file = listed[path]
                _check(folder / path, file)
                there.put(folder / path, path)
                journal.add(file, there.checksum(path))
                moved, moved_bytes, done = moved + 1, moved_bytes + file.bytes, done + file.bytes
            else:  # the mark is the manifest that will be
                there.put(folder / layout.MANIFEST, path)
            progress(done, total)
    return Moved(moved, moved_bytes, len(listed) - moved)


def download(url: str, folder: Path, progress: Progress = lambda done, total: None) -> Moved:
    """A local copy of the dataset at `url`; files that are there already are not read again.

    Raises:
        UsageError: the folder holds something else, or the URL cannot be used.
        DataError: there is no dataset, it is damaged, or it was replaced meanwhile.
        CodeflowError: the store refuses or does not answer.
    """
    with store(url) as there:
        if layout.MANIFEST not in there.found():
            raise DataError(f"{shown(url)}: not a dataset (no {layout.MANIFEST})")
        data = there.read(layout.MANIFEST)
        if not manifest.is_sealed(data):
            raise DataError(f"{shown(url)}: {layout.MANIFEST} is damaged")
        listed = manifest.listed_files(json.loads(data), shown(url))
        with locked(folder, wait=True):  # all processes of a machine share one copy
            ours = folder / layout.MANIFEST
            copied = (folder / layout.COPIED).exists()
            if not copied and {path.name for path in folder.iterdir()} - {layout.WORK}:
                raise UsageError(f"{folder}: holds other files; give a new folder")
            files.write_json(folder / layout.COPIED, {"from": _key(url)})
            if ours.exists() and ours.read_bytes() != data:
                ours.unlink()
            total = sum(file.bytes for file in listed)
            done = moved = moved_bytes = 0
            for file in listed:
                path = folder / _inside(file.path, url)
                if not _is_as_listed(path, file):
                    with files.replacing(path) as temporary:
                        there.get(file.path, temporary)
                        if not _is_as_listed(temporary, file):
                            raise DataError(
                                f"{shown(url)}: {file.path} is not what the manifest says: "
                                "damaged, or replaced meanwhile; try again"
                            )
                    moved, moved_bytes = moved + 1, moved_bytes + file.bytes
                done += file.bytes
                progress(done, total)
            manifest.remove_unlisted(folder, {file.path for file in listed})
            files.write_bytes(ours, data)
    return Moved(moved, moved_bytes, len(listed) - moved)


class _Journal:
    """Which files were put, a line each, with the store's checksum of what it got."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            try:
                name, *state = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                continue
            self._known[name] = state

    def has(self, file: ListedFile, there: Store) -> bool:
        """Whether this very file was put, and is still what it was."""
        state = self._known.get(file.path)
        return state == [file.sha256, there.checksum(file.path)] if state else False

    def add(self, file: ListedFile, checksum: str) -> None:
        with self._path.open("a", encoding="utf-8") as journal:
            journal.write("\n" + json.dumps([file.path, file.sha256, checksum]) + "\n")


def _manifest_bytes(folder: Path) -> bytes:
    manifest.read(folder)
    data = (folder / layout.MANIFEST).read_bytes()
    if not manifest.is_sealed(data):
        raise DataError(f"{folder}: {layout.MANIFEST} is damaged; mine again")
    return data


def _check(path: Path, file: ListedFile) -> None:
    if not _is_as_listed(path, file):
        raise DataError(f"{path}: is not what the manifest says; run `codeflow verify`")


def _is_as_listed(path: Path, file: ListedFile) -> bool:
    try:
        return path.stat().st_size == file.bytes and files.sha256(path) == file.sha256
    except OSError:
        return False


def _inside(name: str, url: str) -> Path:
    """A listed path as a path below a folder. Raises DataError when it leads out of one."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or {"..", layout.WORK} & set(parts) or "\\" in name:
        raise DataError(
            f"{shown(url)}: {layout.MANIFEST} lists {name!r}, which is no published file"
        )
    return Path(*parts)
