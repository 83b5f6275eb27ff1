"""A dataset goes to an object store and back: whole, one put a file, and only what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest

from codeflow.dataset import reader as dataset
from codeflow.dataset.verify import verify
from codeflow.storage import layout, manifest
from codeflow.storage.transfer import download, upload
from object_store import published, store_of, watch

s3fs = pytest.importorskip("s3fs")


def test_there_and_back(url: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    first, _ = data
    done = upload(first, url)
    assert store_of(url) == published(first)
    listed = manifest.read(first)["files"]
    assert done == (len(listed), sum(line["bytes"] for line in listed), 0)

    back = download(url, tmp_path / "back")
    assert published(tmp_path / "back") == published(first)
    assert back == done
    assert verify(tmp_path / "back").ok
    assert [t.id for t in dataset.open(tmp_path / "back").triples()] == [
        t.id for t in dataset.open(first).triples()
    ]
    assert upload(first, url + "/") == download(url, tmp_path / "back") == (0, 0, len(listed))


def test_a_second_upload_puts_nothing(
    memory: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(data[0], memory)
    seen = watch(monkeypatch, lambda request: None)
    upload(data[0], memory)
    assert seen == []
    fsspec.filesystem("memory").pipe_file("/bucket/data/one/README.md", b"of somebody")
    upload(data[0], memory)
    assert seen == [], "what is not ours stays, and costs nothing"


def test_one_put_a_file(s3: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the store's client counts them."""
    calls: list[tuple[str, str]] = []
    plain = s3fs.S3FileSystem._call_s3

    async def counting(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        if "put" in method or "upload" in method:
            calls.append((method, str(named.get("Key"))))
        return await plain(self, method, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counting)
    upload(data[0], s3)
    names = sorted([*published(data[0]), layout.UPLOAD_MARK])
    assert sorted(calls) == [("put_object", f"data/one/{name}") for name in names]
    assert [key for _, key in calls][-1] == "data/one/manifest.json"


def test_another_dataset_takes_the_place(url: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = data
    upload(first, url)
    download(url, tmp_path / "back")
    assert set(published(second)) != set(published(first)), "some names go, some stay"
    assert set(published(second)) & set(published(first)) - {layout.MANIFEST}
    upload(second, url)
    assert store_of(url) == published(second)
    download(url, tmp_path / "back")
    assert published(tmp_path / "back") == published(second)
