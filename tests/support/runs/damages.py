"""Ways in which a file of a dataset folder may be damaged, and the commands that may meet it."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow import cli


class Done(NamedTuple):
    """What came of a command."""

    status: int
    out: str
    err: str


def run(*words: object) -> Done:
    """A command in this process; what escapes it is the caller's to fail on."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([str(word) for word in words])
    return Done(status, out.getvalue(), err.getvalue())


def told(done: Done, what: object) -> str:
    """The one line that an unsuccessful command ends with, or nothing.

    Fails where there is none, where it is more than a line, or where it is a traceback.
    """
    text = done.out + done.err
    assert "Traceback" not in text, f"{what}\n{text}"
    assert done.status in (0, 1, 2), f"{what}\n{text}"
    if done.status == 0:
        return ""
    lines = (done.err or done.out).strip().splitlines()
    assert lines, what
    if done.out.startswith("damaged") or "problem" in done.out:  # verify's own account
        return done.out.strip().splitlines()[-1]
    if lines[-1].startswith("codeflow: "):
        assert sum(line.startswith("codeflow: ") for line in lines) == 1, f"{what}\n{text}"
        assert re.search(r"; |: ", lines[-1].removeprefix("codeflow: ")), f"{what}\n{text}"
        return lines[-1]
    raise AssertionError(f"{what}\n{text}")


def _missing(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()  # not in place: other names of the file keep it whole
    path.write_bytes(data[: len(data) // 2])


def _cut_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    path.unlink()
    data[len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))


def _flipped_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.unlink()
        path.write_text(text)

    return write


def _other_columns(path: Path) -> None:
    path.unlink()
    pq.write_table(pa.table({"x": [1, 2, 3]}), path)


def _other_types(path: Path) -> None:
    """The same names, all of them numbers."""
    table = pq.ParquetFile(path).schema_arrow.empty_table()
    path.unlink()
    pq.write_table(pa.table({name: [1, 2] for name in table.column_names}), path)


def _emptied(path: Path) -> None:
    """A sound file of the right columns, without rows."""
    table = pq.ParquetFile(path).schema_arrow.empty_table()
    path.unlink()
    pq.write_table(table, path)


def _not_utf_8(path: Path) -> None:
    path.write_bytes(b'{"a": "\xff"}')


ANY: dict[str, Callable[[Path], None]] = {
    "missing": _missing,
    "empty": _empty,
    "truncated": _truncated,
    "cut in place": _cut_in_place,
    "flipped": _flipped,
    "flipped in place": _flipped_in_place,
    "a folder": _folder,
    "text": _text("not what it was\n"),
}
JSON: dict[str, Callable[[Path], None]] = {
    "list": _text("[]"),
    "null": _text("null"),
    "other keys": _text('{"a": 5}'),
    "no keys": _text("{}"),
    "deep": _text("[" * 100_000),
    "not utf-8": _not_utf_8,
}
PARQUET: dict[str, Callable[[Path], None]] = {
    "other columns": _other_columns,
    "other types": _other_types,
    "emptied": _emptied,
}


def ways(path: Path) -> dict[str, Callable[[Path], None]]:
    """The ways to damage a file, by its kind."""
    more = {".json": JSON, ".parquet": PARQUET}.get(path.suffix, {})
    return {**ANY, **more}


def targets(folder: Path) -> list[str]:
    """One file of each kind that a folder has, relative to it."""
    found: dict[str, str] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "lock"):
        name = path.relative_to(folder).as_posix()
        kind = re.sub(r"small[^/]*/|[0-9a-f]{16}|-\d{4,}|-of", "", name)
        found.setdefault(kind, name)
    return list(found.values())


def copied(source: Path, target: Path) -> Path:
    """A copy in which names that are one file still are."""
    names: dict[int, Path] = {}

    def copy(one: str, other: str) -> str:
        number = Path(one).stat().st_ino
        if number in names:
            Path(other).hardlink_to(names[number])
        else:
            shutil.copy2(one, other)
            names[number] = Path(other)
        return other

    shutil.copytree(source, target, copy_function=copy)
    return target
