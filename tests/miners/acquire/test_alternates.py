"""Borrowed stores are found, followed and missed as git finds, follows and misses them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.errors import RepositoryError
from codeflow_miners.acquire.alternates import object_stores, parse_alternates
from codeflow_miners.acquire.preflight import inspect_git_dir
from codeflow_miners.acquire.refs import resolve_head
from codeflow_miners.objects.reader import ObjectReader
from gitdag import Repo, git
from hostile import history
from judged_by_git import git_has, run, we_have


def store(path: Path) -> tuple[Path, str]:
    """A store with one object of its own."""
    repo = Repo.create(path)
    return repo.git_dir / "objects", repo.blob(f"in {path.name}\n")


def quoted(path: Path) -> bytes:
    letters = (b"\\%03o" % c if c > 126 or c in b'"\\' else bytes([c]) for c in os.fsencode(path))
    return b'"' + b"".join(letters) + b'"'


LISTINGS: dict[str, Callable[[Path], bytes]] = {
    "plain": lambda path: os.fsencode(path) + b"\n",
    "no newline": os.fsencode,
    "quoted": quoted,
    "quoted octal": lambda p: b'"' + b"".join(b"\\%03o" % c for c in os.fsencode(p)) + b'"\n',
    "quoted in vain": lambda path: b'"' + os.fsencode(path) + b"\n",
    "after a comment": lambda path: b"# first\n#" + b"x\n\n" + os.fsencode(path),
    "a comment behind it": lambda path: os.fsencode(path) + b" # not one\n",
    "after one that is gone": lambda path: b"/no/such\n../gone\n" + os.fsencode(path) + b"\n/gone",
    "relative": lambda path: os.fsencode(os.path.join("../../", path.parent.name, "objects")),
    "relative without a period": lambda path: (
        b"info/../../../" + os.fsencode(f"{path.parent.name}/objects")
    ),
    "with a slash behind it": lambda path: os.fsencode(path) + b"///\n",
    "CRLF": lambda path: os.fsencode(path) + b"\r\n",
    "a space before it": lambda path: b" " + os.fsencode(path) + b"\n",
    "form feed": lambda path: b"/gone\x0c" + os.fsencode(path) + b"\n",
    "after a NUL": lambda path: b"\0\n" + os.fsencode(path) + b"\n",
    "two quoted in a line": lambda path: b'"/gone" ' + quoted(path) + b"\n",
    "twice": lambda path: (os.fsencode(path) + b"\n") * 2,
}


@pytest.mark.parametrize("name", LISTINGS)
@pytest.mark.parametrize("folder", ["other", 'o "th" é\\r'])
def test_alternates_are_found_as_git_finds_them(name: str, folder: str, tmp_path: Path) -> None:
    other, oid = store(tmp_path / folder)
    objects, own = store(tmp_path / "r")
    (objects / "info/alternates").write_bytes(LISTINGS[name](other))
    repo = objects.parent
    assert we_have(repo, oid) == git_has(repo, oid)
    assert we_have(repo, own)
    git("--git-dir", str(other.parent), "repack", "-adq")  # nothing reachable, and so loose still
    os.chdir(other.parent.parent)  # what libgit2 would take for the place of a relative one
    assert we_have(repo, oid) == git_has(repo, oid)


def test_alternates_are_followed_as_deep_as_git_does(tmp_path: Path) -> None:
    chain = [store(tmp_path / f"s{n}") for n in range(9)]
    for n in range(8):
        target = chain[n + 1][0] if n % 2 else f"../../s{n + 1}/objects"
        (chain[n][0] / "info/alternates").write_text(f"{target}\n")
    repo = chain[0][0].parent
    reached = [we_have(repo, oid) for _, oid in chain]
    assert reached == [git_has(repo, oid) for _, oid in chain]
    assert True in reached[1:]
    assert False in reached


def test_a_packed_alternate_is_read(tmp_path: Path) -> None:
    other, ids = history(tmp_path / "other")
    other.pack()
    objects, _ = store(tmp_path / "r")
    (objects / "info/alternates").write_bytes(quoted(other.git_dir / "objects"))
    (objects.parent / "refs/heads/main").write_text(ids[-1] + "\n")
    assert resolve_head(inspect_git_dir(objects.parent), None) == ids[-1]
    assert ObjectReader(objects.parent).commit(bytes.fromhex(ids[3])).message == b"Change 3"


def test_only_what_is_lost_with_an_alternate_is_its_fault(tmp_path: Path) -> None:
    objects, own = store(tmp_path / "r")
    (objects / "info/alternates").write_text("/no/such/objects\n")
    assert object_stores(objects).lost
    assert we_have(objects.parent, own)
    with pytest.raises(RepositoryError) as caught:
        ObjectReader(objects.parent).blob(b"\1" * 20)
    assert caught.value.rule == "missing-alternate"


def shown(path: bytes) -> bytes:
    """As git shows it in a message."""
    return bytes(ord("?") if c < 32 and c not in b"\t\n" else c for c in path)


@given(st.lists(st.sampled_from([b'"', b"\\", b"#", b"\n", b"a", b"\\n", b"\\141", b" ", b"/"])))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_list_names_the_paths_that_git_takes_from_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    """git says which paths it misses: it names each in a warning."""
    folder = tmp_path_factory.mktemp("r")
    repo = Repo.create(folder / "r")
    data = b"".join(parts)
    (repo.git_dir / "objects/info/alternates").write_bytes(data)
    said = run(repo.git_dir, "cat-file", "-e", "1" * 40).stderr
    for path in parse_alternates(data):
        real = os.path.realpath(os.path.join(os.fsencode(repo.git_dir / "objects"), path))
        if not os.path.isdir(real):
            assert shown(real.rstrip(b"/")) in said or shown(path) in said
    if not list(parse_alternates(data)):
        assert b"alternate" not in said
