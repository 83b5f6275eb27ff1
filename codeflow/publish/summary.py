"""The figures of a run: what was kept, what was left out and why, what to type next.

Counted in what was published, so that they are of the whole folder, earlier runs that were resumed
included. Costs a read of the ledger's and the blobs' small columns.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from codeflow.curation.chain import Record
from codeflow.errors import DataError
from codeflow.mining.index import MinedIndex
from codeflow.mining.outcomes import place_in_list
from codeflow.publish import card
from codeflow.records import BLOBS, LEDGER
from codeflow.storage import files, tables
from codeflow.storage.layout import BLOBS as BLOBS_FOLDER
from codeflow.storage.layout import LEDGER as LEDGER_FOLDER
from codeflow.storage.layout import SUMMARY
from codeflow.storage.shape import build


class FailedRepository(NamedTuple):
    """A repository of which nothing was mined, as its ledger row says.

    `line` and `spec` are its line of the list: number, and text without comment and credentials;
    None where the list is not known any more.
    """

    repo: str
    rule: str
    reason: str
    line: int | None = None
    spec: str | None = None

    @property
    def where(self) -> str:
        """The line for people, with the name in ledger and manifest where it says another."""
        return place_in_list(self.repo, self.line, self.spec)


class LeftOut(NamedTuple):
    """How many ledger rows one rule of one stage has, with its reason in one line."""

    stage: str
    rule: str
    rows: int
    reason: str


class StageCount(NamedTuple):
    """How many triples a stage was given, and how many it kept."""

    stage: str
    given: int
    kept: int


@dataclass(frozen=True)
class Summary:
    """What a run did. Counts are of the whole folder, earlier runs that it resumed included.

    `notes` are lines on what the stages did that their names alone do not say.
    `content_bytes` is the size of the published blobs, `disk_bytes` that of the published files.
    """

    repositories: int
    mined: int
    failed: Sequence[FailedRepository]
    commits_read: int
    triples_by_kind: Mapping[str, int]
    stages: Sequence[StageCount]
    left_out: Sequence[LeftOut]
    blobs: int
    content_bytes: int
    disk_bytes: int
    elapsed_s: float
    out: str
    deterministic: bool
    next_command: str
    notes: Sequence[str] = ()
    triples_by_split: Mapping[str, int] = field(default_factory=dict)


def summarise(
    out: Path,
    index: MinedIndex,
    records: Sequence[Record],
    lines: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, int],
    elapsed_s: float,
    places: Mapping[str, tuple[int, str]],
) -> Summary:
    """The summary of a published folder.

    Args:
        records: the stages that decided.
        lines: the manifest's lines of its files.
        kinds: published triples of each kind.
        places: by `repo`, the number of its line in the list, and the line.
    """
    failed = [
        FailedRepository(
            r.repo, r.failure["rule"], r.failure["reason"], *places.get(r.repo, (None, None))
        )
        for r in index.repositories
        if r.failure is not None
    ]
    failed.sort(key=lambda repository: repository.line or 0)
    blobs, content_bytes = _count_blobs(out, lines)
    shown = _shown(out)
    return Summary(
        repositories=len(index.repositories),
        mined=len(index.good),
        failed=failed,
        commits_read=sum(r.steps for r in index.good),
        triples_by_kind=kinds,
        triples_by_split=card.filled(lines).splits,
        stages=[StageCount(r.name, r.figures["in"], r.figures["out"]) for r in records],
        left_out=_left_out(out, lines),
        blobs=blobs,
        content_bytes=content_bytes,
        disk_bytes=sum(line["bytes"] for line in lines),
        elapsed_s=elapsed_s,
        out=shown,
        deterministic=deterministic(index, records),
        next_command=f"codeflow {'report' if records else 'inspect'} {shlex.quote(shown)}",
        notes=_notes(records),
    )


def _notes(records: Sequence[Record]) -> list[str]:
    """What filters weighed; that `--filter none` is not all there is to keeping everything."""
    settings = {record.name: record.settings for record in records}
    notes = [
        "weighed, and kept: " + ", ".join(f"{n:,} by {rule}" for rule, n in weighed.items())
        for record in records
        if (weighed := record.figures.get("weighed"))
    ]
    dedup = settings.get("dedup")
    if dedup is None:
        return notes
    if not (dedup["exact"] or dedup["near"]):
        return [*notes, "dedup is off (exact and near are false): duplicates are kept"]
    if settings["filter"]["filters"]:
        return notes
    return [
        *notes,
        "no filter was asked for, but dedup drops duplicates all the same; "
        "[dedup] exact = false and near = false keep them",
    ]


def deterministic(index: MinedIndex, records: Sequence[Record]) -> bool:
    """Whether no limit on time or memory decided anything."""
    return index.deterministic and not any(r.figures.get("timed_out") for r in records)


def stored_summary(out: Path) -> Summary | None:
    """The summary of the last run; None where it is missing or damaged, as it can be counted again.

    The folder may have moved since, or the reader.
    """
    try:
        values = files.read_json(out / SUMMARY)
        if values is None:
            return None
        summary = build(Summary, values)
    except (DataError, ValueError):
        return None
    shown = _shown(out.absolute())
    command = " ".join((*summary.next_command.split()[:2], shlex.quote(shown)))
    return replace(summary, out=shown, next_command=command)


def _shown(path: Path) -> str:
    """A folder as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _count_blobs(out: Path, lines: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    rows = size = 0
    for line in lines:
        if line["path"].startswith(f"{BLOBS_FOLDER}/"):
            column = tables.read(out / line["path"], BLOBS, ["size_bytes"]).column(0)
            rows += len(column)
            size += pc.sum(column).as_py() or 0
    return rows, size


def _left_out(out: Path, lines: Sequence[Mapping[str, Any]]) -> list[LeftOut]:
    """Ledger rows by rule, read a row group at a time: a ledger can be long."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for line in lines:
        if not line["path"].startswith(f"{LEDGER_FOLDER}/"):
            continue
        for table in tables.row_groups(out / line["path"], LEDGER, ["stage", "rule", "reason"]):
            counted = table.group_by(["stage", "rule"]).aggregate(
                [("reason", "count"), ("reason", "min")]
            )
            for row in counted.to_pylist():
                rule = (row["stage"], row["rule"])
                rows, reason = found.get(rule, (0, row["reason_min"]))
                found[rule] = (rows + row["reason_count"], min(reason, row["reason_min"]))
    left_out = [LeftOut(*rule, *value) for rule, value in found.items() if rule[0] != "open"]
    return sorted(left_out, key=lambda row: (-row.rows, row.stage, row.rule))
