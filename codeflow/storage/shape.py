"""JSON that was stored, as the records that it was made of; another shape is an error that says
where it differs. A file of a folder may have been edited or cut; nothing is guessed."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from codeflow.errors import UsageError
from codeflow.records import SCHEMA_VERSION

T = TypeVar("T")


def build(cls: type[T], values: Any, where: str = "") -> T:
    """A frozen dataclass or NamedTuple from a JSON object (or, for a NamedTuple, a list).

    Keys that the record does not know are left out; those without a default must be there.

    Raises:
        ValueError: names the place that is not of its type.
    """
    hints = get_type_hints(cls)
    names = list(getattr(cls, "_fields", ())) or [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if isinstance(values, list) and issubclass(cls, tuple) and len(values) == len(names):
        values = dict(zip(names, values, strict=True))
    if not isinstance(values, Mapping):
        raise ValueError(f"{where or 'it'} is no object")
    arguments = {
        name: _value(hints[name], values[name], f"{where}.{name}" if where else name)
        for name in names
        if name in values
    }
    try:
        return cls(**arguments)
    except TypeError:
        lacking = ", ".join(name for name in names if name not in values)
        raise ValueError(f"{where or 'it'} lacks {lacking}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        [hint] = [one for one in inner if one is not type(None)]
        return _value(hint, value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        return {key: _value(inner[1], one, f"{where}.{key}") for key, one in value.items()}
    if origin is not None and issubclass(origin, Sequence):
        if not isinstance(value, list):
            raise ValueError(f"{where} is no list")
        made = [_value(inner[0], one, f"{where}[{k}]") for k, one in enumerate(value)]
        return tuple(made) if origin is tuple else made
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):
        return build(hint, value, where)
    if hint is float and type(value) is int:
        return value
    if type(value) is not hint:
        raise ValueError(f"{where} is no {hint.__name__}")
    return value


def require_schema(folder: Path, version: int) -> None:
    """Refuses what a codeflow with other tables left: nothing of it can be gone on with."""
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{folder}: was mined with schema version {version}, this codeflow has "
            f"{SCHEMA_VERSION}; use --fresh to mine again, or the version that mined it"
        )
