"""What came of mining: outcomes as JSON, families of forks, ledger rows of whole repositories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeflow.execution.failures import Failure, Outcome
from codeflow.records import LEDGER, LedgerRow, table_of
from codeflow.storage import files
from codeflow.storage.damage import reading
from codeflow.storage.layout import MINED_LEDGER
from codeflow.storage.shape import build
from codeflow.text.privacy import without_folders


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


def place_in_list(repo: str, line: int | None, spec: str | None) -> str:
    """`line 3: ../path (name)`: which line of the list is meant."""
    if line is None or spec is None:
        return repo
    if spec == f"line-{line}":  # of a line that may hold a secret, nothing is known
        return f"line {line}"
    return f"line {line}: {spec}" + ("" if repo in spec else f" ({repo})")
