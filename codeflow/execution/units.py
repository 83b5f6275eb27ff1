"""Runs one unit of work so that it can be killed at any moment and run again.

A unit writes its tables under temporary names that become final one by one; its marker, which holds
its value, comes last. A unit with a marker is done and never runs again. What an unmarked unit left
behind is overwritten. Paths are stored relative to the folder, so that it can be moved.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from codeflow.contracts import TableWriter, Unit, UnitResult
from codeflow.errors import CodeflowError, LimitExceededError, RepositoryError
from codeflow.execution.failures import Failure, disk_error, is_repositorys
from codeflow.execution.process import tune
from codeflow.storage import files
from codeflow.storage.damage import reading
from codeflow.storage.layout import DONE, INTERMEDIATE, MINED
from codeflow.storage.shape import build


class UnitSink:
    """The sink of one unit: intermediates under `.work/parts`, kept tables under `mined`."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._repository, _, self._name = key.partition("/")
        self.tables: dict[str, str] = {}
        self.mined_tables: dict[str, str] = {}

    @contextmanager
    def table(self, name: str, schema: pa.Schema) -> Iterator[TableWriter]:
        """An intermediate table."""
        path = f"{INTERMEDIATE}/{self._repository}/{self._name}.{name}.arrow"
        with files.ipc(self._folder / path, schema) as writer:
            yield writer
        self.tables[name] = path

    @contextmanager
    def mined(self, name: str, schema: pa.Schema) -> Iterator[TableWriter]:
        """A table that stays."""
        path = f"{MINED}/{self._repository}/{name}-{self._name}.parquet"
        with files.parquet(self._folder / path, schema) as writer:
            yield writer
        self.mined_tables[name] = path


def find_result(unit_key: str, folder: Path) -> UnitResult | Failure | None:
    """What a unit gave in this or an earlier run; None when it is still to do."""
    path = folder / DONE / f"{unit_key}.json"
    marker = files.read_json(path)
    if marker is None:
        return None
    with reading(path, ValueError):
        if "failure" in marker:
            return build(Failure, marker["failure"])
        if not all(isinstance(marker.get(key), dict) for key in ("value", "tables", "mined")):
            raise ValueError("it is no marker of a unit")
    return _result(marker, folder)


def run_unit(unit: Unit, folder: Path) -> UnitResult | Failure:
    """Runs a unit unless it is done. An error of the repository's is a result, too.

    Raises:
        CodeflowError: the disk is full or not writable: the run must stop and can be resumed.
    """
    found = find_result(unit.key, folder)
    if found is not None:
        return found
    tune()
    sink = UnitSink(folder, unit.key)
    marker: dict[str, Any]
    try:
        value = unit.function(unit.arguments, sink)
        marker = {"value": value, "tables": sink.tables, "mined": sink.mined_tables}
    except RepositoryError as error:
        deterministic = not isinstance(error, LimitExceededError) or error.deterministic
        marker = {"failure": Failure(error.rule, error.reason, deterministic)._asdict()}
    except MemoryError:
        reason = "a unit ran out of memory"
        marker = {"failure": Failure("memory", reason, False)._asdict()}
    except OSError as error:
        if not is_repositorys(error, folder):
            raise disk_error(error, folder) from error
        reason = f"{Path(os.fsdecode(error.filename)).name}: {error.strerror}"
        marker = {"failure": Failure("unreadable", reason)._asdict()}
    except CodeflowError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        failure = Failure("internal-error", reason, True, traceback.format_exc())
        marker = {"failure": failure._asdict()}
    try:
        files.write_json(folder / DONE / f"{unit.key}.json", marker)
    except OSError as error:
        raise disk_error(error, folder) from error
    if "failure" in marker:
        return Failure(**marker["failure"])
    return _result(marker, folder)


def record_failure(unit_key: str, failure: Failure, folder: Path) -> None:
    """Makes a failure that happened outside the unit (its worker died) stick."""
    files.write_json(folder / DONE / f"{unit_key}.json", {"failure": failure._asdict()})


def _result(marker: dict[str, Any], folder: Path) -> UnitResult:
    return UnitResult(
        marker["value"],
        {name: str(folder / path) for name, path in marker["tables"].items()},
        marker["mined"],
    )


def forget_failure(unit_key: str, folder: Path) -> None:
    """Lets a unit that failed run again; one that is done stays done."""
    marker = folder / DONE / f"{unit_key}.json"
    if "failure" in (files.read_json(marker) or {}):
        marker.unlink()
