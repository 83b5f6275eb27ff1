"""What may follow `--repos`: repositories in every form git knows them in, or one list."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import gitdag
from codeflow.errors import UsageError
from codeflow_miners.acquire.given import read_repos
from small_history import codeflow, small_history


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a bare repository `one.git` and a clone `two` of it."""
    small_history(tmp_path / "one.git")
    gitdag.git("clone", "--quiet", tmp_path / "one.git", tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def locations(*given: str | Path) -> list[tuple[str, str | None]]:
    return [(source.location, source.ref) for source in read_repos(given)]


def nothing(place: Path) -> None:
    """As it is."""


def worktree(place: Path) -> None:
    gitdag.git("worktree", "add", "--quiet", "--detach", "../three", cwd=place / "two")


def named_with_at(place: Path) -> None:
    os.rename(place / "two", place / "two@home")


def named_like_a_url(place: Path) -> None:
    os.rename(place / "two", place / "host:two")


def with_a_hash(place: Path) -> None:
    os.rename(place / "two", place / "two #2")


def linked(place: Path) -> None:
    (place / "link").symlink_to("one.git")


def damaged(place: Path) -> None:
    (place / "one.git" / "HEAD").unlink()


REPOSITORIES: dict[str, tuple[Callable[[Path], None], str, str, str | None]] = {
    "bare": (nothing, "one.git", "one.git", None),
    "bare with a slash": (nothing, "./one.git/", "one.git", None),
    "with a working tree": (nothing, "two", "two", None),
    "its .git": (nothing, "two/.git", "two/.git", None),
    "linked worktree": (worktree, "three", "three", None),
    "the .git file of a worktree": (worktree, "three/.git", "three", None),
    "symbolic link": (linked, "link", "link", None),
    "with a ref": (nothing, "one.git@v1", "one.git", "v1"),
    "name with @": (named_with_at, "two@home", "two@home", None),
    "name with @ and a ref": (named_with_at, "two@home@v1", "two@home", "v1"),
    "name like a URL": (named_like_a_url, "host:two", "host:two", None),
    "name that a list would cut": (with_a_hash, "two #2", "two #2", None),
    "damaged": (damaged, "one.git", "one.git", None),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_repository_is_taken_in_every_form(name: str, place: Path) -> None:
    prepare, given, location, ref = REPOSITORIES[name]
    prepare(place)
    assert locations(given) == [(str(place / location), ref)]
    assert locations(place / given) == [(str(place / location), ref)]


URLS = {
    "https://example.org/o/r.git": ("https://example.org/o/r.git", None),
    "https://example.org/o/r.git@v1": ("https://example.org/o/r.git", "v1"),
    "https://user:secret@example.org/o/r@main": ("https://example.org/o/r", "main"),
    "git@example.org:o/r.git": ("git@example.org:o/r.git", None),
    "ssh://git@example.org/o/r@feature/x": ("ssh://git@example.org/o/r", "feature/x"),
    "file:///srv/r.git": ("file:///srv/r.git", None),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_taken_with_its_ref(url: str, place: Path) -> None:
    assert locations(url) == [URLS[url]]


def test_a_url_beside_a_folder_of_its_first_letters_is_a_url(place: Path) -> None:
    (place / "https:").mkdir()
    assert locations("https://example.org/o/r") == [("https://example.org/o/r", None)]


def test_several_repositories_and_one_that_is_given_twice(place: Path) -> None:
    sources = read_repos(["one.git", "two", "./one.git"])
    assert [s.location for s in sources] == [str(place / "one.git"), str(place / "two")]
    assert sources[0].repeats == (3,)


@pytest.mark.parametrize("name", ["list.txt", "x.git", "list@v1", "HEAD", ".git", "no-suffix"])
def test_a_file_is_a_list_whatever_its_name(name: str, place: Path) -> None:
    (place / "lists").mkdir()
    listing = place / "lists" / name
    listing.write_text("../one.git  # the first\n../two@v1\n")
    for given in (f"lists/{name}", listing):
        assert locations(given) == [(str(place / "one.git"), None), (str(place / "two"), "v1")]


def test_a_pipe_is_a_list(place: Path) -> None:
    os.mkfifo(place / "pipe")
    writer = threading.Thread(target=(place / "pipe").write_text, args=["one.git\ntwo\n"])
    writer.start()
    assert len(locations("pipe")) == 2
    writer.join()


def plain_folder(place: Path) -> None:
    (place / "plain" / "refs").mkdir(parents=True)


def folder_of_clones(place: Path) -> None:
    (place / "clones").mkdir()
    os.rename(place / "two", place / "clones" / "two")
    (place / "clones" / "notes.txt").touch()


def list_and_more(place: Path) -> None:
    (place / "list.txt").write_text("one.git\n")


def bundle(place: Path) -> None:
    gitdag.git("bundle", "create", "--quiet", "../all.bundle", "--all", cwd=place / "one.git")


def dangling(place: Path) -> None:
    (place / "link").symlink_to("nowhere")


MISTAKES: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "nothing there": (nothing, ("gone",), "gone: there is no such repository or list"),
    "nothing there, with a ref": (nothing, ("gone@v1",), "gone@v1: there is no such"),
    "one of several is not there": (nothing, ("one.git", "gone"), "gone: there is no such"),
    "URL without its scheme": (nothing, ("example.org/o/r",), "mean https://example.org/o/r?"),
    "empty word": (nothing, ("",), "repository 1 of those given is an empty word"),
    "empty ref": (nothing, ("one.git@",), "the ref after @ is empty"),
    "forbidden transport": (nothing, ("one.git", "ext::sh -c id"), "repository 2 of those given"),
    "forbidden scheme": (nothing, ("ftp://example.org/o/r",), "ftp URLs are not allowed"),
    "no repository": (plain_folder, ("plain",), "plain: is no Git repository"),
    "folder of clones": (folder_of_clones, ("clones",), "holds 1, such as two; give those"),
    "inside a repository": (nothing, ("two/src",), "two; give that"),
    "list and repository": (list_and_more, ("one.git", "list.txt"), "list.txt: is a list"),
    "list with a ref": (list_and_more, ("list.txt@v1",), "list.txt is a file"),
    "bundle": (bundle, ("all.bundle",), "all.bundle: is a Git bundle"),
    "dangling link": (dangling, ("link",), "link: there is no such repository or list"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_names_no_repository_is_refused_before_anything_is_written(
    name: str, place: Path
) -> None:
    prepare, given, words = MISTAKES[name]
    prepare(place)
    with pytest.raises(UsageError) as caught:
        read_repos(given)
    assert words in str(caught.value)
    done = codeflow("mine", "--repos", *given, "--out", "new", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"codeflow: {caught.value}\n"
    assert not (place / "new").exists()


def test_a_password_is_in_no_message(place: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_repos(["https://user:pa/ss@example.org:x/o/r"])
    assert "pa/ss" not in str(caught.value)


def test_a_repository_and_a_list_of_it_are_the_same_run(place: Path) -> None:
    rest = ("--out", "data", "--workers", "1", "--until", "mine")
    first = codeflow("mine", "--repos", "one.git", *rest, cwd=place)
    assert first.returncode == 0, first.stderr
    manifest = (place / "data" / "manifest.json").read_bytes()
    (place / "list.txt").write_text("one.git\n")
    again = codeflow("mine", "--repos", "list.txt", *rest, cwd=place)
    assert again.returncode == 0
    assert "nothing to do" in again.stderr
    assert (place / "data" / "manifest.json").read_bytes() == manifest
