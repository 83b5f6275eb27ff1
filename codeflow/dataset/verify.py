"""Proof, without git, that a dataset is what it promises to be.

Three passes, each in stored order:

1. files: everything the manifest lists has the bytes it says, and no other shard lies beside it.
   When a table is damaged nothing is decoded, since damaged Parquet is not safe to decode.
2. objects (`codeflow.dataset.verify_objects`): every content and directory hashes to its id, names
are
   legal, all that is referred to is there, and nothing else is.
3. triples (`codeflow.dataset.verify_triples`): the patch, applied by `codeflow.git.apply` to the
old side,
   gives exactly the new tree; `files` says the same as the patch and the trees; ids are recomputed;
   so for every step of a triple of several commits, and the last one ends where the triple does.

A card that was edited, and files of others that no reader takes for a shard, are no damage: they
are remarked upon. Work is cut into jobs by the dataset alone, and what they find is put together in
their order, so the report is the same for any number of processes.

Costs about one decoding of `blobs` for pass 2, and one for each job of pass 3 of what its
repositories have; of the trees only directories above a change are hashed again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.dataset import reader as reading
from codeflow.dataset.verify_objects import check_objects
from codeflow.dataset.verify_report import Report
from codeflow.dataset.verify_triples import check_triples
from codeflow.errors import DataError
from codeflow.execution.many import Advance, Workers, default_workers
from codeflow.storage import files, layout, manifest
from codeflow.storage.layout import BLOBS, CARD, STEPS, TABLES, TREES, TRIPLES
from codeflow.storage.manifest import ListedFile
from codeflow.storage.place import local

_DECODED = tuple(f"{table}/" for table in (TRIPLES, STEPS, BLOBS, TREES))
_TRIPLES_WORTH_WORKERS = 1500  # fewer are replayed before a second process is up

Tell = Callable[[str, int, int], None]
"""Told (stage, done, total): bytes for `files`, rows for `objects`, triples for `triples`."""


def verify(
    path: str | os.PathLike[str], *, progress: Tell | None = None, workers: int | None = 1
) -> Report:
    """Checks a whole dataset folder, or the copy of one at a URL.

    Args:
        workers: processes to work in; None for as many as the dataset is worth. The report is the
            same.

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
        if not (folder / layout.MANIFEST).is_file():
            raise
        report.add(layout.MANIFEST, "", error)
        return report
    if workers is None:
        rows = sum(file.rows or 0 for file in listed if file.path.startswith(f"{TRIPLES}/"))
        workers = default_workers() if rows >= _TRIPLES_WORTH_WORKERS else 1
    with Workers(workers) as pool:
        if not _check_files(pool, folder, listed, report, tell):
            return report
        try:
            dataset = reading.open(folder)
            repos = check_objects(pool, dataset, report, tell)
            projection = str(values.get("projection"))
            check_triples(pool, dataset, projection, repos, report, tell)
            report.replayed = True
        except DataError as error:
            report.add("", "", error)
    return report


class _FileJob(NamedTuple):
    folder: str
    file: ListedFile


def _check_files(
    pool: Workers, folder: Path, listed: Sequence[ListedFile], report: Report, tell: Tell
) -> bool:
    """Pass 1. Whether the tables may be decoded."""
    if not manifest.is_sealed((folder / layout.MANIFEST).read_bytes()):
        report.add(layout.MANIFEST, "", "its checksum of itself does not match its bytes")
    total = sum(file.bytes for file in listed)
    names = Counter(file.path for file in listed)
    sound = True
    jobs = [_FileJob(str(folder), file) for file in listed]
    for job, found in zip(
        jobs, pool.map(_check_file, jobs, lambda done: tell("files", done, total)), strict=True
    ):
        name = job.file.path
        if names[name] > 1:
            found.add(name, "", "is listed twice")
        if name == CARD and found.problems and (folder / CARD).is_file():
            found = Report(files=1, bytes=found.bytes)
            found.remark(CARD, "", "was edited after it was published")
        sound = sound and (found.ok or not name.startswith(_DECODED))
        report.include(found)
    for table in TABLES:
        for path in sorted((folder / table).glob("**/*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir() or name in names:
                continue
            if path.suffix == ".parquet":  # other tools would read its rows
                report.add(name, "", "is not in the manifest")
            else:
                report.remark(name, "", "is not codeflow's; readers pass it over")
    return sound


def _check_file(job: _FileJob, advance: Advance) -> Report:
    report, file = Report(files=1), job.file
    path = Path(job.folder) / file.path
    if ".." in Path(file.path).parts or Path(file.path).is_absolute():
        report.add(file.path, "", "lies outside the dataset")
        return report
    try:
        size, digest = path.stat().st_size, files.sha256(path)
    except OSError as error:
        report.add(file.path, "", f"cannot be read: {error.strerror}")
        return report
    report.bytes = size
    if size != file.bytes:
        report.add(file.path, "", f"has {size} bytes, the manifest says {file.bytes}")
    elif digest != file.sha256:
        report.add(file.path, "", "its bytes are not those of its SHA-256 in the manifest")
    elif file.path.endswith(".parquet"):
        _check_rows(path, file, report)
    advance(size)
    return report


def _check_rows(path: Path, file: ListedFile, report: Report) -> None:
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        report.add(file.path, "", f"is not Parquet: {error}")
        return
    if rows != file.rows:
        report.add(file.path, "", f"has {rows} rows, the manifest says {file.rows}")
