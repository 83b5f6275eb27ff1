#!/usr/bin/env python3
"""Rebuild a Git history from the published wheels of a pure-Python package.

    python examples/wheel_history.py PACKAGE DEST [--releases N]

makes the bare repository DEST/PACKAGE.git: one commit per release, in the order of the versions,
dated when the release was uploaded, tagged with its version. It gives codeflow a real history on
a machine that reaches a package index and no Git host.

The index is the one pip would use: PIP_INDEX_URL or pip's `index-url` setting, else the default
built into pypi-simple. Pre-releases, yanked files and releases without a pure wheel are left out.
Of each wheel only the installed files are kept, and its licence; the rest of *.dist-info is not.

The list of releases is kept in DEST/PACKAGE.json and the wheels in DEST/wheels, verified by their
SHA-256: a second run downloads nothing, and the same list always gives the same commit ids. Remove
PACKAGE.json to see releases published since. Cost: one request a release on 8 threads (150 wheels
of 70 kB take some seconds), then one `git fast-import`.
"""

from __future__ import annotations

import argparse
import ast
import calendar
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from packaging.version import InvalidVersion, Version

THREADS = 8
TIMEOUT_S = 30
AUTHOR = "Wheel History <wheel-history@example.invalid>"
FORMAT = 1  # raise when the same wheels are to give another history

INSTALLER_FOLDER = re.compile(r"[^/]+\.(dist-info|data)/")
LICENCE = re.compile(r"[^/]+\.dist-info/(?:.*/)?((?:LICEN[CS]E|COPYING)[^/]*)", re.IGNORECASE)


class HistoryError(Exception):
    """What the user can mend: `str(error)` is one line that says what to do."""


class Release(NamedTuple):
    """One release: its wheel, and when that was uploaded (Unix seconds).

    `uploaded_at` is None where the index does not tell (old mirrors).
    """

    version: str
    filename: str
    sha256: str
    uploaded_at: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("package", help="name of the package, as pip takes it")
    parser.add_argument("dest", type=Path, help="folder for the history and the downloads")
    parser.add_argument("--releases", type=positive, metavar="N", help="the newest N releases only")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        path, releases = build(options.package, options.dest, options.releases)
    except HistoryError as error:
        print(f"wheel_history: {error}", file=sys.stderr)
        return 1
    took_s = time.monotonic() - started
    print(f"{path}: {len(releases)} releases, one commit each, in {took_s:.1f} s")
    return 0


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def build(package: str, dest: Path, newest: int | None = None) -> tuple[Path, list[Release]]:
    """Makes (or finds made) DEST/PACKAGE.git; returns it and its releases, oldest first.

    Raises:
        HistoryError: no network, no such package, a wheel that is not what the index says.
    """
    name = re.sub(r"[-_.]+", "-", package).lower()
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", name):
        raise HistoryError(f"{package!r} is not the name of a package")
    wheels = dest / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    kept = dest / f"{name}.json"
    releases = _read_list(kept)
    if releases is None or _missing(releases[-(newest or 0) :], wheels):
        releases = _fetch(name, releases, newest, wheels)
        _write(kept, json.dumps(releases, indent=0).encode())
    releases = releases[-(newest or 0) :]

    repository = dest / f"{name}.git"
    marker = repository / "wheel-history"
    made_of = hashlib.sha256(json.dumps([FORMAT, releases]).encode()).hexdigest()
    if marker.is_file() and marker.read_text() == made_of:
        return repository, releases
    unfinished = dest / f"{name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    write_history(name, releases, wheels, unfinished)
    (unfinished / "wheel-history").write_text(made_of)
    shutil.rmtree(repository, ignore_errors=True)
    os.replace(unfinished, repository)
    return repository, releases


def _read_list(kept: Path) -> list[Release] | None:
    """The releases as the index listed them the first time, so that the history stays the same."""
    try:
        return [Release(*row) for row in json.loads(kept.read_text())]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise HistoryError(f"{kept}: not readable; remove it and run again") from None


def _missing(releases: Sequence[Release], wheels: Path) -> list[Release]:
    return [r for r in releases if not _is_wheel(wheels / r.filename, r.sha256)]


