"""Reverts and their originals go, wherever they stand; a history that git itself reverts in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from codeflow.triple import Triple
from codeflow_filters.reverts import Reverts, reverted_by, said
from codeflow_miners.history.messages import clean, decode
from triples import Blobs, commit_id, triple


@dataclass
class Whole:
    """All triples of a repository, with the columns a filter asked for."""

    of: list[Triple]
    repo: str = "example.org/owner/name"
    url: str = "https://example.org/owner/name"

    def contained(self) -> pa.Table:
        raise AssertionError("reverts have no need of it")

    def triples(self, columns: Sequence[str]) -> list[Triple]:
        rows = [{name: getattr(t, name) for name in columns} for t in self.of]
        return [Triple.from_row(row, Blobs()) for row in rows]


def history(*messages: str | list[str]) -> list[Triple]:
    """A triple for each commit of a chain; the k-th commit is `commit_id(str(k))`."""
    return [
        triple(
            messages=[message],
            old_commit=commit_id(str(k - 1)),
            commits=[commit_id(str(k))],
            new_commit=commit_id(str(k)),
        )
        for k, message in enumerate(messages)
    ]


def reasons(triples: list[Triple]) -> list[str | None]:
    judge = Reverts().within(Whole(triples))
    return [judge(t).reason for t in triples]


def test_the_original_is_found_by_its_id() -> None:
    chain = history("Add a cache", "Other", f"Undo it\n\nThis reverts commit {commit_id('0')}.")
    assert reasons(chain) == ["reverted", None, "revert"]
    short = history("Add a cache", f'Revert "Add"\n\nThis reverts commit {commit_id("0")[:9]}.')
    assert reasons(short) == ["reverted", "revert"]


def test_the_nearest_one_before_is_found_by_its_subject() -> None:
    chain = history(
        "Add a cache (#1)", "Add a cache (#1)", 'Revert "Add a cache (#1)" (#2)', "Add a cache (#1)"
    )
    assert reasons(chain) == [None, "reverted", "revert", None]


def test_a_pull_request_that_reverts_one() -> None:
    chain = history(
        ["Merge pull request #1 from cache\n\nAdd a cache", "wip", "tests"],
        ['Merge pull request #2 from revert-1\n\nRevert "Add a cache"', 'Revert "Add a cache"'],
        ["Merge branch 'many'", "Add a cache", 'Revert "Add a cache"', "Add another"],
    )
    assert reasons(chain) == ["reverted", "revert", None]


def test_without_the_others_only_what_a_triple_says_counts() -> None:
    original, revert = history("Add a cache", 'Revert "Add a cache"')
    assert Reverts()(original).kept
    assert Reverts()(revert).reason == "revert"


def test_a_pair_within_a_span_cancels_out() -> None:
    both = triple(messages=["Add a cache", 'Revert "Add a cache"', "Add a better cache"])
    assert Reverts().within(Whole([both]))(both).kept
    assert Reverts()(both).kept
    half = triple(messages=['Revert "Add a cache"', "Add a better cache"])
    assert Reverts()(half).kept
    assert Reverts(max_share=0.4)(half).reason == "revert"
    most = triple(messages=['Revert "Add a cache"', "Revert the other one, too", "Tidy up"])
    assert Reverts()(most).reason == "revert"


@pytest.mark.parametrize(
    "message",
    [
        "Invert the order of the reverted index",
        'Squash: drop old versions\n\n* Revert "Add a cache"\n\nThis reverts commit 0123456789.',
        'Revert "Revert "Add a cache""',
        'Reapply "Add a cache"\n\nThis reverts commit 0123456789abcdef.',
    ],
)
def test_what_is_no_revert(message: str) -> None:
    assert Reverts()(triple(messages=[message])).kept


def git(folder: Path, *arguments: str) -> str:
    clean_env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env: dict[str, Any] = clean_env | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_NAME": "A" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "a@example.org" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True)
    return done.stdout.decode()


def test_what_git_itself_writes(tmp_path: Path) -> None:
    """git commits, reverts, and reverts the revert: the second revert alone stays."""
    git(tmp_path, "init", "-q", ".")
    for text, message in (("a\n", "Begin"), ("b\n", "Change a to b"), ("b\nc\n", "Add c")):
        (tmp_path / "f").write_text(text)
        git(tmp_path, "add", "f")
        git(tmp_path, "commit", "-q", "-m", message)
    git(tmp_path, "revert", "--no-edit", "HEAD")
    git(tmp_path, "revert", "--no-edit", "HEAD")
    ids = git(tmp_path, "rev-list", "--reverse", "HEAD").split()
    parents = [commit_id("start"), *ids]
    triples = [
        triple(
            messages=[clean(decode(git(tmp_path, "log", "-1", "--format=%B", id).encode(), None))],
            old_commit=parents[k],
            commits=[id],
            new_commit=id,
        )
        for k, id in enumerate(ids)
    ]
    assert reverted_by(triples) == {ids[2]: {ids[3]}, ids[3]: {ids[4]}}
    judge = Reverts().within(Whole(triples))
    assert [judge(t).kept for t in triples] == [True, True, False, False, True]


def test_an_id_that_several_commits_share_names_none() -> None:
    a, b = "abcdef1" + "0" * 33, "abcdef1" + "1" * 33
    chain = [
        triple(messages=["One"], commits=[a], new_commit=a),
        triple(messages=["Two"], old_commit=a, commits=[b], new_commit=b),
        triple(messages=["Undo\n\nThis reverts commit abcdef1."], old_commit=b),
    ]
    assert reverted_by(chain) == {}
    what = said(["Undo\n\nThis reverts commit abcdef1."])
    assert what is not None
    assert what.ids == ("abcdef1",)
