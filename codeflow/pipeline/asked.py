"""What a folder was last asked for, `.work/asked.json`: the stages, and the settings of each.

It stays until something else is asked for: a command changes what it names and nothing more, and
says each change before it makes it. What a run refuses, or what it finds to be wrong usage, was
never asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeflow.config import differing_keys
from codeflow.curation.chain import record_path, stored
from codeflow.errors import DataError, UsageError
from codeflow.storage import files
from codeflow.storage.damage import reading
from codeflow.storage.layout import ASKED, STAGES
from codeflow.storage.shape import build

TABLES = (*STAGES, "tokens")
"""Those of the settings that may change from one run in a folder to the next."""

_ABSENT = object()


@dataclass(frozen=True)
class Asked:
    """Names of the stages that decide, in order; settings by table, as plain values."""

    stages: tuple[str, ...]
    tables: Mapping[str, Mapping[str, Any]]


def read(folder: Path) -> Asked | None:
    """What a folder was asked for. Raises DataError when the file is damaged."""
    values = files.read_json(folder / ASKED)
    if values is None:
        return None
    with reading(folder / ASKED, ValueError):
        return build(Asked, values)


def asked_of(folder: Path) -> Asked | None:
    """What a folder was last asked for; None for one that was not asked for anything.

    Others may have left decisions there: `--until filter` does not undo what dedup decided before.
    Without `.work/`, the stages that have decisions, and what these say.

    Raises:
        DataError: what it was asked for is damaged.
    """
    asked = read(folder)
    if asked is not None:
        return asked
    found: dict[str, Mapping[str, Any]] = {}
    for name in STAGES:
        try:
            record = stored(folder, name)
        except DataError:
            path = record_path(folder, name)
            raise DataError(
                f"{path}: is damaged; remove it, and give the options of `codeflow {name}` again"
            ) from None
        if record is not None and record.complete:
            found[name] = record.settings if record.asked is None else record.asked
    return Asked(tuple(found), found) if found else None


def chain_of(folder: Path) -> frozenset[str]:
    """Names of the stages that the folder was last asked for."""
    asked = asked_of(folder)
    return frozenset(asked.stages if asked is not None else ())


@contextmanager
def asking(folder: Path, asked: Asked) -> Iterator[None]:
    """Stores what is asked for; when that proves to be wrong usage, what was asked for before."""
    before = read(folder)
    if before != asked:
        files.write_json(folder / ASKED, asdict(asked))
    try:
        yield
    except UsageError:
        if before is None:
            (folder / ASKED).unlink(missing_ok=True)
        else:
            files.write_json(folder / ASKED, asdict(before))
        raise


def changes(before: Asked, after: Asked) -> list[str]:
    """A line for each thing that is asked for otherwise than before."""
    lines = []
    gone = [name for name in before.stages if name not in after.stages]
    new = [name for name in after.stages if name not in before.stages]
    if gone:
        lines.append(f"leaves out {', '.join(gone)}, which this folder had")
    if new:
        lines.append(f"goes on to {', '.join(new)}, which this folder did not have")
    for table in TABLES:
        old, now = before.tables.get(table, {}), after.tables.get(table, {})
        lines += differences(table, old, now)
    return lines


def differences(table: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """A line for each key of one table whose values differ."""
    return [
        f"changes {table}.{key} from {_shown(old, key)} to {_shown(new, key)}"
        for key in differing_keys(old, new)
    ]


def kept_rules(before: Asked, after: Asked, running: Sequence[str]) -> list[str]:
    """A line for each parameter of a running filter that stays from before other filters were
    chosen: whoever names a profile should know that it is not the plain one."""
    old, new = before.tables.get("filter", {}), after.tables.get("filter", {})
    if old.get("filters") == new.get("filters"):
        return []
    return [
        f"keeps filter.rules.{name}.{key} = {json.dumps(value)}, as asked for before; "
        "a [filter] table in --config says all of it anew"
        for name, values in new.get("rules", {}).items()
        for key, value in values.items()
        if name in running and old.get("rules", {}).get(name, {}).get(key, _ABSENT) == value
    ]


def _shown(values: Any, dotted: str) -> str:
    for name in dotted.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return "its default"
        values = values[name]
    return json.dumps(values, ensure_ascii=False)