def _is_wheel(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


# --- from the index ---------------------------------------------------------------------------


def choose(packages: Sequence[Any]) -> list[Release]:
    """The releases to commit, oldest version first, from the index's records of the files.

    Ordered by version, so that a fix of an old line stands beside its line; dates may then go
    back, as they do in real histories. One wheel a version: pure, and first by name.

    Args:
        packages: what pypi-simple lists (`filename`, `version`, `is_yanked`, `digests`, ...).
    """
    chosen: dict[Version, Release] = {}
    for package in sorted(packages, key=lambda p: str(p.filename)):
        if not package.filename.endswith("-none-any.whl") or package.is_yanked:
            continue
        try:
            version = Version(package.version or "")
        except InvalidVersion:
            continue
        sha256 = package.digests.get("sha256")
        if version.is_prerelease or version in chosen or sha256 is None:
            continue
        uploaded = package.upload_time
        chosen[version] = Release(
            version=str(version),
            filename=package.filename,
            sha256=sha256,
            uploaded_at=None if uploaded is None else int(uploaded.timestamp()),
        )
    return [chosen[version] for version in sorted(chosen)]


def _fetch(
    name: str, known: list[Release] | None, newest: int | None, wheels: Path
) -> list[Release]:
    """Downloads what `wheels` lacks of the known releases, or of those the index lists now.

    Addresses are asked for each time and stored nowhere: a mirror's may carry a password.
    """
    with _client() as client, _explained(name):
        packages = client.get_project_page(name, timeout=TIMEOUT_S).packages
        releases = known or choose(packages)
        if not releases:
            raise HistoryError(f"{name}: no release with a pure-Python wheel")
        urls = {package.filename: package.url for package in packages}

        def download(release: Release) -> None:
            # One Session serves all threads: its pool of connections is made for that.
            if release.filename not in urls:
                raise HistoryError(f"{release.filename}: no longer in the package index")
            reply = client.s.get(urls[release.filename], timeout=TIMEOUT_S)
            reply.raise_for_status()
            if hashlib.sha256(reply.content).hexdigest() != release.sha256:
                raise HistoryError(f"{release.filename}: its SHA-256 is not what the index says")
            _write(wheels / release.filename, reply.content)

        pool = ThreadPoolExecutor(THREADS)
        try:
            for _ in pool.map(download, _missing(releases[-(newest or 0) :], wheels)):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
    return releases


def _client() -> Any:
    """A client of the index that pip is configured for, or of pypi-simple's default."""
    from pypi_simple import PyPISimple
    from requests.adapters import HTTPAdapter

    settings = pip_settings()
    endpoint = settings.get("index-url")
    client = PyPISimple(endpoint) if endpoint else PyPISimple()
    client.s.mount("https://", HTTPAdapter(max_retries=3, pool_maxsize=THREADS))
    if "cert" in settings:
        client.s.verify = settings["cert"]
    return client


def pip_settings() -> dict[str, str]:
    """What pip is told by its files and the environment, the environment last (it wins).

    `pip config list` prints lines such as `global.index-url='...'`. Without pip, PIP_INDEX_URL.
    """
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        if match := re.fullmatch(r"(global|install|:env:)\.([a-z-]+)=(.+)", line):
            found[match[1]][match[2]] = str(ast.literal_eval(match[3]))
    if "PIP_INDEX_URL" in os.environ:
        found[":env:"]["index-url"] = os.environ["PIP_INDEX_URL"]
    return found["global"] | found["install"] | found[":env:"]


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turns what the network and the index can do wrong into one line."""
    import requests
    from pypi_simple import NoSuchProjectError

    try:
        yield
    except NoSuchProjectError:
        raise HistoryError(f"{name}: the package index has no such package") from None
    except requests.HTTPError as error:
        status = "unknown" if error.response is None else error.response.status_code
        raise HistoryError(f"{name}: the package index answered with status {status}") from None
    except requests.RequestException as error:
        raise HistoryError(
            f"{name}: the package index cannot be reached ({type(error).__name__}); "
            "check the network, or name a mirror in PIP_INDEX_URL, and run again"
        ) from None
    except ValueError as error:  # a page to log in with, for instance
        what = str(error).partition("\n")[0]
        raise HistoryError(f"{name}: this is not an answer of a package index: {what}") from None


# --- to Git -----------------------------------------------------------------------------------


def write_history(name: str, releases: Sequence[Release], wheels: Path, repository: Path) -> None:
    """Writes a bare repository with one commit per release, through `git fast-import`.

    The stream depends on the arguments alone, so the commit ids do too.
    """
    # A user's own configuration, hooks and object format must not reach the result.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    git = ["git", "-C", str(repository)]
    try:
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "--template=", str(repository)],
            env=environment,
            check=True,
        )
        subprocess.run(
            [*git, "symbolic-ref", "HEAD", "refs/heads/main"], env=environment, check=True
        )
        with subprocess.Popen(
            [*git, "fast-import", "--quiet", "--done"], stdin=subprocess.PIPE, env=environment
        ) as importer:
            assert importer.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # the exit status says it
                _stream(name, releases, wheels, importer.stdin)
                importer.stdin.close()
    except FileNotFoundError:
        raise HistoryError("git is not installed; install it and run again") from None
    except subprocess.CalledProcessError as error:
        raise HistoryError(f"{repository}: git init failed with {error.returncode}") from None
    if importer.returncode != 0:
        raise HistoryError(f"{repository}: git fast-import failed with {importer.returncode}")


def _stream(name: str, releases: Sequence[Release], wheels: Path, out: IO[bytes]) -> None:
    marks: dict[bytes, int] = {}  # SHA-256 of a content → its mark in the stream

    def mark(content: bytes) -> int:
        key = hashlib.sha256(content).digest()
        if key not in marks:
            marks[key] = len(marks) + 1
            out.write(b"blob\nmark :%d\ndata %d\n%b\n" % (marks[key], len(content), content))
        return marks[key]

    for release in releases:
        files, newest = read_wheel(wheels / release.filename)
        entries = [f'M 100644 :{mark(content)} "{path}"\n' for path, content in files.items()]
        at = newest if release.uploaded_at is None else release.uploaded_at
        message = f"{name} {release.version}\n".encode()
        lines = f"commit refs/heads/main\ncommitter {AUTHOR} {at} +0000\ndata {len(message)}\n"
        out.write(lines.encode() + message)
        # Without a `from`, fast-import goes on from the branch's last commit.
        out.write(b"deleteall\n" + "".join(entries).encode() + b"\n")
        out.write(f"reset refs/tags/{release.version}\nfrom refs/heads/main\n\n".encode())
    out.write(b"done\n")


def read_wheel(path: Path) -> tuple[Mapping[str, bytes], int]:
    """The files of a wheel as a repository has them, and the newest date among them.

    Raises:
        HistoryError: not a wheel, or with a path that no repository should hold.
    """
    files: dict[str, bytes] = {}
    newest = 0
    try:
        with zipfile.ZipFile(path) as wheel:
            # In order of name: of two licences of one name, the archive's order must not choose.
            for member in sorted(wheel.infolist(), key=lambda m: m.filename):
                with contextlib.suppress(ValueError):  # an archive may say the 31st of June
                    newest = max(newest, calendar.timegm(datetime(*member.date_time).timetuple()))
                if member.is_dir():
                    continue
                licence = LICENCE.fullmatch(member.filename)
                if not licence and INSTALLER_FOLDER.match(member.filename):
                    continue
                inside = licence[1] if licence else member.filename
                parts = inside.lower().split("/")
                if {"", ".", "..", ".git"} & {*parts} or re.search(r'[\x00-\x1f"\\]', inside):
                    raise HistoryError(f"{path.name}: refuses to unpack {inside!r}")
                if not (licence and inside in files):
                    files[inside] = wheel.read(member)
    except zipfile.BadZipFile as error:
        raise HistoryError(f"{path}: {error}; remove it and run again") from None
    return files, newest


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


if __name__ == "__main__":
    sys.exit(main())
