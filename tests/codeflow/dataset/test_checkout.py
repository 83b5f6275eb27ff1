"""Checking out hostile trees: never outside, never through a link, never into `.git`."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.dataset import reader as reading
from codeflow.dataset.checkout import checkout, stays_inside
from codeflow.errors import DataError, UsageError
from codeflow.git.objects import TreeEntry, tree_id
from tiny_dataset import SNAPSHOTS, Git, build, contents, history, triple_row, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> reading.Dataset:
    folder = tmp_path_factory.mktemp("checkout")
    git = Git(folder / "one.git")
    return reading.open(build(folder / "data", {"one": (git, history(git, SNAPSHOTS))}))


def hostile(tmp_path: Path, files: Mapping[str, tuple[str, bytes]]) -> reading.Dataset:
    git = Git(tmp_path / "git")
    chain = history(git, [{"a": ("100644", b"a\n")}, {**files, "a": ("100644", b"b\n")}])
    return reading.open(build(tmp_path / "data", {"r": (git, chain)}, spans=[1]))


def written(folder: Path) -> dict[str, tuple[str, bytes]]:
    """What git sees in a folder: an outside reading of modes and contents."""
    found = {}
    for parent, folders, files in os.walk(os.fsencode(folder)):
        for name in files + [f for f in folders if os.path.islink(os.path.join(parent, f))]:
            place = os.path.join(parent, name)
            path = os.path.relpath(place, os.fsencode(folder)).decode()
            if os.path.islink(place):
                found[path] = ("120000", os.readlink(place))
            else:
                bits = "100755" if os.stat(place).st_mode & stat.S_IXUSR else "100644"
                found[path] = (bits, Path(os.fsdecode(place)).read_bytes())
    return found


@pytest.mark.parametrize("side", ["old", "new"])
def test_writes_exactly_the_side(dataset: reading.Dataset, tmp_path: Path, side: str) -> None:
    for number, triple in enumerate(dataset.triples()):
        snapshot = triple.old_repo if side == "old" else triple.new_repo
        result = checkout(dataset, triple, side, tmp_path / str(number))
        expected = {path: (snapshot.mode(path), content) for path, content in snapshot.items()}
        assert written(tmp_path / str(number)) == expected
        assert (result.files, result.unlinked) == (len(expected), ())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(str(k) for k in range(number + 1))


def test_links_that_leave_become_files(tmp_path: Path) -> None:
    links = {
        "ok": b"d/f",
        "d/up": b"../ok",
        "d/e/up2": b"../../ok",
        "here": b".",
        "abs": b"/etc/passwd",
        "out": b"..",
        "d/out": b"../../x",
        "trick": b"here/../../x",
        "d/via": b"up/..",
        "nothing": b"d/../f",
        "d/drive": b"C:\\x",
    }
    files = {path: ("120000", target) for path, target in links.items()}
    dataset = hostile(tmp_path, {**files, "d/f": ("100644", b"f")})
    triple = next(dataset.triples())
    result = checkout(dataset, triple, "new", tmp_path / "to")
    kept = {"ok", "d/up", "d/e/up2", "here"}
    assert set(result.unlinked) == set(links) - kept
    for path, target in links.items():
        mode = "120000" if path in kept else "100644"
        assert written(tmp_path / "to")[path] == (mode, target)


NAME = st.sampled_from(["a", "b", "c", "..", ".", ""])
LINKS = st.dictionaries(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join),
    st.lists(NAME, min_size=1, max_size=4).map("/".join),
    min_size=1,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(LINKS)
def test_no_kept_link_leads_out(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, str]
) -> None:
    """However kept links are chained, the file system never resolves one to the outside."""
    root = tmp_path_factory.mktemp("links") / "root"
    root.mkdir()
    for path, target in sorted(links.items()):
        place = root / path
        if any((root / parent).is_symlink() for parent in Path(path).parents):
            continue  # no git tree has a link above a file
        if stays_inside(path, target.encode()) and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(target)
    for place in root.glob("**/*"):
        try:
            place.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue  # leads nowhere; what realpath says of it means nothing
        resolved = os.path.realpath(place)
        assert resolved == str(root) or resolved.startswith(f"{root}/"), (place, links)


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", "git~1", ".g\u200cit", ".git ", "."])
def test_refuses_names_that_may_be_git(tmp_path: Path, name: str) -> None:
    """Such trees cannot be staged by git; the rows are forged."""
    git = Git(tmp_path / "git")
    chain = history(git, [{"d/a": ("100644", b"a\n")}, {"d/a": ("100644", b"b\n")}])
    row = triple_row(git, "r", chain, 0, 1)
    blobs, trees = contents(git, "r", [row])
    entries = [
        TreeEntry("40000", name, e["id"]) for t in trees for e in t["entries"] if e["name"] == "d"
    ]
    forged = {"repo": "r", "id": tree_id(entries[:1]), "entries": [entries[0]._asdict()]}
    row["new_tree"] = forged["id"]
    tables = {"train": [row], "blobs": blobs, "trees": [*trees, forged]}
    dataset = reading.open(write_dataset(tmp_path / "data", tables, {}))
    (tmp_path / "empty").mkdir()
    for target in ("new", "empty"):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(DataError, match="may not be written"):
            checkout(dataset, dataset.triple(row["id"]), "new", tmp_path / target)
        assert sorted(tmp_path.iterdir()) == before
    assert not list((tmp_path / "empty").iterdir())


def test_colliding_names_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that folds case, which is played here by folding the paths."""
    dataset = hostile(tmp_path, {"File": ("100644", b"1"), "file": ("100644", b"2")})
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: real(path.with_name(path.name.lower()), *rest)
    )
    (tmp_path / "to").mkdir()
    with pytest.raises(DataError, match=r"(?i)'file' and another name are one"):
        checkout(dataset, next(dataset.triples()), "new", tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())


