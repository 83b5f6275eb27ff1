"""What is not transferred: damage, other people's files, and names that lead outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import fsspec
import pytest

from codeflow.errors import DataError, UsageError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import layout, manifest
from codeflow.storage.lock import locked
from codeflow.storage.transfer import download, upload
from object_store import published, store_of


def test_somebody_elses_files_are_left_alone(memory: str, data: tuple[Path, Path]) -> None:
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file("/bucket/data/one/blobs/mine.parquet", b"x")
    with pytest.raises(UsageError, match=r"holds other files \(blobs/mine"):
        upload(data[0], memory)
    filesystem.pipe_file(f"/bucket/data/one/{layout.MANIFEST}", b'{"name": "of a browser"}')
    with pytest.raises(UsageError, match="not codeflow's"):
        upload(data[0], memory)
    assert set(store_of(memory)) == {"blobs/mine.parquet", layout.MANIFEST}


def test_a_damaged_folder_is_not_uploaded(memory: str, data: tuple[Path, Path]) -> None:
    first, _ = data
    path = first / "trees" / "00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"trees/00000.*codeflow verify"):
        upload(first, memory)
    assert layout.MANIFEST not in store_of(memory)
    (first / layout.MANIFEST).write_text((first / layout.MANIFEST).read_text() + " ")
    with pytest.raises(DataError, match="is damaged"):
        upload(first, memory)


def test_a_damaged_store_is_not_downloaded(
    memory: str, data: tuple[Path, Path], tmp_path: Path
) -> None:
    first, _ = data
    upload(first, memory)
    filesystem = fsspec.filesystem("memory")
    name = "/bucket/data/one/trees/00000-of-00001.parquet"
    filesystem.pipe_file(name, filesystem.cat_file(name)[:-1] + b"?")
    with pytest.raises(DataError, match=r"trees/00000.*not what the manifest says"):
        download(memory, tmp_path / "back")
    assert not (tmp_path / "back" / layout.MANIFEST).exists()
    assert not (tmp_path / "back" / "trees" / "00000-of-00001.parquet").exists()


@pytest.mark.parametrize(
    "name", ["../out", "/etc/out", "triples/../../out", ".work/run.json", "", "a\\..\\b"]
)
def test_a_manifest_does_not_lead_out_of_the_folder(name: str, memory: str, tmp_path: Path) -> None:
    line = {"path": name, "rows": 1, "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    values = {"schema_version": SCHEMA_VERSION, "files": [line]}
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe_file(f"/bucket/data/one/{layout.MANIFEST}", manifest.seal(values))
    with pytest.raises(DataError, match="no published file"):
        download(memory, tmp_path / "in" / "back")
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["back"]


def test_a_folder_with_other_files_is_left_alone(
    memory: str, data: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = data
    upload(first, memory)
    before = published(second)
    with pytest.raises(UsageError, match="holds other files"):
        download(memory, second)
    assert published(second) == before
    with locked(first), pytest.raises(UsageError, match="another run"):
        upload(first, memory)
