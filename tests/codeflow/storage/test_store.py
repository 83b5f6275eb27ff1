"""URLs of object stores: what is one, errors in one line, no secrets, and a whole run to one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest

import codeflow
import faults
from codeflow.cli import main
from codeflow.errors import CodeflowError
from codeflow.storage import transfer as remote
from codeflow.storage.store import Store, is_url, shown
from codeflow.storage.transfer import download, upload
from object_store import SECRET, store_of
from small_history import small_history

s3fs = pytest.importorskip("s3fs")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("s3://no-such-bucket-here/x", "no-such-bucket-here"),
        ("nonsense://bucket/x", "nonsense"),
        ("memory://x", ""),
    ],
)
def test_errors_are_one_line(
    bad: str, says: str, s3: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise PermissionError("Access Denied\nfor reasons")

    if bad.startswith("memory"):
        monkeypatch.setattr(Store, "put", refuse)
    with pytest.raises(CodeflowError) as caught:
        upload(data[0], bad)
    text = str(caught.value)
    assert says in text
    assert text.startswith(bad)
    assert "\n" not in text
    assert SECRET not in text


def test_a_store_that_does_not_answer_is_one_line(
    s3: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(CodeflowError, match=r"127\.0\.0\.1:9.*goes on from here") as caught:
        upload(data[0], s3)
    assert "\n" not in str(caught.value)


def test_secrets_are_nowhere(
    s3: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload(data[0], s3)
    download(s3, tmp_path / "back")
    kept = [path for folder in (data[0], tmp_path / "back") for path in folder.rglob("*")]
    everything = [path.read_bytes() for path in kept if path.is_file()] + [*store_of(s3).values()]
    assert not [data for data in everything if SECRET.encode() in data]

    for url in (f"ftp://me:{SECRET}@127.0.0.1:9/x", f"sftp://me:{SECRET}%40@host/x?sig={SECRET}"):
        assert shown(url) in ("ftp://127.0.0.1:9/x", "sftp://host/x")
        assert SECRET not in str(remote.work_folder(url))
        with pytest.raises(CodeflowError) as caught:
            upload(data[0], url)
        assert SECRET not in str(caught.value)


def test_what_is_a_url() -> None:
    for text in ("s3://b", "gs://b/x", "memory://x", "abfs://c@a.host/x", "file:///x", "S3://b"):
        assert is_url(text), text
    for text in ("data", "/data", "./s3:/b", "c:/x", "C://x", "a b://x", os.curdir):
        assert not is_url(text), text


def test_a_url_has_one_work_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    one = remote.work_folder("s3://bucket/prefix")
    assert one == remote.work_folder("s3://bucket/prefix/")
    assert one != remote.work_folder("s3://bucket2/prefix")
    assert one.name.startswith("prefix-")
    assert remote.work_folder("s3://b/..").parent == one.parent


def test_a_run_goes_to_a_url_and_is_read_from_there(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way from the command line, and the same bytes as a run into a folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    small_history(tmp_path / "small.git")
    listing = tmp_path / "list.txt"
    listing.write_text("small.git\n")
    words = ["mine", "--repos", str(listing), "--until", "mine", "--workers", "1"]
    assert main([*words, "--out", s3, "--work", str(tmp_path / "work")]) == 0
    assert f"codeflow inspect {s3}" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "here")]) == 0
    here = faults.published(tmp_path / "here")
    there = fsspec.filesystem("s3")
    prefix = s3.removeprefix("s3://")
    found = {path.removeprefix(f"{prefix}/"): there.cat_file(path) for path in there.find(prefix)}
    assert found == here
    opened = codeflow.open(s3)
    assert [t.id for t in opened.triples()] == [
        t.id for t in codeflow.open(tmp_path / "here").triples()
    ]
    assert main(["verify", s3]) == 0
    assert main([*words, "--out", str(tmp_path / "x"), "--work", "w"]) == 2
    assert main([*words, "--out", s3, "--work", str(tmp_path / "work")]) == 0  # nothing to do
