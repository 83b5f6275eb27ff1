"""The history that the demo mines, rebuilt from tiny wheels that an index of the test serves."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pypi_simple")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

FIRST = {"tiny/__init__.py": b"x = 1\r\n", "tiny/with space é.txt": b""}
SECOND = {"tiny/__init__.py": b"x = 2", "tiny/sub/new.py": b"\0binary\xff\n"}
THIRD = {"tiny/__init__.py": b"x = 2", "tiny/new.py": b"commit refs/heads/main\ndone\n"}


class Index(ThreadingHTTPServer):
    """A package index on this machine; it counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.listing: list[dict[str, Any]] = []
        self.requests = 0
        self.users: set[str] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"

    def publish(
        self,
        filename: str,
        content: bytes,
        uploaded: str | None = "2020-01-01T00:00:00Z",
        yanked: bool = False,
    ) -> None:
        self.files[filename] = content
        row: dict[str, Any] = {
            "filename": filename,
            "url": f"../../files/{filename}",
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
            "yanked": yanked,
        }
        self.listing.append(row | ({} if uploaded is None else {"upload-time": uploaded}))


class Answer(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.requests += 1
        if authorization := self.headers["Authorization"]:
            self.server.users.add(base64.b64decode(authorization.split()[1]).decode())
        name = self.path.rsplit("/", 1)[-1]
        if self.path == "/simple/tiny/":
            page = {"meta": {"api-version": "1.1"}, "name": "tiny", "files": self.server.listing}
            self.answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        elif self.path == "/simple/portal/":
            self.answer(b"please log in", "text/plain")
        elif self.path.startswith("/files/") and name in self.server.files:
            self.answer(self.server.files[name], "application/octet-stream")
        else:
            self.send_error(404)

    def answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("wheel_history")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tool: Any) -> Iterator[Index]:
    """The index that pip is configured for; asking pip takes half a second, so two tests do."""
    with Index() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(tool, "pip_settings", lambda: {"index-url": server.address})
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()


@pytest.fixture
def three(index: Index, tmp_path: Path) -> Index:
    """Three releases among all that is to be left out."""
    for version, files, uploaded in (
        ("0.10", THIRD, "2021-02-03T04:05:06Z"),
        ("0.2", FIRST, "2019-01-01T00:00:00.5Z"),
        ("0.9.post1", SECOND, "2022-02-02T02:02:02Z"),
    ):
        index.publish(f"tiny-{version}-py3-none-any.whl", wheel(version, files), uploaded)
    index.publish("tiny-0.3-py3-none-any.whl", wheel("0.3", THIRD), yanked=True)
    index.publish("tiny-0.11rc1-py3-none-any.whl", wheel("0.11rc1", THIRD))
    index.publish("tiny-0.4-cp311-cp311-linux_x86_64.whl", wheel("0.4", THIRD))
    index.publish("tiny-0.5.tar.gz", b"a source distribution")
    return index


def wheel(
    version: str,
    files: Mapping[str, bytes],
    licence: bytes = b"do as you like\n",
    date: tuple[int, int, int, int, int, int] = (1980, 1, 1, 0, 0, 0),
    backwards: bool = False,
) -> bytes:
    """A wheel, with what an installer adds to the files; `backwards` reverses its members."""
    import io

    info = f"tiny-{version}.dist-info"
    members = {
        **files,
        f"tiny-{version}.data/scripts/tiny": b"#!python\n",
        f"{info}/METADATA": f"Version: {version}\n".encode(),
        f"{info}/licenses/LICENSE.txt": licence,
        f"{info}/licenses/vendored/LICENSE.txt": b"another one\n",
        f"{info}/RECORD": b"",
    }
    out = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if backwards else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name in reversed(members) if backwards else members:
            archive.writestr(zipfile.ZipInfo(name, date), members[name])
    return out.getvalue()


def git(repository: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        capture_output=True,
        env=os.environ | environment,
        check=True,
    )
    return done.stdout.decode().strip()


