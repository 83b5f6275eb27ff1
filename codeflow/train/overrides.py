"""`--set KEY=VALUE`: a recipe's values from the command line, as strict as the file's."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Sequence
from typing import Any, Final

from codeflow.errors import UsageError

_WORD: Final = re.compile(r"[A-Za-z_./~][\w./-]*")  # a string that needs no quotes in a shell


def override(values: dict[str, Any], settings: Sequence[str]) -> None:
    """Puts `table.key=value` settings into a file's values. Raises UsageError that names one."""
    for setting in settings:
        _set(values, setting)
    _set_once(settings)


def _set(values: dict[str, Any], setting: str) -> None:
    """One `table.key=value` into a file's values. The value is TOML, or a word as it stands."""
    key, separator, text = setting.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not separator or not all(names) or not text.strip():
        raise UsageError(f"--set {setting}: write it as KEY=VALUE, as in optimizer.lr=3e-4")
    table: Any = values
    for done, name in enumerate(names[:-1], 1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {setting}: {'.'.join(names[:done])} is a value, not a table")
    table[names[-1]] = _value(setting, text.strip())


def _value(setting: str, text: str) -> Any:
    with contextlib.suppress(tomllib.TOMLDecodeError):
        parsed = tomllib.loads(f"value = {text}")
        if parsed.keys() == {"value"}:
            return parsed["value"]
    if not _WORD.fullmatch(text):
        raise UsageError(f"--set {setting}: {text!r} is neither a TOML value nor a word")
    return text


def _set_once(settings: Sequence[str]) -> None:
    keys = [setting.partition("=")[0].replace(" ", "") for setting in settings]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--set {key}: given {keys.count(key)} times; give it once")
