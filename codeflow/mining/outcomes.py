"""The account of a run: ledger rows of whole repositories, and the figures of the summary.

Figures are counted in what was published, so that they are of the whole folder, earlier runs that
were resumed included. Costs a read of the ledger's and the blobs' small columns.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from codeflow.curation.chain import Record
from codeflow.errors import DataError
from codeflow.execution.failures import Failure, Outcome
from codeflow.mining.index import MinedIndex
from codeflow.pipeline import workdir
from codeflow.publish import card
from codeflow.publish.summary import Failure as FailedRepository
from codeflow.publish.summary import LeftOut, StageCount, Summary
from codeflow.records import BLOBS, LEDGER, LedgerRow, table_of
from codeflow.storage import files, tables
from codeflow.storage.damage import reading
from codeflow.storage.layout import BLOBS as BLOBS_FOLDER
from codeflow.storage.layout import LEDGER as LEDGER_FOLDER
from codeflow.storage.layout import MINED_LEDGER, SUMMARY
from codeflow.storage.shape import build


def write_run_ledger(
    out: Path,
    sources: Mapping[str, Any],
    outcomes: Mapping[str, Outcome],
    opened: Mapping[str, Any],
) -> str:
    """Writes ledger rows of whole repositories: what failed, what is another's, repeated lines."""
    rows = []
    for key in sorted(outcomes, key=lambda key: str(sources[key].repo)):
        source, outcome = sources[key], outcomes[key]
        if isinstance(outcome, Failure):
            stage = "open" if "failure" in opened[key] else "mine"
            rows.append(
                LedgerRow(
                    stage,
                    outcome.rule,
                    without_folders(outcome.reason),
                    source.repo,
                    detail=outcome.detail and without_folders(outcome.detail),
                )
            )
        elif not outcome["tables"]:
            reason = "every change of its window belongs to another repository of its family"
            rows.append(LedgerRow("families", "fork", reason, source.repo))
        for line in source.repeats:
            reason = f"line {line} of the list says the same as line {source.line}"
            rows.append(LedgerRow("list", "repeated", reason, source.repo))
    with files.parquet(out / MINED_LEDGER, LEDGER) as writer:
        writer.write(table_of(rows, LEDGER))
    return MINED_LEDGER


# in a traceback, or an absolute path in running text; not the path of a URL
_FOLDERS = re.compile(r"""(?<=File ")[^"\n]*/|(?<![\w.~/-])/(?:[^\s/:'"]+/)+""")


def without_folders(text: str) -> str:
    """A ledger is published: the folders of this machine, and whose they are, stay out of it."""
    return _FOLDERS.sub("", text)


def summarise(
    out: Path,
    index: MinedIndex,
    records: Sequence[Record],
    lines: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, int],
    elapsed_s: float,
) -> Summary:
    """The summary of a published folder.

    Args:
        records: the stages that decided.
        lines: the manifest's lines of its files.
        kinds: published triples of each kind.
    """
    lines_of = workdir.lines_of(out)
    failed = [
        FailedRepository(
            r.repo, r.failure["rule"], r.failure["reason"], *lines_of.get(r.repo, (None, None))
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


def outcome_of(record: dict[str, Any]) -> Outcome:
    """An outcome from the JSON it was stored as."""
    return Failure(**record["failure"]) if "failure" in record else record


def require_outcome(path: Path, record: Any, keys: Sequence[str]) -> None:
    """Looks whether the JSON of an outcome has these keys, or is a failure.

    Raises:
        DataError: the file that it was read from is damaged.
    """
    with reading(path, ValueError):
        if isinstance(record, dict) and "failure" in record:
            build(Failure, record["failure"])
        elif not isinstance(record, dict) or not record.keys() >= set(keys):
            raise ValueError(f"an outcome lacks {', '.join(keys)}")


def record_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON."""
    return {"failure": outcome._asdict()} if isinstance(outcome, Failure) else outcome


def families(opened: Mapping[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """Keys of opened repositories, those that share a root together."""
    from codeflow_miners.history.families import families

    return families({k: value["roots"] for k, value in opened.items() if "failure" not in value})


def forked_families(opened: Mapping[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """The families of two or more."""
    return [group for group in families(opened) if len(group) > 1]