def tree_by_git(files: Mapping[str, bytes], scratch: Path) -> str:
    """The tree id that git itself gives to a folder with these files."""
    scratch.mkdir()
    git(scratch, "init", "--quiet")
    for name, content in files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    git(scratch, "-c", "core.autocrlf=false", "add", "--all", "--force")
    return git(scratch, "write-tree")


def test_one_commit_per_release_with_its_files_date_and_tag(
    three: Index, tool: Any, tmp_path: Path
) -> None:
    repository, releases = tool.build("Tiny", tmp_path / "dest")
    assert git(repository, "log", "--reverse", "--format=%s %ct %at") == "\n".join(
        [
            "tiny 0.2 1546300800 1546300800",
            "tiny 0.9.post1 1643767322 1643767322",
            "tiny 0.10 1612325106 1612325106",
        ]
    )
    assert [r.version for r in releases] == git(
        repository, "tag", "--sort=version:refname"
    ).splitlines()
    for version, files in (("0.2", FIRST), ("0.9.post1", SECOND), ("0.10", THIRD)):
        expected = tree_by_git(
            {**files, "LICENSE.txt": b"do as you like\n"}, tmp_path / f"by-git-{version}"
        )
        assert git(repository, "rev-parse", f"refs/tags/{version}^{{tree}}") == expected
    assert git(repository, "rev-parse", "HEAD") == git(repository, "rev-parse", "0.10^{commit}")
    git(repository, "fsck", "--strict")


