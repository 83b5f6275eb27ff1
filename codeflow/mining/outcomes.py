"""The account of a run: ledger rows of whole repositories, and the figures of the summary.

Figures are counted in what was published, so that they are of the whole folder, earlier runs that
were resumed included. Costs a read of the ledger's and the blobs' small columns.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow.curation.chain import Record
from codeflow.execution.driver import Outcome
from codeflow.execution.units import MINED, Failure
from codeflow.mining.index import MinedIndex
from codeflow.pipeline import workdir
from codeflow.publish import card
from codeflow.publish.summary import Failure as FailedRepository
from codeflow.publish.summary import LeftOut, StageCount, Summary
from codeflow.records import LEDGER, LedgerRow, table_of
from codeflow.storage import files


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
    path = f"{MINED}/ledger.parquet"
    with files.parquet(out / path, LEDGER) as writer:
        writer.write(table_of(rows, LEDGER))
    return path


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
    """That `--filter none` is not all there is to keeping everything."""
    settings = {record.name: record.settings for record in records}
    dedup = settings.get("dedup")
    if dedup is None:
        return []
    if not (dedup["exact"] or dedup["near"]):
        return ["dedup is off (exact and near are false): duplicates are kept"]
    if settings["filter"]["filters"]:
        return []
    return [
        "no filter was asked for, but dedup drops duplicates all the same; "
        "[dedup] exact = false and near = false keep them"
    ]


def deterministic(index: MinedIndex, records: Sequence[Record]) -> bool:
    """Whether no limit on time or memory decided anything."""
    return index.deterministic and not any(r.figures.get("timed_out") for r in records)


def stored_summary(values: Mapping[str, Any], out: Path) -> Summary:
    """A summary from the JSON it was stored as; the folder may have moved, or the reader."""
    shown = _shown(out.absolute())
    return Summary(
        **{
            **values,
            "out": shown,
            "next_command": " ".join((*values["next_command"].split()[:2], shlex.quote(shown))),
            "failed": [FailedRepository(*row) for row in values["failed"]],
            "left_out": [LeftOut(*row) for row in values["left_out"]],
            "stages": [StageCount(*row) for row in values["stages"]],
        }
    )


def _shown(path: Path) -> str:
    """A folder as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _count_blobs(out: Path, lines: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    rows = size = 0
    for line in lines:
        if line["path"].startswith("blobs/"):
            column = pq.read_table(out / line["path"], columns=["size_bytes"]).column(0)
            rows += len(column)
            size += pc.sum(column).as_py() or 0
    return rows, size


def _left_out(out: Path, lines: Sequence[Mapping[str, Any]]) -> list[LeftOut]:
    """Ledger rows by rule, read a row group at a time: a ledger can be long."""
    import pyarrow.parquet as pq

    found: dict[tuple[str, str], tuple[int, str]] = {}
    for line in lines:
        if not line["path"].startswith("ledger/"):
            continue
        ledger = pq.ParquetFile(out / line["path"])
        for number in range(ledger.num_row_groups):
            table = ledger.read_row_group(number, columns=["stage", "rule", "reason"])
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
