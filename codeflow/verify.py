"""Proof, without git, that a dataset is what it promises to be.

Three passes, each in stored order, with one repository's directories and one budget of patches
in memory at a time:

1. files: everything the manifest lists has the bytes it says, and nothing else lies beside it.
   If this fails nothing is decoded, since damaged Parquet is not safe to decode.
2. objects: every content and directory hashes to its id, names are legal, all that is referred
   to is there, and nothing else is.
3. triples: the patch, applied by `codeflow.patches` to the old side, gives exactly the new tree;
   `files` says the same as the patch and the trees; ids are recomputed.

Costs about one decoding of `blobs` for pass 2, and one for each group of repositories whose
patches fit the budget in pass 3; of the trees only directories above a change are hashed again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow import dataset as reading
from codeflow import manifest
from codeflow.contents import RowGroup, Shards
from codeflow.destination import local
from codeflow.errors import DataError
from codeflow.names import refused_by_git
from codeflow.objects import EMPTY_TREE, TreeEntry, blob_id, tree_id, tree_order
from codeflow.records import EXECUTABLE_MODE, FILE_MODE, SYMLINK_MODE, TREE_MODE
from codeflow.replay import Replay
from codeflow.triple import Triple

FIRST_PROBLEMS = 100
BATCH_PATCH_BYTES = 128 << 20
_TABLES = ("triples", "blobs", "trees", "ledger")
_MODES = (FILE_MODE, EXECUTABLE_MODE, SYMLINK_MODE, TREE_MODE)

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total): bytes for `files`, rows for `objects`, triples for `triples`."""


class Problem(NamedTuple):
    """One thing that is wrong: in which file or repository, where in it, and what."""

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


@dataclass
class Report:
    """What was found. `problems` holds the first `FIRST_PROBLEMS` of `problem_count`."""

    files: int = 0
    bytes: int = 0
    blobs: int = 0
    trees: int = 0
    triples: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problem_count

    def add(self, file: str, where: str, what: object) -> None:
        self.problem_count += 1
        if len(self.problems) < FIRST_PROBLEMS:
            self.problems.append(Problem(file, where, str(what)))


def verify(path: str | os.PathLike[str], *, progress: Progress | None = None) -> Report:
    """Checks a whole dataset folder.

    Raises:
        DataError: it has no manifest. Everything else that is wrong is in the report.
    """
    folder = local(path)
    tell = progress or (lambda stage, done, total: None)
    report = Report()
    try:
        values = manifest.read(folder)
        listed = manifest.listed_files(values, folder)
    except DataError as error:
        if not (folder / manifest.NAME).is_file():
            raise
        report.add(manifest.NAME, "", error)
        return report
    _check_files(folder, listed, report, tell)
    if not report.ok:
        return report
    try:
        dataset = reading.open(folder)
        repos = _check_objects(dataset, report, tell)
        _check_triples(dataset, str(values.get("projection")), repos, report, tell)
    except DataError as error:
        report.add("", "", error)
    return report


