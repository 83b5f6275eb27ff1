"""Trailers: real git says where the block is; what a line credits is said by its value."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codeflow_miners.history.messages import clean, decode
from codeflow_miners.history.trailers import block

Interpret = Callable[..., str]


@pytest.fixture
def interpret(tmp_path: Path) -> Interpret:
    """`git interpret-trailers` on a message, deaf to the user's configuration."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}

    def run(message: str, *options: str) -> str:
        command = ["git", "interpret-trailers", "--no-divider", *options]
        return subprocess.run(
            command,
            input=message.encode(),
            stdout=subprocess.PIPE,
            check=True,
            env=environment,
            cwd=tmp_path,
        ).stdout.decode()

    return run


SCISSORS = "# ------------------------ >8 ------------------------"
LINE = st.sampled_from(
    """Fix the thing|fix: the thing|cc: accept a missing newline|group-by: keep order|and more
Note: this matters|  continued|key : value|Cc: Eve|Fixes: #12|a b: c|- Not-a: list|-: x|: x|é: x
Signed-off-by: Ann|signed-off-by: Ann|Signed-off-by:Ann|Co-authored-by: Ann|Change-Id: I1f|---
(cherry picked from commit 1a2b)|(cherry picked|git-svn-id: 12|http://x|\u00a0|Conflicts: x
Conflicts:|\tpath/x|# Conflicts:|#\tpath/x|# comment|||||
# ------------------------ >8 ------------------------""".replace("\n", "|").split("|")
)
PROBE = "Zz-probe: 1"


def gits_block(interpret: Interpret, message: str) -> tuple[list[str], list[str]] | None:
    """What stands before the block, and the block, by where git puts a new trailer."""
    at_end = interpret(message, "--trailer", PROBE).split("\n")
    at_start = interpret(message, "--where", "start", "--trailer", PROBE).split("\n")
    end, start = at_end.index(PROBE), at_start.index(PROBE)
    if start == end:  # no trailer between
        return None
    return at_end[:start], at_end[start:end]


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(LINE, min_size=1, max_size=10))
@example(["A", "", "Signed-off-by: Ann", "and more", "and more", "and more"])
@example(["A", "", "Signed-off-by: Ann", "and more", "and more", "and more", "and more"])
@example(["A", "", "Change-Id: I1f", "and more"])
@example(["A", "", "Change-Id: I1f", "  continued", "  continued"])
@example(["A", "", "  continued", "Change-Id: I1f"])
@example(["cc: accept a missing newline"])
@example(["group-by: keep the order", "Fixes: #12"])
@example(["cc: accept a missing newline", "", "Signed-off-by: Ann"])
@example(["A", "", "Change-Id: I1f", "", "Conflicts:", "\tpath/x", "\tpath/x"])
@example(["A", "", "Change-Id: I1f", "", "# Conflicts:", "#\tpath/x"])
@example(["A", "", "Change-Id: I1f", SCISSORS, "and more"])
@example(["# comment", "", "Change-Id: I1f"])
@example(["A", "", "\u00a0", "Change-Id: I1f"])
def test_the_block_is_the_one_git_sees(interpret: Interpret, lines: list[str]) -> None:
    message = decode("\n".join(lines).encode(), None)
    found = block(message.split("\n"))
    expected = gits_block(interpret, message + "\n")
    if found is None:
        assert expected is None
        return
    inside = message.split("\n")[slice(*found)]
    assert expected is not None
    # git writes a block anew: "key : v" as "key: v", and without its comments
    written = [x.replace(" ", "") for x in inside if not x.startswith("#")]
    assert [x.replace(" ", "") for x in expected[1]] == written
    assert expected[0] == message.split("\n")[: found[0]]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(LINE, min_size=1, max_size=10), st.sampled_from(["Reviewed-by", "Acked-by"]))
def test_a_trailer_that_git_parses_goes_and_the_title_stays(
    interpret: Interpret, lines: list[str], key: str
) -> None:
    lines = [
        "Title",
        "",
        *(x for x in lines if x[:1] not in "#C"),
        "",
        f"{key}: Ann Author",
        "Cc: Bob",
    ]
    message = decode("\n".join(lines).encode(), None)
    assert f"{key}: Ann Author" in interpret(message + "\n", "--parse")
    assert clean(message).split("\n")[0] == "Title"
    assert "Ann" not in interpret(clean(message) + "\n", "--parse")


@pytest.mark.parametrize(
    "title",
    [
        "cc: accept a missing newline",
        "group-by: keep the order of keys",
        "order-by: Fix",
        "sort-by: null last\nand more of the title",
        "author: add a field",
        "Author: Add Field",
        "authors: sort",
        "committer: drop",
        "link: follow",
        "fixes: a typo",
        "reviewed-by: parse names",
        "Signed-off-by: Handle Empty Names",
        "cc: bump pkg@1.2.3",
        "Change-Id: strip it",
        "Conflicts: show them",
        "(cherry picked from commit 1a2b)",
    ],
)
def test_a_title_is_no_trailer(title: str, interpret: Interpret) -> None:
    assert interpret(title + "\n", "--parse") == ""
    assert clean(title) == title
    assert clean(title + "\n\nBody.\n\nReviewed-by: Ann") == title + "\n\nBody."
    assert clean(title + "\n\nSigned-off-by: Ann <a@x.org>") == title


@pytest.mark.parametrize(
    "body",
    [
        "cc: the driver of the compiler is called by make.",
        "The clause\ngroup-by: a list of keys\nwas ignored.",
        "author: is now a list",
        "Sorted-by: is no longer read\nfrom the table.",
        "- cc: a compiler",
        "Conflicts: none",
        "Conflicts:\nwhat it means",
        "Change-Id: is made by a hook",
    ],
)
def test_text_with_a_colon_stays(body: str) -> None:
    message = f"A\n\n{body}\n\nThe end."
    assert clean(message) == message


@pytest.mark.parametrize(
    "line",
    [
        "Signed-off-by: Ann Author <ann@acme.io>",
        "signed-off-by: ann",
        "Reviewed-by: Ann",
        "Reviewed by: Ann van der Berg (work)",
        "Patch-by: Ann Author, Bob Builder",
        "Co-authored-by: Zoë <zoe@x.org>",
        "Cc: stable@vger.kernel.org # 5.10 and later",
        "Cc: @ann @bob",
        "cc: @acme/team",
        "Cc: Ann Author",
        "Author: 王小明",
        "Committer: ann@acme.io",
        "  Tested-by: Ann <ann@box>",
        "PiperOrigin-RevId: 285464216",
        "GitOrigin-RevId: 1f2e3d4c",
        "Change-Id: I0123456789abcdef0123456789abcdef01234567",
        "git-svn-id: https://h/trunk@12 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "Conflicts:\n\tsrc/a.c\n\tsrc/b.c",
        "# Conflicts:\n#\tsrc/a.c",
    ],
)
def test_credits_and_marks_go_from_the_middle(line: str) -> None:
    assert clean(f"A\n\nBody\n{line}\n\nThe end.") == "A\n\nBody\n\nThe end."
    assert clean(f"A\n\n{line}\n\nThe end.") == "A\n\nThe end."
    assert clean(f"A\n\nBody.\n\n{line}") == "A\n\nBody."


def test_a_title_that_only_lists_addresses_goes() -> None:
    assert clean("Signed-off-by: Ann <ann@acme.io>") == ""
    assert clean("Cc: Ann <ann@acme.io>, bob@acme.io") == ""
