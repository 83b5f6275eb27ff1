"""Names of a change: git's own patch id, and what is the same by contents."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_filters.dedup.exact import ChangedFile, contents_id, patch_ids
from dedup_samples import lines_of, patch_of
from gitdag import ENV, Exec, Repo, Symlink, git


def git_patch_ids(patches: list[bytes]) -> list[str | None]:
    """What git prints for each patch; None where it prints nothing."""
    named = b"".join(b"commit %040x\n%s" % (k + 1, patch) for k, patch in enumerate(patches))
    done = subprocess.run(
        ["git", "patch-id", "--stable"], input=named, env=ENV, capture_output=True, check=True
    )
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    printed = {commit: id for id, commit in lines}
    return [printed.get(f"{k + 1:040x}") for k in range(len(patches))]


def our_patch_ids(patches: list[bytes]) -> list[str | None]:
    return [None if id is None else id.hex() for id in patch_ids(lines_of(patches))]


def test_patch_ids_are_those_of_git_on_a_strange_history(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "r")
    text = "".join(f"line {k}\n" for k in range(40))
    commits: list[dict[str, Any]] = [
        {"a.py": text, "b.txt": "one\r\ntwo\r\n", "empty": "", "run": "x\n", "link": "text"},
        {"a.py": text.replace("line 9", "-- nine").replace("line 30", "++ thirty")},
        {"a.py": text.replace("line 9\n", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n"), "empty": None},
        {"a.py": None, "moved.py": text},  # no edit
        {"moved.py": Exec(text)},  # mode alone
        {"b.txt": "one\r\n\ttwo", "run": Exec("x\n"), "link": Symlink("a.py")},
        {"b.txt": "one\n two\n", 'sp ace/q"uote': "x\n", "späth": "ü\n", "second": "", "third": ""},
        {'sp ace/q"uote': "x\f\v\ny\n", "moved.py": None, "other.py": text + "more\n"},
        {"b.txt": "", "späth": None, "index abc": "index 1..2\ndiff --git a/x b/x\n\\ No\n"},
    ]
    for changes in commits:
        repo.commit(changes)
    log = git(
        "log", "-p", "-M", "--reverse", "--full-index", "--format=%x00", "main", cwd=repo.git_dir
    )
    patches = [part.lstrip(b"\n") for part in log.split(b"\0")[1:]]
    assert len(patches) == len(commits)
    expected = git_patch_ids(patches)
    assert None not in expected
    assert our_patch_ids(patches) == expected
    assert [our_patch_ids([patch])[0] for patch in patches] == expected, "alone as in a batch"


LINES = st.lists(
    st.text(st.sampled_from("ab+-@ \\\tdiff\r\x0b\x0c\xa0é"), max_size=12), min_size=1, max_size=6
)


@given(st.lists(st.tuples(LINES, LINES, LINES), min_size=1, max_size=8), st.randoms())
@settings(max_examples=40, deadline=None)
def test_patch_ids_are_those_of_git_for_any_lines(changes, rng) -> None:  # type: ignore[no-untyped-def]
    patches = []
    for removed, added, more in changes:
        one = patch_of(removed, added, path=rng.choice("ab"))
        two = patch_of([], more, path="z", at=rng.randrange(1, 99))
        patches.append(rng.choice((one, one + two)).encode())
    assert our_patch_ids(patches) == git_patch_ids(patches)


def test_what_the_patch_id_looks_at() -> None:
    def named(patch: str) -> str | None:
        return our_patch_ids([patch.encode()])[0]

    patch = patch_of(["x = 1"], ["x = 2"])
    assert named(patch) == named(patch_of(["x = 1"], ["x = 2"], at=99))
    assert named(patch) == named(patch_of(["x  = 1"], ["\tx = 2"]))
    assert named(patch) == named(patch.replace("1111111..2222222", "3333333..4444444"))
    assert named(patch) != named(patch_of(["x = 2"], ["x = 1"]))
    assert named(patch) != named(patch_of(["x = 1"], ["x = 2"], path="b.py"))
    assert named(patch) != named(patch_of(["x = 1"], ["x = 2"], context="d"))
    assert our_patch_ids([b"", patch.encode(), b""]) == [None, named(patch), None]


EMPTY = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def edited(path: str, old: str | None, new: str | None, mode: str = "100644") -> ChangedFile:
    return ChangedFile(path, path, mode, mode, old, new)


def test_contents_are_the_same_wherever_they_lie() -> None:
    ours = [edited("lib/x.c", "1" * 40, "2" * 40), edited("y.c", None, "3" * 40)]
    vendored = [edited("vendor/y.c", None, "3" * 40), edited("vendor/x.c", "1" * 40, "2" * 40)]
    assert contents_id(ours) == contents_id(vendored)


@pytest.mark.parametrize(
    "other",
    [
        [edited("x", "2" * 40, "1" * 40)],
        [edited("x", "1" * 40, "2" * 40, "100755")],
        [edited("x", "1" * 40, "2" * 40)] * 2,
        [edited("x", None, "2" * 40)],
        [edited("x", "1" * 40, None)],
    ],
)
def test_other_contents_are_not_the_same(other: list[ChangedFile]) -> None:
    assert contents_id([edited("x", "1" * 40, "2" * 40)]) != contents_id(other)


def test_paths_count_where_bytes_say_nothing() -> None:
    def renamed(new: str) -> ChangedFile:
        return ChangedFile("LICENSE", new, "100644", "100644", "1" * 40, "1" * 40)

    assert contents_id([renamed("COPYING")]) != contents_id([renamed("LICENSE.txt")])
    assert contents_id([renamed("COPYING")]) == contents_id([renamed("COPYING")])
    assert contents_id([edited("a/__init__.py", None, EMPTY)]) != contents_id(
        [edited("b/__init__.py", None, EMPTY)]
    )
    assert git("hash-object", "--stdin", input=b"").decode().strip() == EMPTY