def _check_files(
    folder: Path, listed: list[manifest.ListedFile], report: Report, tell: Progress
) -> None:
    if not manifest.is_sealed((folder / manifest.NAME).read_bytes()):
        report.add(manifest.NAME, "", "its checksum of itself does not match its bytes")
    total = sum(file.bytes for file in listed)
    names = [file.path for file in listed]
    for file in listed:
        path = folder / file.path
        report.files += 1
        if ".." in Path(file.path).parts or Path(file.path).is_absolute():
            report.add(file.path, "", "lies outside the dataset")
            continue
        if names.count(file.path) > 1:
            report.add(file.path, "", "is listed twice")
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.tell()
        except OSError as error:
            report.add(file.path, "", f"cannot be read: {error.strerror}")
            continue
        report.bytes += size
        if size != file.bytes:
            report.add(file.path, "", f"has {size} bytes, the manifest says {file.bytes}")
        elif digest != file.sha256:
            report.add(file.path, "", "its bytes are not those of its SHA-256 in the manifest")
        elif file.path.endswith(".parquet"):
            _check_rows(path, file, report)
        tell("files", report.bytes, total)
    for table in _TABLES:
        for path in sorted((folder / table).glob("**/*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in names:
                report.add(name, "", "is not in the manifest")


def _check_rows(path: Path, file: manifest.ListedFile, report: Report) -> None:
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        report.add(file.path, "", f"is not Parquet: {error}")
        return
    if rows != file.rows:
        report.add(file.path, "", f"has {rows} rows, the manifest says {file.rows}")


@dataclass
class _Repo:
    """The ids of one repository's objects: what is there, and what is referred to."""

    blobs: set[bytes] = field(default_factory=set)
    trees: set[bytes] = field(default_factory=set)
    named: set[tuple[bool, bytes]] = field(default_factory=set)  # (is a tree, id)


def _check_objects(dataset: reading.Dataset, report: Report, tell: Progress) -> dict[str, _Repo]:
    """Pass 2, apart from reachability, which needs the triples' roots as well."""
    repos: dict[str, _Repo] = {}
    shards = (dataset.blob_shards, dataset.tree_shards)
    total = sum(group.rows for s in shards for group in s.groups)
    last = ""
    for file, table in _tables(dataset, dataset.blob_shards, report):
        names, ids = table.column("repo").to_pylist(), table.column("id").to_pylist()
        sizes, contents = table.column("size_bytes").to_pylist(), table.column("content")
        for name, id, size, value in zip(names, ids, sizes, contents, strict=True):
            content = reading.as_bytes(value)
            where = f"{name} blob {id}"
            if name < last:
                report.add(file, where, "rows are not sorted by repo")
            last = name
            if blob_id(content) != id:
                report.add(file, where, f"the content hashes to {blob_id(content)}")
                continue
            if len(content) != size:
                report.add(file, where, f"size_bytes is {size}, the content has {len(content)}")
            if b"\0" in content:
                report.add(file, where, "the content is not text: it has a NUL byte")
            _enter(repos.setdefault(name, _Repo()).blobs, id, file, where, report)
            report.blobs += 1
        tell("objects", report.blobs, total)
    last = ""
    for file, table in _tables(dataset, dataset.tree_shards, report):
        for row in table.to_pylist():
            name, id = row["repo"], row["id"]
            where = f"{name} tree {id}"
            if name < last:
                report.add(file, where, "rows are not sorted by repo")
            last = name
            entries = [TreeEntry(**entry) for entry in row["entries"]]
            fault = tree_fault(id, entries)
            if fault is not None:
                report.add(file, where, fault)
                continue
            repo = repos.setdefault(name, _Repo())
            _enter(repo.trees, id, file, where, report)
            repo.named.update((entry.is_tree, bytes.fromhex(entry.id)) for entry in entries)
            report.trees += 1
        tell("objects", report.blobs + report.trees, total)
    return repos


def tree_fault(id: str, entries: list[TreeEntry]) -> str | None:
    """What is wrong with a directory, or None."""
    for entry in entries:
        if entry.mode not in _MODES:
            return f"{entry.name!r} has mode {entry.mode!r}"
        if refused_by_git(entry.name, entry.mode):
            return f"git's index refuses the name {entry.name!r}"
        if len(entry.id) != 40 or entry.id.strip("0123456789abcdef"):
            return f"{entry.name!r} has id {entry.id!r}"
    if len({entry.name for entry in entries}) < len(entries):
        return "a name stands in it twice"
    if sorted(entries, key=tree_order) != entries:
        return "the entries are not in git's order"
    if not entries and id != EMPTY_TREE:
        return "is empty"
    actual = tree_id(entries)
    return None if actual == id else f"the entries hash to {actual}"


def _enter(ids: set[bytes], id: str, file: str, where: str, report: Report) -> None:
    raw = bytes.fromhex(id)
    if raw in ids:
        report.add(file, where, "stands in the dataset twice")
    ids.add(raw)


def _tables(
    dataset: reading.Dataset, shards: Shards, report: Report
) -> Iterator[tuple[str, pa.Table]]:
    for group in shards.groups:
        file = _name(dataset, group)
        table = shards.read(group)
        try:
            table.validate(full=True)  # strings are UTF-8, offsets are in bounds
        except pa.ArrowException as error:
            report.add(file, f"row group {group.number}", error)
            continue
        yield file, table


def _name(dataset: reading.Dataset, group: RowGroup) -> str:
    return group.path.relative_to(dataset.folder).as_posix()


def _check_triples(
    dataset: reading.Dataset,
    projection: str,
    repos: dict[str, _Repo],
    report: Report,
    tell: Progress,
) -> None:
    patch_bytes: dict[str, int] = {}
    seen: set[bytes] = set()
    for split, shards in dataset.triple_shards.items():
        last = ""
        for file, table in _tables(dataset, shards, report):
            for id in table.column("id").to_pylist():
                if id <= last:
                    report.add(file, f"triple {id}", f"ids of {split} are not sorted")
                last = id
                raw = id.encode()
                if raw in seen:
                    report.add(file, f"triple {id}", "stands in the dataset twice")
                seen.add(raw)
            lengths = pc.binary_length(table.column("patch")).to_pylist()
            columns = (table.column(name).to_pylist() for name in ("repo", "old_tree", "new_tree"))
            for repo, old, new, length in zip(*columns, lengths, strict=True):
                patch_bytes[repo] = patch_bytes.get(repo, 0) + length
                named = repos.setdefault(repo, _Repo()).named
                for tree in (old, new):
                    if _is_hex(tree):
                        named.add((True, bytes.fromhex(tree)))
    _check_reachability(repos, report)
    for group in _groups(patch_bytes):
        batch: list[tuple[str, Triple]] = []
        size = 0
        for file, triple in _triples_of(dataset, group):
            batch.append((file, triple))
            size += len(triple.patch)
            if size > BATCH_PATCH_BYTES:
                _replay(dataset, projection, batch, report)
                tell("triples", report.triples, len(dataset))
                batch, size = [], 0
        _replay(dataset, projection, batch, report)
        tell("triples", report.triples, len(dataset))


def _check_reachability(repos: Mapping[str, _Repo], report: Report) -> None:
    """All that is named is there; all that is there is named by a directory or a triple."""
    for name, repo in sorted(repos.items()):
        for is_tree, what, table in ((True, "tree", "trees"), (False, "blob", "blobs")):
            there = repo.trees if is_tree else repo.blobs
            named = {raw for kind, raw in repo.named if kind == is_tree}
            for raw in sorted(named - there):
                report.add(table, name, f"{what} {raw.hex()} is referred to, but missing")
            for raw in sorted(there - named):
                report.add(table, name, f"{what} {raw.hex()} is reached by no triple")


def _groups(patch_bytes: Mapping[str, int]) -> Iterator[set[str]]:
    """Repositories in groups whose patches stay within the budget, if they can."""
    group: set[str] = set()
    size = 0
    for repo, length in sorted(patch_bytes.items()):
        if group and size + length > BATCH_PATCH_BYTES:
            yield group
            group, size = set(), 0
        group.add(repo)
        size += length
    if group:
        yield group


def _triples_of(dataset: reading.Dataset, repos: set[str]) -> Iterator[tuple[str, Triple]]:
    wanted = pa.array(sorted(repos))
    for shards in dataset.triple_shards.values():
        for group in shards.groups:
            table = shards.read(group)
            table = table.filter(pc.is_in(table.column("repo"), wanted))
            for start in range(0, table.num_rows, 64):
                for row in table.slice(start, 64).to_pylist():
                    yield _name(dataset, group), Triple.from_row(row, dataset)


def _replay(
    dataset: reading.Dataset,
    projection: str,
    batch: Iterable[tuple[str, Triple]],
    report: Report,
) -> None:
    """Pass 3 for some triples, repository by repository, contents in stored order."""
    by_repo: dict[str, list[Replay]] = {}
    for file, triple in batch:
        report.triples += 1
        by_repo.setdefault(triple.repo, []).append(Replay(triple, file, projection))
    for repo, replays in sorted(by_repo.items()):
        needed: dict[str, list[Replay]] = {}
        for replay in replays:
            for blob in replay.prepare():
                needed.setdefault(blob, []).append(replay)
        try:
            for blob, content in dataset.blobs(repo, needed):
                for replay in needed[blob]:
                    replay.feed(blob, content)
        except DataError as error:
            report.add("blobs", repo, error)
        for replay in replays:
            for fault in replay.finish():
                report.add(replay.file, f"triple {replay.triple.id}", fault)


def _is_hex(id: str) -> bool:
    return len(id) == 40 and not id.strip("0123456789abcdef")
