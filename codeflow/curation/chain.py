"""Runs stages one after the other, and knows which of them are done.

`decisions/STAGE/stage.json` holds the identity of what a stage decided: a hash of its settings and
of the identity of what came before. Asked for the same again, a stage is left alone; asked for
another, its decisions go and it is done anew. Git is not touched here, nor anything of `mined/`.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from codeflow.config import stage_hash
from codeflow.contracts import Figures, Flow
from codeflow.curation import decisions
from codeflow.curation.batches import ROWS_WANTED, Part
from codeflow.curation.context import StageContext
from codeflow.errors import DataError, UsageError
from codeflow.execution.job import Job
from codeflow.storage import files, tables
from codeflow.storage.damage import mends, reading
from codeflow.storage.layout import DECISIONS, DONE, INTERMEDIATE, STAGE_RECORD
from codeflow.storage.shape import build


class Stage(NamedTuple):
    """A stage to run: `settings` are plain values that decide its outcome; `flow` is None for one
    that must be done already, with whatever settings. `asked` is what it was asked with, where
    that is not the settings: names of files on this machine. `named` is the one that the command is
    about: its decisions are not only looked for but read before they are taken for done."""

    name: str
    settings: Mapping[str, Any]
    flow: Callable[[StageContext], Flow[Figures]] | None
    asked: Mapping[str, Any] | None = None
    named: bool = False


class Record(NamedTuple):
    """What `stage.json` says of a stage; `files` are those of its decisions, by name in bytes."""

    name: str
    stamp: str
    parent: str
    complete: bool
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    asked: Mapping[str, Any] | None = None
    files: Mapping[str, int] = {}


def stored(folder: Path, name: str) -> Record | None:
    """The record of a stage in a folder. Raises DataError when it is damaged."""
    path = record_path(folder, name)
    values = files.read_json(path)
    if values is None:
        return None
    with reading(path, ValueError):
        record = build(Record, values)
        if record.complete and not all(type(record.figures.get(k)) is int for k in ("in", "out")):
            raise ValueError("its figures do not say what came in and what is left")
        return record


def run_stages(
    job: Job, parts: Sequence[Part], stamp: str, stages: Sequence[Stage]
) -> list[Record]:
    """Brings all these stages up to date, in order.

    Args:
        stamp: identity of what was mined.

    Raises:
        UsageError: a stage that was to be there already is not, or is of other parents.
        DataError: it is damaged.
    """
    _require_done(job.folder, stamp, stages)
    records: list[Record] = []
    for stage in stages:
        earlier = tuple(record.name for record in records)
        record = _run(job, tuple(parts), stamp, earlier, stage)
        records.append(record)
        stamp = record.stamp
    return records


def _require_done(folder: Path, parent: str, stages: Sequence[Stage]) -> None:
    """Refuses stages before the one to run that are not done, before anything is written."""
    for stage in stages:
        if stage.flow is not None:
            return
        known, fault = _found(folder, stage)
        if fault is not None:
            raise DataError(f"{fault}; {mends(folder, stage.name)}")
        if known is None or not known.complete or known.parent != parent:
            name = stage.name
            raise UsageError(f"{folder}: stage {name} is not done; run `codeflow {name}` first")
        parent = known.stamp


def _found(folder: Path, stage: Stage) -> tuple[Record | None, str | None]:
    """The record of a stage, and what is wrong with it or with the decisions it tells of."""
    try:
        known = stored(folder, stage.name)
    except DataError:
        return None, f"{record_path(folder, stage.name)}: is damaged"
    for name, size in known.files.items() if known is not None and known.complete else ():
        path = folder / DECISIONS / stage.name / name
        fault = files.fault(path, size)
        if fault is None and stage.named:
            try:
                tables.check(path)
            except DataError:
                fault = "is damaged"
        if fault is not None:
            return known, f"{path}: {fault}"
    return known, None


def last_stamp(folder: Path, stamp: str, stages: Sequence[Stage]) -> str | None:
    """The identity of what these stages decided together; None where one is not done."""
    for stage in stages:
        known, fault = _found(folder, stage)
        if fault is not None or known is None or not known.complete or known.parent != stamp:
            return None
        if stage.flow is not None and known.stamp != _stamp(stage, stamp):
            return None
        stamp = known.stamp
    return stamp


def _stamp(stage: Stage, parent: str) -> str:
    settings = {"stage": stage.name, "rows_a_part": ROWS_WANTED, **stage.settings}
    return stage_hash(settings, parent)


def _run(
    job: Job, parts: tuple[Part, ...], parent: str, earlier: tuple[str, ...], stage: Stage
) -> Record:
    folder, name = job.folder, stage.name
    known, fault = _found(folder, stage)
    if stage.flow is None:
        assert known is not None, "the run has begun with a look at it"
        return known
    stamp = _stamp(stage, parent)
    record = Record(name, stamp, parent, False, dict(stage.settings), {}, stage.asked)
    if fault is not None:
        job.progress.note(f"{fault}; {name} decides again")
    if known is None or known.stamp != stamp or fault is not None:
        _forget(folder, name)
        files.write_json(record_path(folder, name), record._asdict())
    elif known.complete:
        return known
    context = StageContext(folder, name, stamp, parts, earlier)
    figures = job.run_stage(name, f"{name}-{stamp}/", stage.flow(context))
    figures = {**_counted(context), **figures}
    sizes = {f"{part.name}.parquet": _size(folder, name, part) for part in parts}
    record = record._replace(complete=True, figures=figures, files=sizes)
    files.write_json(record_path(folder, name), record._asdict())
    for place in (INTERMEDIATE, DONE):
        shutil.rmtree(folder / place / f"{name}-{stamp}", ignore_errors=True)
    return record


def _counted(context: StageContext) -> dict[str, Any]:
    """`in` and `out`, and drops by rule, as the decisions say."""
    rules: Counter[str] = Counter()
    out = 0
    for part in context.parts:
        table = decisions.read(context.folder, context.stage, part.name, ["kept", "rule"])
        out += pc.sum(table.column("kept")).as_py() or 0
        counts = pc.value_counts(table.column("rule").drop_null()).to_pylist()
        rules.update({row["values"]: row["counts"] for row in counts})
    return {"in": out + rules.total(), "out": out, "rules": dict(rules.most_common())}


def _size(folder: Path, stage: str, part: Part) -> int:
    return (folder / decisions.path_of(stage, part.name)).stat().st_size


def _forget(folder: Path, name: str) -> None:
    """Removes what a stage decided under another identity: its markers first."""
    for place in (DONE, INTERMEDIATE):
        for path in (folder / place).glob(f"{name}-*"):
            shutil.rmtree(path)
    files.remove(folder / DECISIONS / name)


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a stage is."""
    return folder / DECISIONS / name / STAGE_RECORD
