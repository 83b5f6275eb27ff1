"""Configuration: one frozen dataclass a concern, read strictly from `codeflow.toml`; and the one
way in which files that a user hands over become text.

Every value that can change a published byte is in here, and `stage_hash` turns it into the stage's
identity. Workers, addresses and displays are not configuration of the data and stay out.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from codeflow.errors import UsageError
from codeflow.records import SCHEMA_VERSION

WINDOW_BY = ("commits", "time", "changes")
_WORD: Final = re.compile(r"[A-Za-z_./~][\w./-]*")  # a string that needs no quotes in a shell


@dataclass(frozen=True)
class Projection:
    """Which files of a repository are seen at all: regular text files and symlinks.

    With `drop_secrets`, a version of a file that holds a key or token is not seen, either.
    """

    max_file_bytes: int = 1 << 20
    drop_secrets: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_file_bytes < 1 << 31:  # sizes are stored in 32 bits
            raise UsageError(f"max_file_bytes = {self.max_file_bytes}: give 1 or more, under 2 GiB")

    @property
    def identity(self) -> str:
        """The part of a triple's id that says how it was projected."""
        return f"text-1:{self.max_file_bytes}{':no-secrets' if self.drop_secrets else ''}"


@dataclass(frozen=True)
class Window:
    """The mature part of a project's life, half-open, in positions from 0 to 1 (IQuest-Coder-V1,
    arXiv 2603.16733, code flow)."""

    start: float = 0.4
    stop: float = 0.8
    by: str = "commits"

    def __post_init__(self) -> None:
        for name in ("start", "stop"):  # 0 and 0.0 are one window
            object.__setattr__(self, name, float(getattr(self, name)))
        if not 0 <= self.start < self.stop <= 1:
            raise UsageError(
                f"window {self.start}:{self.stop}: need 0 <= start < stop <= 1, as in 0.4:0.8"
            )
        if self.by not in WINDOW_BY:
            raise UsageError(f"window by {self.by!r}: choose one of {', '.join(WINDOW_BY)}")


@dataclass(frozen=True)
class Limits:
    """Bounds on one repository or triple; what exceeds one is quarantined with its reason."""

    min_commits: int = 20
    max_commits: int = 2_000_000
    max_tree_files: int = 500_000
    max_triple_files: int = 5_000
    max_patch_bytes: int = 8 << 20
    rename_candidates: int = 100
    unit_seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field_ in dataclasses.fields(self):
            least = 0 if field_.name in ("rename_candidates", "unit_seconds") else 1
            if not getattr(self, field_.name) >= least:  # a NaN is not, either
                value = getattr(self, field_.name)
                raise UsageError(f"{field_.name} = {value}: give {least} or more")


@dataclass(frozen=True)
class MineConfig:
    """Everything that decides what mining publishes, apart from the repositories themselves."""

    kinds: tuple[str, ...] = ("span", "commit")
    window: Window = field(default_factory=Window)
    projection: Projection = field(default_factory=Projection)
    limits: Limits = field(default_factory=Limits)
    author_ids: bool = True
    """Whether triples carry a pseudonym of their author, see `codeflow_miners.history.authors`."""
    miners: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters of each kind of miner, as in `[mine.miners.span]`."""

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if not isinstance(kind, str):
                raise UsageError(f"kinds: {kind!r} is not a name; write it as ['span', 'commit']")
        if not isinstance(self.miners, Mapping):
            raise UsageError(f"miners: expected a table, got {self.miners!r}")
        for kind, values in self.miners.items():
            if not isinstance(values, Mapping):
                raise UsageError(f"miners.{kind}: expected a table, got {values!r}")
        # the data do not depend on their order, so the identity of a run must not, either
        object.__setattr__(self, "kinds", tuple(sorted(set(self.kinds), reverse=True)))


T = TypeVar("T")


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Builds a configuration dataclass; unknown keys and wrong types are errors that help.

    Raises:
        UsageError: names the key, where it stands, and the nearest known one.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            raise UsageError(f"{where}: unknown key {key!r}{hint}")
        default = fields[key].default
        factory = fields[key].default_factory
        if default is dataclasses.MISSING and factory is not dataclasses.MISSING:
            default = factory()
        dot = "" if where.endswith(": ") else "."  # after the name of a file
        arguments[key] = _coerce(value, default, f"{where}{dot}{key}")
    return cls(**arguments)


def _coerce(value: Any, default: Any, where: str) -> Any:
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected a table, got {value!r}")
        return from_mapping(type(default), value, where)
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{where}: expected a list, got {value!r}")
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, Mapping):
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected a table, got {value!r}")
        return value
    if default is not dataclasses.MISSING and type(value) is not type(default):
        expected = type(default).__name__
        raise UsageError(f"{where}: expected {expected}, got {value!r}")
    return value


def require_within(config: object, **bounds: tuple[float, float]) -> None:
    """Checks numbers of a configuration, for its `__post_init__`.

    Args:
        bounds: by name of field, the least and the largest value that makes sense.

    Raises:
        UsageError: names the field, what it is and what it may be; NaN is never within.
    """
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        if not least <= value <= most:
            what = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise UsageError(f"{name} = {value}: give {what}")


# UTF-32 before UTF-16, whose mark it begins with
_OTHER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_MARK: Final = "\ufeff"


def decode_text(data: bytes) -> str:
    """What a file of a user says: UTF-8, every line ended by a newline alone.

    A byte order mark at the start of the file or of a line (where files were joined) is left out:
    editors write it, nobody sees it, and with it no name, key or word is what it seems to be.

    Raises:
        ValueError: it is no UTF-8 text; says what it is and what to do.
    """
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            raise ValueError(f"{name} text; save it as UTF-8")
    if (at := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, at) + 1
        raise ValueError(f"a NUL byte in line {line}, as in UTF-16 or no text; save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"not UTF-8 text in line {line}; save it as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.removeprefix(_MARK).replace(f"\n{_MARK}", "\n")


def read_text(path: str | Path, what: str) -> str:
    """A text file that a user hands over, as `decode_text` has it.

    Args:
        what: names it in messages: "list", "configuration".

    Raises:
        UsageError: one line that names the file, what is wrong with it and what to do.
    """
    try:
        return decode_text(Path(path).read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{path}: cannot read the {what}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot read the {what}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: cannot read the {what}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file. Raises UsageError with the line for anything wrong with it."""
    text = read_text(path, "configuration")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from None


def as_mapping(config: object) -> dict[str, Any]:
    """The configuration as plain JSON values, the form that is stored and compared."""
    mapping: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))  # type: ignore[call-overload]
    return mapping


def stage_hash(config: Mapping[str, Any], parent: str = "") -> str:
    """Identity of a stage's output: its own keys, the schema version, and its parent's hash."""
    text = json.dumps([SCHEMA_VERSION, parent, config], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of the keys whose values differ between two stored configurations."""
    names: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            names += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            names.append(prefix + key)
    return names


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
