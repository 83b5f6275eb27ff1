"""Two datasets, and an object store to put them: S3 as moto plays it, or the memory of fsspec.

Moto answers over HTTP and is reached through s3fs; in the memory every request is looked at.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from object_store import SECRET
from tiny_dataset import SNAPSHOTS, Git, build, history


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of an S3 on this machine."""
    moto_server = pytest.importorskip("moto.server")
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
    s3fs = pytest.importorskip("s3fs")
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


@pytest.fixture(scope="session")
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