def test_a_second_run_asks_for_nothing_and_changes_nothing(
    three: Index, tool: Any, tmp_path: Path
) -> None:
    repository, _ = tool.build("tiny", tmp_path)
    head, asked = git(repository, "rev-parse", "HEAD"), three.requests
    assert asked == 1 + 3
    three.publish("tiny-9.0-py3-none-any.whl", wheel("9.0", FIRST))
    written = (repository / "wheel-history").stat().st_mtime_ns
    tool.build("tiny", tmp_path)
    assert (repository / "wheel-history").stat().st_mtime_ns == written
    for path in sorted(repository.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    tool.build("tiny", tmp_path)
    assert git(repository, "rev-parse", "HEAD") == head
    assert three.requests == asked


def test_ids_depend_on_files_and_dates_and_not_on_the_archive_or_the_user(
    three: Index, tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = tool.build("tiny", tmp_path / "one")
    packed = [row["filename"] for row in three.listing]
    files = {"0.2": FIRST, "0.9.post1": SECOND, "0.10": THIRD}
    three.listing, listing = [], three.listing
    for name, row in zip(packed, listing, strict=True):
        if (version := name.split("-")[1]) in files and not row["yanked"]:
            again = wheel(version, files[version], date=(2020, 2, 2, 2, 2, 2), backwards=True)
            three.publish(name, again, row["upload-time"])
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[core]\n autocrlf = true\n[i18n]\n commitEncoding = latin1\n[init]\n"
        " defaultBranch = odd\n[fastimport]\n unpackLimit = 1\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(home))
    other, _ = tool.build("tiny", tmp_path / "two")
    monkeypatch.delenv("GIT_DIR")
    assert git(other, "rev-parse", "HEAD") == git(repository, "rev-parse", "HEAD")
    three.listing, three.files = [], {}
    three.publish("tiny-0.2-py3-none-any.whl", wheel("0.2", {"tiny/a.py": b"1"}))
    different, _ = tool.build("tiny", tmp_path / "three")
    assert git(different, "rev-parse", "HEAD") != git(repository, "rev-parse", "HEAD")


def test_the_newest_releases_alone(three: Index, tool: Any, tmp_path: Path) -> None:
    assert tool.main(["tiny", str(tmp_path), "--releases", "2"]) == 0
    subjects = git(tmp_path / "tiny.git", "log", "--format=%s")
    assert subjects == "tiny 0.10\ntiny 0.9.post1"
    assert three.requests == 1 + 2
    assert tool.main(["tiny", str(tmp_path)]) == 0  # the rest is fetched when it is wanted
    assert git(tmp_path / "tiny.git", "rev-list", "--count", "HEAD") == "3"
    assert three.requests == 1 + 2 + 1 + 1
    with pytest.raises(SystemExit, match="2"):
        tool.main(["tiny", str(tmp_path), "--releases", "0"])


def test_a_wheel_that_is_not_what_the_index_says_is_refused_and_not_kept(
    three: Index, tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "tiny-0.10-py3-none-any.whl"
    good, three.files[name] = three.files[name], three.files[name] + b"\0"
    assert tool.main(["tiny", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error
    assert "SHA-256" in error
    assert not (tmp_path / "wheels" / name).exists()
    assert not (tmp_path / "tiny.git").exists()
    three.files[name] = good
    assert tool.main(["tiny", str(tmp_path)]) == 0


def test_a_damaged_wheel_in_the_cache_is_fetched_again(
    three: Index, tool: Any, tmp_path: Path
) -> None:
    repository, _ = tool.build("tiny", tmp_path)
    head = git(repository, "rev-parse", "HEAD")
    (tmp_path / "wheels" / "tiny-0.2-py3-none-any.whl").write_bytes(b"damaged")
    (repository / "wheel-history").unlink()
    (tmp_path / "tiny.unfinished").mkdir()  # as a killed run leaves it
    tool.build("tiny", tmp_path)
    assert git(repository, "rev-parse", "HEAD") == head


def test_an_index_that_does_not_tell_the_time_leaves_the_dates_in_the_wheel(
    index: Index, tool: Any, tmp_path: Path
) -> None:
    content = wheel("1.0", FIRST, date=(2021, 12, 31, 23, 59, 58))
    index.publish("tiny-1.0-py3-none-any.whl", content, uploaded=None)
    repository, _ = tool.build("tiny", tmp_path)
    assert git(repository, "log", "--format=%ct") == "1640995198"


@pytest.mark.parametrize(
    "path", ["../evil", "/evil", "a/../../evil", "A/.GIT/config", 'a"b', "a\nb"]
)
def test_a_path_that_no_repository_should_hold_is_refused(
    index: Index, tool: Any, tmp_path: Path, path: str
) -> None:
    index.publish("tiny-1.0-py3-none-any.whl", wheel("1.0", {path: b"x"}))
    with pytest.raises(tool.HistoryError, match="refuses to unpack"):
        tool.build("tiny", tmp_path)
    assert not (tmp_path / "tiny.git").exists()


def test_a_password_in_the_address_of_a_mirror_is_used_and_stored_nowhere(
    three: Index, tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = three.address.replace("//", "//me:s3cret@")
    monkeypatch.setattr(tool, "pip_settings", lambda: {"index-url": address})
    tool.build("tiny", tmp_path)
    assert three.users == {"me:s3cret"}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()


@pytest.mark.slow
def test_the_index_is_pips_by_its_files_and_before_them_by_the_environment(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = https://filed.invalid/it's\ncert = /some/where.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_CERT", raising=False)
    assert tool.pip_settings()["index-url"] == "https://filed.invalid/it's"
    assert tool.pip_settings()["cert"] == "/some/where.pem"
    monkeypatch.setenv("PIP_INDEX_URL", "https://named.invalid/simple")
    assert tool.pip_settings()["index-url"] == "https://named.invalid/simple"
    with tool._client() as client:
        assert client.endpoint == "https://named.invalid/simple/"


@pytest.mark.parametrize(
    ("package", "says"),
    [
        ("absent", "no such package"),
        ("portal", "not an answer of a package index"),
        ("../tiny", "not the name of a package"),
        ("tiny", "no release with a pure-Python wheel"),
    ],
)
def test_what_can_be_wrong_is_said_in_one_line(
    index: Index, tool: Any, tmp_path: Path, capsys: Any, package: str, says: str
) -> None:
    assert tool.main([package, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_without_a_network_one_line_says_what_to_do(
    index: Index, tool: Any, tmp_path: Path, capsys: Any
) -> None:
    index.shutdown()
    index.server_close()
    assert tool.main(["tiny", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "cannot be reached" in error
    assert "PIP_INDEX_URL" in error
    assert error.count("\n") == 1
