"""What came of mining: outcomes as JSON, ledger rows of whole repositories, places in the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from codeflow.execution.failures import Failure
from codeflow.records import LEDGER, LedgerRow, table_of
from codeflow.storage import files
from codeflow.storage.damage import reading
from codeflow.storage.layout import MINED_LEDGER
from codeflow.storage.shape import build
from codeflow.text.privacy import without_folders

if TYPE_CHECKING:
    from codeflow_miners.acquire.open import Opened
    from codeflow_miners.acquire.repositories import Source
    from codeflow_miners.flow import Mined

Outcome = TypeVar("Outcome")


def write_run_ledger(
    out: Path,
    sources: Mapping[str, Source],
    opened: Mapping[str, Opened],
    outcomes: Mapping[str, Mined | Failure],
) -> str:
    """Writes ledger rows of whole repositories: what failed, what is another's, repeated lines."""
    rows = []
    for key in sorted(outcomes, key=lambda key: sources[key].repo):
        source, outcome = sources[key], outcomes[key]
        if isinstance(outcome, Failure):
            stage = "mine" if key in opened else "open"
            told = published(outcome)
            rows.append(LedgerRow(stage, told.rule, told.reason, source.repo, detail=told.detail))
        elif not outcome.tables:
            reason = "every change of its window belongs to another repository of its family"
            rows.append(LedgerRow("families", "fork", reason, source.repo))
        for line in source.repeats:
            reason = f"line {line} of the list says the same as line {source.line}"
            rows.append(LedgerRow("list", "repeated", reason, source.repo))
    with files.parquet(out / MINED_LEDGER, LEDGER) as writer:
        writer.write(table_of(rows, LEDGER))
    return MINED_LEDGER


def published(failure: Failure) -> Failure:
    """A failure as it is told to others, without the folders of this machine."""
    return failure._replace(
        reason=without_folders(failure.reason),
        detail=failure.detail and without_folders(failure.detail),
    )


def outcome_of(path: Path, record: Any, kind: type[Outcome]) -> Outcome | Failure:
    """An outcome from the JSON that it was stored as in a file.

    Raises:
        DataError: the file is damaged.
    """
    with reading(path, ValueError):
        if isinstance(record, Mapping) and "failure" in record:
            return build(Failure, record["failure"])
        return build(kind, record)


def record_of(outcome: Opened | Mined | Failure) -> dict[str, Any]:
    """An outcome as JSON."""
    return {"failure": outcome._asdict()} if isinstance(outcome, Failure) else asdict(outcome)


def place_in_list(repo: str, line: int | None, spec: str | None) -> str:
    """`line 3: ../path (name)`: which line of the list is meant."""
    if line is None or spec is None:
        return repo
    if spec == f"line-{line}":  # of a line that may hold a secret, nothing is known
        return f"line {line}"
    return f"line {line}: {spec}" + ("" if repo in spec else f" ({repo})")
