"""A dataset on an object store: whole at every moment, resumed after a kill, and without secrets.

The store is S3 as moto plays it, over HTTP and through s3fs, or the memory of fsspec where every
request is looked at.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codeflow
import faults
from codeflow.cli import main
from codeflow.dataset import reader as dataset
from codeflow.dataset.verify import verify
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.records import SCHEMA_VERSION
from codeflow.storage import layout, manifest
from codeflow.storage import transfer as remote
from codeflow.storage.lock import locked
from codeflow.storage.store import Store, is_url, shown
from codeflow.storage.transfer import Step, download, steps, upload
from small_history import small_history
from tiny_dataset import SNAPSHOTS, Git, build, history

moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
SECRET = "s3cr3t-of-the-test"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of an S3 on this machine."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A URL in a new bucket, reached as a user's environment says."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = "b" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]
    fsspec.filesystem("s3").mkdir(bucket)
    return f"s3://{bucket}/data/one"


@pytest.fixture
def memory() -> Iterator[str]:
    fsspec.filesystem("memory").store.clear()
    yield "memory://bucket/data/one"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=["s3", "memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/store/one"
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two datasets with other contents under the same names; the first has a shard more."""
    folder = tmp_path_factory.mktemp("made")
    datasets = []
    for number, snapshots in enumerate((SNAPSHOTS[::-1] + SNAPSHOTS, SNAPSHOTS)):
        git = Git(folder / f"{number}.git")
        repos = {f"r{number}": (git, history(git, snapshots))}
        datasets.append(build(folder / f"data{number}", repos, triple_shards=2 - number))
    return datasets[0], datasets[1]


@pytest.fixture
def data(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    return (
        Path(shutil.copytree(made[0], tmp_path / "first")),
        Path(shutil.copytree(made[1], tmp_path / "second")),
    )


def store_of(url: str) -> dict[str, bytes]:
    """All that is at a URL, read by nobody but fsspec."""
    filesystem, prefix = fsspec.core.url_to_fs(url)
    filesystem.invalidate_cache()
    paths = filesystem.find(prefix) if filesystem.exists(prefix) else []
    length = len(prefix.strip("/")) + 1
    return {path.strip("/")[length:]: filesystem.cat_file(path) for path in paths}


def published(folder: Path) -> dict[str, bytes]:
    """The files of a dataset folder that are its own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and layout.WORK not in path.parts
    }


def is_whole(at: dict[str, bytes]) -> bool:
    """What a reader may rely on: no manifest, or all that it lists and no other shard."""
    if layout.MANIFEST not in at:
        return True
    listed = {line["path"]: line["sha256"] for line in json.loads(at[layout.MANIFEST])["files"]}
    shards = {path for path in at if path.endswith(".parquet")}
    return listed.keys() == shards and all(
        hashlib.sha256(at[path]).hexdigest() == digest for path, digest in listed.items()
    )


class Request(NamedTuple):
    action: str
    path: str


def watch(monkeypatch: pytest.MonkeyPatch, before: Callable[[Request], None]) -> list[Request]:
    """Every request that changes the store, after `before` has seen it."""
    seen: list[Request] = []
    for action in ("put", "remove"):
        plain = getattr(Store, action)

        def watched(self: Store, *arguments: Any, plain: Any = plain, action: str = action) -> None:
            request = Request(action, arguments[-1])
            before(request)
            seen.append(request)
            plain(self, *arguments)

        monkeypatch.setattr(Store, action, watched)
    return seen


# -- there and back


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


# -- interrupted


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


# -- the order


@st.composite
def states(draw: st.DrawFn) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """(dataset wanted, what is at the prefix, which of it is known to be the same), by path."""
    names = [f"{table}/{k}" for table in ("triples", "blobs") for k in range(3)] + ["README.md"]
    version = st.sampled_from(["1", "2"])
    wanted = draw(st.dictionaries(st.sampled_from(names), version, min_size=1))
    old = draw(st.dictionaries(st.sampled_from(names), version))
    present = dict(old)
    if draw(st.booleans()):
        present[layout.MANIFEST] = json.dumps(old)
    elif draw(st.booleans()):
        present = {**old, **wanted, layout.UPLOAD_MARK: ""}
    same = {path for path in wanted if present.get(path) == wanted[path] and draw(st.booleans())}
    if present.get(layout.MANIFEST) == json.dumps(wanted):
        same = {*wanted, layout.MANIFEST}
    return wanted, present, same


def played(
    wanted: dict[str, str], present: dict[str, str], order: list[Step]
) -> Iterator[dict[str, str]]:
    """What is at the prefix before the first step and after each."""
    content = {**wanted, layout.MANIFEST: json.dumps(wanted), layout.UPLOAD_MARK: ""}
    now = dict(present)
    yield now
    for action, path in order:
        now = {name: value for name, value in now.items() if name != path}
        if action == "put":
            now[path] = content[path]
        yield now


def whole(now: dict[str, str]) -> bool:
    if layout.MANIFEST not in now:
        return True
    listed = json.loads(now[layout.MANIFEST])
    return listed == {path: v for path, v in now.items() if "/" in path or path in listed}


@given(states())
def test_every_moment_is_whole_or_nothing(
    state: tuple[dict[str, str], dict[str, str], set[str]],
) -> None:
    wanted, present, same = state
    if not whole(present):
        return
    moments = list(played(wanted, present, list(steps(wanted, present.keys(), same))))
    assert all(whole(now) for now in moments)
    assert layout.MANIFEST in moments[-1]
    assert layout.UPLOAD_MARK not in moments[-1]
    assert {path: moments[-1][path] for path in wanted} == wanted
    if layout.MANIFEST not in same:  # between the first change and the last, the prefix is marked
        assert all(layout.UPLOAD_MARK in now for now in moments[1:-1])


def manifest_first(order: list[Step]) -> list[Step]:
    return sorted(order, key=lambda step: step != ("put", layout.MANIFEST))


def old_manifest_stays(order: list[Step]) -> list[Step]:
    return [step for step in order if step != ("remove", layout.MANIFEST)]


def leftovers_go_last(order: list[Step]) -> list[Step]:
    return sorted(order, key=lambda step: step.action == "remove" and "/" in step.path)


@pytest.mark.parametrize("wrong", [manifest_first, old_manifest_stays, leftovers_go_last])
def test_a_wrong_order_is_seen_by_a_reader(
    wrong: Callable[[list[Step]], list[Step]],
    memory: str,
    data: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = data
    upload(first, memory)
    broken: list[Request] = []

    def look(request: Request) -> None:
        if not is_whole(store_of(memory)):
            broken.append(request)

    watch(monkeypatch, look)
    monkeypatch.setattr(remote, "steps", lambda *arguments: iter(wrong(list(steps(*arguments)))))
    upload(second, memory)
    assert broken


# -- refused


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


# -- errors and secrets


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
