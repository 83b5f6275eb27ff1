"""Files of rows: every form gives the same rows, in order; what is broken is told where it is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeflow.documents.read import files as module
from codeflow.documents.read.files import Broken, Row, find_files
from codeflow.errors import DataError, UsageError

VALUES: list[dict[str, Any]] = [
    {"text": f"caf\u00e9 {k}", "n": {"k": [k, None]}} for k in range(150)
]
LINES = "".join(json.dumps(v, ensure_ascii=False) + "\n" for v in VALUES).encode()


def rows(*places: object) -> list[Row | Broken]:
    return [row for file in find_files([str(p) for p in places]) for row in file.rows()]


def values(*places: object) -> list[Any]:
    found = rows(*places)
    assert not [row for row in found if isinstance(row, Broken)]
    return [row.values for row in found if isinstance(row, Row)]


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\r\n").rstrip()),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.jsonl.gz", gzip.compress(LINES[: LINES.index(b"\n") + 1])
         + gzip.compress(LINES[LINES.index(b"\n") + 1 :])),
        ("a.json.zst", zstd(LINES)),
        ("a.jsonl.zst", zstd(LINES[: LINES.index(b"\n") + 1])
         + zstd(LINES[LINES.index(b"\n") + 1 :])),
        ("A.JSON", LINES),
        ("a.json", json.dumps(VALUES, indent=1).encode()),
        ("a.json.gz", gzip.compress(json.dumps(VALUES).encode())),
    ],
)  # fmt: skip
def test_every_form_of_json_gives_the_rows(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert values(path) == VALUES


def test_tables_give_the_rows(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(VALUES)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=40)
    for name, form in (("b", pa.ipc.new_stream), ("c", pa.ipc.new_file)):  # `datasets` has streams
        path = str(tmp_path / f"{name}.arrow")
        with pa.OSFile(path, "wb") as file, form(file, table.schema) as writer:
            writer.write_table(table, 70)
    for name in ("a.parquet", "b.arrow", "c.arrow"):
        found = rows(tmp_path / name)
        assert [row.values for row in found if isinstance(row, Row)] == VALUES
        assert all(isinstance(row, Row) and row.table for row in found)
        assert found[77].where == f"{tmp_path / name}: row 77"


def test_a_folder_of_hugging_face(tmp_path: Path) -> None:
    """Data files by name; not its notes about itself."""
    (tmp_path / "data").mkdir()
    for number in (1, 0):
        part = pa.Table.from_pylist(VALUES[number * 75 : number * 75 + 75])
        pq.write_table(part, tmp_path / "data" / f"train-0000{number}-of-00002.parquet")
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "README.md").write_text("# it")
    (tmp_path / ".cache.jsonl").write_text("{}")
    assert values(tmp_path) == VALUES
    assert values(f"{tmp_path}/data/*.parquet") == VALUES
    assert values(tmp_path, tmp_path / "data") == VALUES, "each file once"


def test_datasets_reads_what_we_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(VALUES).save_to_disk(str(tmp_path / "saved"))
    assert values(tmp_path / "saved") == VALUES


def test_urls(tmp_path: Path) -> None:
    import fsspec

    with fsspec.open("memory://docs13/a.jsonl", "wb") as file:
        file.write(LINES)
    assert values("memory://docs13") == VALUES
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES)
    assert values(f"file://{path}") == VALUES


def test_one_file_a_trajectory(tmp_path: Path) -> None:
    for k in range(3):
        text = json.dumps({"messages": [k]}, indent=2 if k else None)
        (tmp_path / f"task-{k}.traj.json").write_text(text)
    assert values(tmp_path) == [{"messages": [k]} for k in range(3)]


def test_what_is_no_row_is_told_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    path = tmp_path / "a.jsonl"
    long = b'{"text": "' + b"x" * 200 + b'"}'
    bad = (b"[1]", b"{", b'{"a": NaN}', b'{"a": "\xff"}', b"[" * 90, long, b'{"a": 1}')
    path.write_bytes(b"\n".join(bad))
    found = rows(path)
    told = [(row.where, row.reason) for row in found if isinstance(row, Broken)]
    reasons = ("no-object", "not-json", "not-json", "not-utf8", "not-json", "too-large")
    assert told == [(f"{path}:{n}", reason) for n, reason in enumerate(reasons, 1)]
    assert found[-1] == Row(f"{path}:7", {"a": 1}, False)
    assert all("\n" not in row.detail for row in found if isinstance(row, Broken))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl.gz", gzip.compress(LINES)[:-20]),
        ("a.jsonl.gz", b"no gzip"),
        ("a.jsonl.zst", zstd(LINES)[:-20]),
        ("a.jsonl.zst", b"no zstd at all"),
        ("a.parquet", b"PAR1 no"),
        ("a.arrow", b"ARROW1 no"),
    ],
)
def test_a_damaged_file_ends_the_reading(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        rows(path)
    assert str(caught.value).startswith(f"{path}: cannot be read: ")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("# nothing")
    (tmp_path / "a.csv").write_text("a,b")
    (tmp_path / "a.parquet.gz").write_text("")
    for place, message in (
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path / "a.csv", "is not read; give"),
        (tmp_path / "a.parquet.gz", "is not read; give"),
        (tmp_path / "empty", "no .jsonl, .ndjson"),
        (f"{tmp_path}/*.jsonl", "no such file"),
        ("nosuch://x/y.jsonl", "nosuch"),
    ):
        with pytest.raises(UsageError, match=message):
            find_files([str(place)])
