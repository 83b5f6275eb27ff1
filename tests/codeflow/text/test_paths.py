"""Which paths git refuses: git itself judges, over names made of what its rules are made of."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.dataset.verify_objects import tree_fault
from codeflow.git.objects import TreeEntry, tree_id
from codeflow.records import FILE_MODE, SYMLINK_MODE
from codeflow.text.paths import refused_by_git
from codeflow_miners.changes.paths import refused
from gitdag import ENV, Repo

# U+0131, U+017F and U+212A are what i, s and k fold to beyond ASCII
LOOKALIKES = [".g\u0131t", ".G\u0130T", "g\u0131t~1", ".g\u0131tmodules", ".gitmodule\u017f",
              "\u212a", "\u0131", "\u017f", "\u0130"]  # fmt: skip
IGNORED = ["\u200b", "\u200c", "\u200d", "\u200f", "\u202a", "\u202e", "\u2060", "\u206a",
           "\u206f", "\ufeff", "\ufffe", "\uffff", "\xad"]  # fmt: skip
WHOLE = [".git", ".GIT", ".gIt", "git~1", "GIT~1", "git~2", ".gitmodules", ".GitModules",
         "gitmod~1", "GITMOD~4", "gitmod~5", "gi7eba~1", "gi7eb~10", "gi7e~123", "gi7~1234",
         "gi~12345", "g~123456", "~1234567", "gi7eba~0", "gi7ebb~1", "gi7eba~12"]  # fmt: skip
SIGNS = [".", "..", " ", "\\", "/", ":", "~", "~1", "9", "a", "\n", "git", "modules"]
PIECES = st.sampled_from(WHOLE) | st.sampled_from(LOOKALIKES + IGNORED + SIGNS)
NAMES = st.one_of(
    st.sampled_from(WHOLE + LOOKALIKES),
    st.lists(PIECES, min_size=1, max_size=5).map("".join),
    # an ignored sign within a name
    st.tuples(st.sampled_from(WHOLE), st.sampled_from(IGNORED + SIGNS), st.integers(0, 11)).map(
        lambda made: made[0][: made[2]] + made[1] + made[0][made[2] :]
    ),
    st.text("gitGIT~1.\\ :/m7eba\u0131\u200c", min_size=1, max_size=10),
)
MODES = st.sampled_from([FILE_MODE, SYMLINK_MODE])


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.create(tmp_path_factory.mktemp("names") / "r.git")


def kept_by_git(repo: Repo, paths: Sequence[tuple[str, str]], *, hfs: bool) -> set[int]:
    """Which of these paths with modes git's index takes, each in a folder of its own."""
    index = Path(repo.git_dir, "index")
    index.unlink(missing_ok=True)
    lines = [f"{mode} {'1' * 40}\t{k}/{path}\0" for k, (path, mode) in enumerate(paths)]
    environment = {**ENV, "GIT_DIR": str(repo.git_dir)}
    subprocess.run(
        ["git", "-c", f"core.protectHFS={str(hfs).lower()}", "update-index", "-z", "--index-info"],
        env=environment,
        input="".join(lines).encode(),
        check=True,
        capture_output=True,
    )
    listed = subprocess.run(
        ["git", "ls-files", "-z"], env=environment, check=True, capture_output=True
    )
    return {int(path.partition(b"/")[0]) for path in listed.stdout.split(b"\0") if path}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(NAMES, MODES), min_size=40, max_size=80), st.booleans())
def test_git_refuses_exactly_what_we_refuse(
    repo: Repo, paths: list[tuple[str, str]], hfs: bool
) -> None:
    kept = kept_by_git(repo, paths, hfs=hfs)
    for number, (path, mode) in enumerate(paths):
        assert refused_by_git(path, mode, hfs=hfs) == (number not in kept), (path, mode)


def test_behind_a_backslash_that_begins_a_name_git_does_not_look(repo: Repo) -> None:
    names = ["\\.GIT", "a/\\.git", "a\\.git", "\\\\.git", "\\a\\git~1", "\\git~1/x"]
    paths = [(name, "100644") for name in names]
    kept = kept_by_git(repo, paths, hfs=True)
    assert len(kept) == 3
    for number, (path, _) in enumerate(paths):
        assert (refused(path.encode(), False) is None) == (number in kept), path


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(NAMES, MODES), min_size=40, max_size=80))
def test_the_miner_leaves_out_exactly_what_git_refuses_anywhere(
    repo: Repo, paths: list[tuple[str, str]]
) -> None:
    kept = kept_by_git(repo, paths, hfs=True)
    for number, (path, mode) in enumerate(paths):
        rule = refused(path.encode(), mode == SYMLINK_MODE)
        assert (rule is None) == (number in kept), (path, mode)


@pytest.mark.parametrize("path", [*LOOKALIKES, "a/.g\u0131t/b", "x\\.g\u0131t", ".g\u0131t."])
@pytest.mark.parametrize("mode", [FILE_MODE, SYMLINK_MODE])
def test_letters_that_fold_to_ascii_elsewhere_are_letters_of_their_own(
    repo: Repo, path: str, mode: str
) -> None:
    assert kept_by_git(repo, [(path, mode)], hfs=True) == {0}
    assert refused(path.encode(), mode == SYMLINK_MODE) is None
    assert not refused_by_git(path, mode, hfs=True)


def test_a_link_in_a_folder_called_gitmodules_is_refused_as_git_refuses_it(repo: Repo) -> None:
    paths = [(".gitmodules/x", mode) for mode in (SYMLINK_MODE, FILE_MODE)]
    assert kept_by_git(repo, paths, hfs=False) == {1}
    assert [refused_by_git(*path) for path in paths] == [True, False]


def test_a_name_in_a_directory_has_no_slash() -> None:
    entries = [TreeEntry("100644", "a/b", "1" * 40)]
    assert "'a/b'" in (tree_fault(tree_id(entries), entries) or "")
