"""A transfer that was killed goes on, and a reader sees a whole dataset or none at any moment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from codeflow.errors import DataError
from codeflow.storage import layout, manifest
from codeflow.storage.store import Store
from codeflow.storage.transfer import download, upload
from object_store import Request, is_whole, published, store_of, watch


@pytest.mark.parametrize("replacing", [False, True])
def test_killed_at_any_request_and_resumed(
    memory: str, data: tuple[Path, Path], replacing: bool
) -> None:
    """A reader sees a whole dataset or none, and no file is put twice."""
    first, second = data
    at = 0
    while True:
        shutil.rmtree(second / layout.WORK, ignore_errors=True)
        fsspec.filesystem("memory").store.clear()
        if replacing:
            upload(first, memory)

        requests = iter(range(at))

        def stop(request: Request, requests: Iterator[int] = requests) -> None:
            assert is_whole(store_of(memory)), request
            if next(requests, None) is None:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            seen = watch(patch, stop)
            try:
                upload(second, memory)
                break  # there were fewer requests
            except KeyboardInterrupt:
                assert is_whole(store_of(memory))
        with pytest.MonkeyPatch.context() as patch:
            again = watch(patch, lambda request: None)
            done = upload(second, memory)
        assert store_of(memory) == published(second)
        puts = [
            path
            for action, path in (*seen, *again)
            if action == "put" and path != layout.UPLOAD_MARK
        ]
        assert sorted(puts) == sorted(published(second))
        assert done.files == len([r for r in again if r.action == "put" and "/" in r.path])
        at += 1
    assert at >= len(published(second)) + 2


def test_resumes_on_s3(
    s3: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = data
    upload(first, s3)

    def stop(request: Request) -> None:
        assert is_whole(store_of(s3)), request
        if request == ("put", "trees/00000-of-00001.parquet"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        seen = watch(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            upload(second, s3)
    with pytest.raises(DataError, match="not a dataset"):
        download(s3, tmp_path / "back")
    put = {path for action, path in seen if action == "put"} - {layout.UPLOAD_MARK}
    assert put, "the test needs a file that was put"
    again = watch(monkeypatch, lambda request: None)
    assert upload(second, s3).skipped == len(put)
    assert not put & {path for action, path in again if action == "put"}
    assert store_of(s3) == published(second)


def test_what_changed_since_is_put_again(
    memory: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal sizes are not enough: the store's checksum has to be the one of the journal."""
    first, _ = data
    name = "blobs/00000-of-00001.parquet"

    def stop(request: Request) -> None:
        if request == ("put", layout.MANIFEST):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        watch(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            upload(first, memory)
    size = (first / name).stat().st_size
    fsspec.filesystem("memory").pipe_file(f"/bucket/data/one/{name}", b"x" * size)
    assert upload(first, memory).files == 1
    assert store_of(memory) == published(first)


def test_without_its_journal_everything_is_put_again(
    memory: str, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = data
    upload(first, memory)
    fsspec.filesystem("memory").rm_file(f"/bucket/data/one/{layout.MANIFEST}")
    fsspec.filesystem("memory").pipe_file(f"/bucket/data/one/{layout.UPLOAD_MARK}", b"")
    shutil.rmtree(first / layout.WORK)
    assert upload(first, memory).skipped == 0
    # with a journal whose last line is half
    fsspec.filesystem("memory").mv(
        f"/bucket/data/one/{layout.MANIFEST}", f"/bucket/data/one/{layout.UPLOAD_MARK}"
    )
    [journal] = (first / layout.WORK).glob("uploaded-*")
    journal.write_text(journal.read_text().rstrip()[:-9])
    assert upload(first, memory).files == 1


def test_a_download_goes_on(memory: str, data: tuple[Path, Path], tmp_path: Path) -> None:
    first, _ = data
    upload(first, memory)
    back = tmp_path / "back"
    got: list[str] = []
    plain = Store.get
    for stop_at in range(len(manifest.read(first)["files"])):

        def get(self: Store, path: str, local: Path, stop_at: int = stop_at) -> None:
            if len(got) == stop_at:
                raise KeyboardInterrupt
            got.append(path)
            plain(self, path, local)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "get", get)
            with pytest.raises(KeyboardInterrupt):
                download(memory, back)
        assert not (back / layout.MANIFEST).exists()
    download(memory, back)
    assert len(got) == len(set(got)) == len(manifest.read(first)["files"]) - 1
    assert published(back) == published(first)