def test_refuses_targets_in_use(dataset: reading.Dataset, tmp_path: Path) -> None:
    triple = next(dataset.triples())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    for name in ("full", "file", "link", "none/below"):
        with pytest.raises(UsageError, match=name.split("/")[0]):
            checkout(dataset, triple, "old", tmp_path / name)
    with pytest.raises(UsageError, match="'both'"):
        checkout(dataset, triple, "both", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert checkout(dataset, triple, "old", tmp_path / "empty").files
    assert list((tmp_path / "full").iterdir()) == [tmp_path / "full" / "x"]


def test_a_missing_content_leaves_nothing(tmp_path: Path) -> None:
    git = Git(tmp_path / "git")
    chain = history(git, [{"d/a": ("100644", b"a\n")}, {"d/a": ("100644", b"b\n")}])
    row = triple_row(git, "r", chain, 0, 1)
    blobs, trees = contents(git, "r", [row])
    tables = {"train": [row], "blobs": blobs[:1], "trees": trees}
    dataset = reading.open(write_dataset(tmp_path / "data", tables, {}))
    triple = dataset.triple(row["id"])
    old_blob = row["files"][0]["old_blob"]
    there, lacks = ("old", "new") if blobs[0]["id"] == old_blob else ("new", "old")
    assert checkout(dataset, triple, there, tmp_path / there).files == 1
    with pytest.raises(DataError, match="missing"):
        checkout(dataset, triple, lacks, tmp_path / lacks)
    assert not (tmp_path / lacks).exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_git_agrees_on_what_was_written(dataset: reading.Dataset, tmp_path: Path) -> None:
    triple = next(dataset.triples(kind="span"))
    checkout(dataset, triple, "new", tmp_path / "to")
    git = Git(tmp_path / "judge")
    subprocess.run(
        ["git", "--git-dir", git.folder, "--work-tree", tmp_path / "to", "add", "-A"], check=True
    )
    assert git.run("write-tree").decode().strip() == triple.new_tree
