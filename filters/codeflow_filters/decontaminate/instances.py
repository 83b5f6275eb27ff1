"""Reads benchmark instances from JSON lines, strictly: what is skipped silently is never matched.

Fields are those of SWE-bench (`instance_id`, `repo`, `base_commit`, `created_at`, and patches);
every other string, however deeply nested, is text to look for (`prompt`, `canonical_solution`,
`problem_statement`, `test_list`, ...), apart from names that only identify things. A string that is
a unified diff counts as a patch, whatever its field is called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from codeflow.config import read_text
from codeflow.errors import UsageError

ID_FIELDS: Final = ("instance_id", "task_id", "id", "name")
NOT_TEXT: Final = frozenset(
    {
        *ID_FIELDS,
        *("repo", "base_commit", "environment_setup_commit", "pull_number", "version", "url"),
        *("created_at", "updated_at", "language", "license", "difficulty", "source_file"),
        *("entry_point", "image_name", "docker_image", "FAIL_TO_PASS", "PASS_TO_PASS"),
    }
)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_DIFF = re.compile(r"^(?:diff --git |--- )[^\n]*\n(?:[^\n]*\n){0,12}?@@ ", re.MULTILINE)
_MILLISECONDS_FROM: Final = 1e11  # no benchmark is from the year 5138


class Instance(NamedTuple):
    """One task of a benchmark.

    Attributes:
        id: its name, or where it stands when it has none.
        where: file name and line.
        repo: `owner/name` in lower case, or None.
        base_commit: full id of the commit that the task starts from, or None.
        texts, patches: (field, value).
    """

    id: str
    where: str
    repo: str | None
    base_commit: str | None
    created_at: datetime | None
    texts: tuple[tuple[str, str], ...]
    patches: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.id} ({self.where})"


def read_instances(files: Sequence[str | Path]) -> list[Instance]:
    """All instances of some files; one that stands in several with the same contents, once.

    Raises:
        UsageError: names the file and line of what cannot be read or can match nothing.
    """
    found: dict[tuple[Any, ...], Instance] = {}
    for file in files:
        before = len(found)
        count = 0
        for instance in _read(Path(file)):
            count += 1
            found.setdefault((instance.id, *instance[2:]), instance)
        if count == 0 and len(found) == before:
            raise UsageError(f"{file}: holds no instance; give JSON lines, one instance a line")
    return list(found.values())


def _read(path: Path) -> Iterator[Instance]:
    for number, line in enumerate(read_text(path, "instances").split("\n"), 1):
        if line.strip():
            yield _instance(line, path, number)


def _instance(line: str, path: Path, number: int) -> Instance:
    def wrong(what: str) -> UsageError:
        return UsageError(f"{path}:{number}: {what}")

    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise wrong(f"not JSON: {reason}; give one object a line") from None
    if not isinstance(row, dict):
        raise wrong(f"expected an object, got {type(row).__name__}; give one instance a line")
    for name in ("repo", "base_commit"):
        if not isinstance(row.get(name, ""), str | None):
            raise wrong(f"{name}: expected a string, got {row[name]!r}")
    base = (row.get("base_commit") or "").strip().lower() or None
    if base is not None and _COMMIT.fullmatch(base) is None:
        raise wrong(f"base_commit {base!r}: not a full commit id; give all of its digits")
    try:
        created_at = _time(row.get("created_at"))
    except (ValueError, TypeError, OverflowError, OSError):
        value = row["created_at"]
        raise wrong(f"created_at {value!r}: not a time; write it as 2024-01-31T12:00:00Z") from None
    texts: list[tuple[str, str]] = []
    patches: list[tuple[str, str]] = []
    for name, value in row.items():
        if name not in NOT_TEXT:
            for text in filter(str.strip, _strings(value)):
                (patches if _DIFF.search(text) else texts).append((name, text))
    where = f"{path.name}:{number}"
    names = (row[name] for name in ID_FIELDS if isinstance(row.get(name), str | int))
    repo = (row.get("repo") or "").strip().lower().removesuffix(".git") or None
    if not texts and not patches and base is None:
        raise wrong("nothing to look for: no text, no patch and no base_commit")
    id = str(next(names, where))
    return Instance(id, where, repo, base, created_at, tuple(texts), tuple(patches))


def _time(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS_FROM else value, UTC)
    time = datetime.fromisoformat(value)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        if value and all(isinstance(inner, str) for inner in value):
            yield "\n".join(value)  # tests of MBPP: a text a line
        else:
            for inner in value:
                yield from _strings(inner)
