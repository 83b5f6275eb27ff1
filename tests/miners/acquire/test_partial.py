"""Clones without the blobs that no snapshot holds are as good as whole ones; others are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cloned import refs_of, source
from codeflow.errors import RepositoryError
from codeflow_miners.acquire.clone import acquire
from codeflow_miners.acquire.partial import absent_from, require_files
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.objects.reader import ObjectReader
from gitdag import Repo, git
from small_history import codeflow, small_history

LIMIT = 5000
SIZES = {"small": LIMIT - 1, "just.txt": LIMIT, "over.txt": LIMIT + 1, "large.txt": 90_000}


@pytest.fixture
def remote(tmp_path: Path) -> Repo:
    """A history with files around a limit, one of which grows over it and shrinks again."""
    repo = small_history(tmp_path / "remote.git", 12)
    for name, size in SIZES.items():
        repo.commit({name: "x\n" * (size // 2) + "y" * (size % 2)}, message=f"Add the file {name}")
    repo.commit({"just.txt": "z\n" * LIMIT}, message="Let the file grow over the limit")
    repo.commit({"just.txt": "z\n" * 10}, message="Let the file shrink below the limit")
    for k in range(12):
        repo.commit({"more.py": f"value = {k}\n"}, message=f"Set the value of the module to {k}")
    repo.git("config", "uploadpack.allowFilter", "true")
    return repo


def missing(git_dir: Path) -> set[bytes]:
    """Ids that git finds missing."""
    listing = git(f"--git-dir={git_dir}", "rev-list", "--all", "--objects", "--missing=print")
    return {line[1:41] for line in listing.splitlines() if line.startswith(b"?")}


def test_a_clone_lacks_what_no_snapshot_holds_and_nothing_else(
    remote: Repo, tmp_path: Path
) -> None:
    cached = acquire(source(f"file://{remote.path}"), tmp_path / "cache", max_file_bytes=LIMIT)
    listing = git(
        *(f"--git-dir={remote.git_dir}", "cat-file", "--batch-all-objects"),
        "--batch-check=%(objectname) %(objecttype) %(objectsize)",
    )
    rows = [line.split() for line in listing.splitlines()]
    large = {name for name, kind, size in rows if kind == b"blob" and int(size) > LIMIT}
    assert len(large) == 3
    assert missing(cached) == large
    found = inspect_git_dir(cached)
    assert found.absent_from == LIMIT + 1
    reader = ObjectReader(found.objects.parent)
    for name in large:
        assert reader.blob_size(bytes.fromhex(name.decode())) > LIMIT
        with pytest.raises(RepositoryError, match="missing"):
            reader.blob(bytes.fromhex(name.decode()))
    with pytest.raises(RepositoryError, match="missing"):
        reader.tree(hashlib.sha1(b"no such tree").digest())


def test_an_update_follows_and_a_larger_limit_clones_anew(remote: Repo, tmp_path: Path) -> None:
    url, cache = source(f"file://{remote.path}"), tmp_path / "cache"
    cached = acquire(url, cache, max_file_bytes=LIMIT)
    remote.commit({"later.py": "later = 1\n", "later.txt": "w\n" * LIMIT})
    assert acquire(url, cache, max_file_bytes=LIMIT - 500) == cached
    assert refs_of(cached) == refs_of(remote.git_dir)
    assert len(missing(cached)) >= 3
    assert acquire(url, cache, max_file_bytes=100_000) == cached
    assert missing(cached) == set()
    assert acquire(url, cache) == cached
    assert inspect_git_dir(cached).absent_from is None
    assert refs_of(cached) == refs_of(remote.git_dir)


def test_a_whole_clone_and_a_partial_one_give_the_same_bytes(remote: Repo, tmp_path: Path) -> None:
    written = []
    for allowed in ("true", "false"):
        remote.git("config", "uploadpack.allowFilter", allowed)
        (tmp_path / "list.txt").write_text(f"file://{remote.path}\n")
        (tmp_path / "codeflow.toml").write_text(f"[mine.projection]\nmax_file_bytes = {LIMIT}\n")
        done = codeflow(
            *("mine", "--repos", "list.txt", "--config", "codeflow.toml", "--window", "0:1"),
            *("--filter", "none", "--out", f"data-{allowed}", "--cache", f"cache-{allowed}"),
            *("--workers", "1"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        data = tmp_path / f"data-{allowed}"
        written.append(
            {
                str(path.relative_to(data)): path.read_bytes()
                for path in sorted(data.rglob("*"))
                if path.is_file() and path.suffix == ".parquet"
            }
        )
        [cached] = [path.parent for path in (tmp_path / f"cache-{allowed}").glob("*/HEAD")]
        assert bool(missing(cached)) is (allowed == "true")
    assert written[0] == written[1]
    assert any(name.startswith("triples/") for name in written[0])


def test_a_users_own_partial_clone(remote: Repo, tmp_path: Path) -> None:
    for name, option, rule in (
        ("none", "blob:none", "lacks files; clone it again without"),
        ("tree", "tree:0", "lacks files; clone it again without"),
        ("small", "blob:limit=4k", "lacks files from 4,096 bytes on"),
        ("large", "blob:limit=1m", None),
    ):
        path = tmp_path / name
        git("clone", "--quiet", "--bare", f"--filter={option}", f"file://{remote.path}", path)
        if rule is None:
            require_files(inspect_git_dir(path).absent_from, LIMIT)
            continue
        with pytest.raises(RepositoryError, match=rule) as caught:
            require_files(inspect_git_dir(path).absent_from, LIMIT)
        assert caught.value.rule == "partial"


@pytest.mark.parametrize(
    ("settings", "absent"),
    [
        ([("core.bare", "true")], None),
        ([("remote.origin.promisor", "false")], None),
        ([("remote.a.b.promisor", None), ("remote.a.b.partialclonefilter", "blob:limit=2K")], 2048),
        (
            [
                ("extensions.partialclone", "x"),
                ("remote.x.partialclonefilter", "blob:limit=1g"),
                ("remote.y.promisor", "yes"),
                ("remote.y.partialclonefilter", "blob:limit=7"),
            ],
            7,
        ),
    ],
)
def test_the_least_that_any_remote_left_out_counts(
    settings: list[tuple[str, str | None]], absent: int | None
) -> None:
    assert absent_from(settings) == absent


@pytest.mark.parametrize("filter", [None, "blob:none", "blob:limit=1x", "combine:blob:limit=1m+x"])
def test_any_other_filter_is_refused(filter: str | None) -> None:
    settings = [("extensions.partialclone", "x")]
    with pytest.raises(RepositoryError) as caught:
        absent_from(settings + ([("remote.x.partialclonefilter", filter)] if filter else []))
    assert caught.value.rule == "partial"
