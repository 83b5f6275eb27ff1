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
from codeflow.contracts import Flow
from codeflow.curation import decisions
from codeflow.curation.batches import ROWS_WANTED, Part
from codeflow.curation.context import StageContext
from codeflow.curation.decisions import FOLDER
from codeflow.errors import UsageError
from codeflow.execution.job import Job
from codeflow.execution.units import DONE, PARTS
from codeflow.pipeline.workdir import WORK
from codeflow.storage import files

NAMES = ("filter", "dedup", "mix", "split")
"""The stages that decide, in order."""

_CHAIN = f"{WORK}/stages.json"


class Stage(NamedTuple):
    """A stage to run: `settings` are plain values that decide its outcome; `flow` is None for one
    that must be done already, with whatever settings. `asked` is what it was asked with, where
    that is not the settings: names of files on this machine."""

    name: str
    settings: Mapping[str, Any]
    flow: Callable[[StageContext], Flow] | None
    asked: Mapping[str, Any] | None = None


class Record(NamedTuple):
    """What `stage.json` says of a stage. Until it is complete, `asked_before` is what the last
    complete one was asked with."""

    name: str
    stamp: str
    parent: str
    complete: bool
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    asked: Mapping[str, Any] | None = None
    asked_before: Mapping[str, Any] | None = None

    @property
    def last_asked(self) -> Mapping[str, Any] | None:
        """What the last complete run of the stage was asked with."""
        if not self.complete:
            return self.asked_before
        return self.settings if self.asked is None else self.asked


def stored(folder: Path, name: str) -> Record | None:
    """The record of a stage in a folder."""
    values = files.read_json(_record_path(folder, name))
    return None if values is None else Record(**values)


def chain_of(folder: Path) -> frozenset[str]:
    """Names of the stages that the folder's last run asked for.

    Others may have left decisions there: `--until filter` does not undo what dedup decided before.
    Without that record, the stages that have decisions.
    """
    names = files.read_json(folder / _CHAIN)
    if names is None:
        names = [name for name in NAMES if stored(folder, name) is not None]
    return frozenset(names)


def run_stages(
    job: Job, parts: Sequence[Part], stamp: str, stages: Sequence[Stage]
) -> list[Record]:
    """Brings all these stages up to date, in order.

    Args:
        stamp: identity of what was mined.

    Raises:
        UsageError: a stage that was to be there already is not, or is of other parents.
    """
    _require_done(job.folder, stamp, stages)
    files.write_json(job.folder / _CHAIN, [stage.name for stage in stages])
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
        known = stored(folder, stage.name)
        if known is None or not known.complete or known.parent != parent:
            name = stage.name
            raise UsageError(f"{folder}: stage {name} is not done; run `codeflow {name}` first")
        parent = known.stamp


def last_stamp(folder: Path, stamp: str, stages: Sequence[Stage]) -> str | None:
    """The identity of what these stages decided together; None where one is not done."""
    for stage in stages:
        known = stored(folder, stage.name)
        if known is None or not known.complete or known.parent != stamp:
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
    known = stored(folder, name)
    if stage.flow is None:
        assert known is not None, "the run has begun with a look at it"
        return known
    stamp = _stamp(stage, parent)
    before = None if known is None else known.last_asked
    record = Record(name, stamp, parent, False, dict(stage.settings), {}, stage.asked, before)
    if known is None or known.stamp != stamp:
        _forget(folder, name)
        files.write_json(_record_path(folder, name), record._asdict())
    elif known.complete:
        return known
    context = StageContext(folder, name, stamp, parts, earlier)
    units = len(parts) if name == "filter" else None  # others go over the parts more than once
    figures = job.run_stage(name, f"{name}-{stamp}/", stage.flow(context), units)
    figures = {**_counted(context), **figures}
    record = record._replace(complete=True, figures=figures, asked_before=None)
    files.write_json(_record_path(folder, name), record._asdict())
    for place in (PARTS, DONE):
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


def _forget(folder: Path, name: str) -> None:
    """Removes what a stage decided under another identity: its markers first."""
    for place in (DONE, PARTS):
        for path in (folder / place).glob(f"{name}-*"):
            shutil.rmtree(path)
    shutil.rmtree(folder / FOLDER / name, ignore_errors=True)


def _record_path(folder: Path, name: str) -> Path:
    return folder / FOLDER / name / "stage.json"
