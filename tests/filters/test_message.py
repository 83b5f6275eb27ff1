"""Messages that say something stay, in whatever form; those that say nothing go by their kind."""

from __future__ import annotations

import pytest

from codeflow.text.messages import own_text, texts, title
from codeflow.text.releases import is_dependency_bump, is_version_bump
from codeflow_filters.message import Message
from triples import triple

GOOD = [
    "Parse dates without a year",
    "parser: accept an empty file",
    "fix(io): close the handle twice (#12)",
    "Removed `res.locals()` from examples",
    "Fix #12\n\nThe reader forgot the last line of a file.",
    "Adding ClassRules",  # two words, three names
    "修复解析器中的内存泄漏",
    "Исправить утечку памяти",
    "Merge two sorted lists in one pass",  # no merge, though it says so
    "Wipe the cache on start",
    "Update the timeout from 10 to 30 seconds",
    "Update retries to 3",
    "Upgrade API to v2",
    "Bump max_connections to 512",
    "Update README.md\n\nSay how to install it from source.",
    "Release the lock before the callback",
    "Bump version and fix the race in the pool",
    "Version the cache directory",
    "Support Python 3.12 in wheels",
    "Deprecate the old dependency resolver",
    "Temporary files are removed at exit",
    "Automatic retries when the socket closes",
    "Generate docs from the parser's own tables",
    "Merge sort is stable now",
    "Fix the build of wheels on arm",
    "Add an import of CSV",
    "Fixes and improvements\n\nThe cache no longer grows without a bound.",
    "Export the parser's tables",
]
BAD = {
    "": "no-message",
    "fix": "too-short",
    "more tests": "too-short",
    "Fix #123": "too-short",
    "Fix https://example.org/some/very/long/address/of/an/issue": "too-short",
    "x" * 2000 + " y z": "too-long",
    "wip": "wip",
    "[WIP] rewrite the parser in one pass": "wip",
    "Rewrite the parser (wip)": "wip",
    "fixup! Parse dates without a year": "wip",
    "checkpoint": "wip",
    "1.2.3": "version-bump",
    "v2.0.0-rc.1": "version-bump",
    "Release 1.4.0": "version-bump",
    "Bump version to 0.9.1": "version-bump",
    "chore(release): 3.1.0": "version-bump",
    "grep-regex-0.1.7": "version-bump",
    "[maven-release-plugin] prepare for next development iteration": "version-bump",
    "Start development of 2.1.dev0": "version-bump",
    "Bump tokio from 1.2.0 to 1.3.0": "dependency-bump",
    "build(deps): bump actions/checkout from 2 to 3": "dependency-bump",
    "deps: update everything": "dependency-bump",
    "Update dependencies to latest versions": "dependency-bump",
    "Update dependency eslint to v3": "dependency-bump",
    "Update actions/checkout action to v4": "dependency-bump",
    "Update react monorepo to v17": "dependency-bump",
    "Update module gopkg.in/yaml to v3": "dependency-bump",
    "Update README.md": "auto-generated",
    "Add files via upload": "auto-generated",
    "docs: Update docs/index.rst (#7)": "auto-generated",
    "Initial commit": "auto-generated",
    "auto-commit of the nightly job": "auto-generated",
    "Apply suggestions from code review": "auto-generated",
    "Various small fixes": "says-nothing",
    "Minor fixes and cleanups (#12)": "says-nothing",
    "Address the review comments": "says-nothing",
    "Fix the tests": "says-nothing",
    "Googletest export, internal change": "says-nothing",
    "Small tweaks and improvements\n\nCloses #12\nPiperOrigin-RevId: 1234": "says-nothing",
    "Merge branch 'main'": "merge",
    "Merge pull request #12 from topic": "merge",
}


@pytest.mark.parametrize("message", GOOD)
def test_a_message_that_says_something_stays(message: str) -> None:
    assert Message()(triple(messages=[message])).kept


@pytest.mark.parametrize(("message", "reason"), BAD.items())
def test_a_message_that_says_nothing_goes(message: str, reason: str) -> None:
    verdict = Message()(triple(messages=[message]))
    assert (verdict.kept, verdict.reason) == (False, reason)


MERGE = "Merge pull request #3 from topic"
FOUR = [
    "Parse dates without a year",
    "Close the handle when the reader fails",
    "Refuse two names for one option",
    "Write the index before the data",
]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ([MERGE, "Parse dates without a year"], None),
        ([MERGE + "\n\nParse dates without a year", "wip", "typo"], None),
        ([MERGE, "wip", "typo", "Parse dates without a year"], None),
        (["Resolve conflicts between main and topic", "wip"], "wip"),
        ([MERGE + "\n\ntypo", "typo"], "too-short"),
        ([MERGE, "Merge branch 'main' into topic"], "merge"),
        (["merged", "Bump tokio from 1.2.0 to 1.3.0"], "dependency-bump"),
        (["Merge branch '1.10'", *FOUR], "release-merge"),
        (["Merge branch 'main'", *FOUR], "sync-merge"),
        (["Merge branch '1.10'", *FOUR[:2], "typo", "Merge pull request #2 from x"], None),
        (["Merge branch 'topic'", *FOUR], None),
        ([MERGE, *FOUR], None),
        (["Merge branch 'x'\n\nConflicts:\n\tsrc/a/long/path.c\n\tsrc/another/path.c"], "merge"),
    ],
)
def test_a_merge_is_judged_by_what_it_brings_in(message: list[str], reason: str | None) -> None:
    assert Message()(triple(messages=[message])).reason == reason


def test_a_span_stays_by_the_share_of_good_messages() -> None:
    good, bad = "Parse dates without a year", "typo"
    judge = Message(min_share=0.5)
    assert judge(triple(messages=[good, bad])).kept
    verdict = judge(triple(messages=[good, bad, "1.2.3", bad]))
    assert (verdict.reason, verdict.detail) == ("too-short", "typo")
    assert Message(min_share=0.25)(triple(messages=[good, bad, bad, bad])).kept
    assert not Message(min_share=0.75)(triple(messages=[good, bad])).kept


def test_the_thresholds_are_parameters() -> None:
    four = triple(messages=["Parse dates without years"])
    assert Message(min_words=4)(four).kept
    assert not Message(min_words=5)(four).kept
    assert not Message(min_chars=60)(four).kept
    assert not Message(max_subject_chars=20)(four).kept


@pytest.mark.parametrize(
    ("message", "parts", "own"),
    [
        (["Subject\n\nBody"], ("Subject\n\nBody",), "Subject\n\nBody"),
        ([MERGE + "\n\nTitle", "one", "two"], ("Title", "one", "two"), "Title"),
        ([MERGE, "one"], ("one",), "one"),
        ([MERGE, "one", "two"], ("one", "two"), None),
        ([MERGE], (), None),
        ([], (), None),
    ],
)
def test_what_a_commit_says(message: list[str], parts: tuple[str, ...], own: str | None) -> None:
    assert texts(message) == parts
    assert own_text(message) == own


def test_titles_lose_the_numbers_of_pull_requests() -> None:
    assert title("Add a thing (#12)\n\nbody") == "Add a thing"
    assert title('Revert "Add a thing (#12)" (#13)') == 'Revert "Add a thing (#12)"'
    assert title("(#12)") == "(#12)"


@pytest.mark.parametrize("line", ["Release notes for 2.0", "Fix release 2.0", "version parser"])
def test_words_outside_the_list_make_it_no_bump(line: str) -> None:
    assert not is_version_bump(line)
    assert not is_dependency_bump(line)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        # found by hand in real histories, on either side
        ("Bump version: 4.2.0rc1 → 4.2.0rc2", "version-bump"),
        ("add 1.1.3 release date to changes", "version-bump"),
        ("update connect dep", "dependency-bump"),
        ("Now depends on kombu 3.0.6", "dependency-bump"),
        ("WIP: Forget parent meta when forgetting a chain (#5095)", None),
        ("WIP: Forget parent meta when forgetting a chain", "wip"),
        ("merge in place the apps beat schedule in the default Schedule class", None),
        ("Merge in changes", "merge"),
        ("Update connect dependency handling for sessions", None),
        ("Now depends on the order of the arguments", None),
    ],
)
def test_messages_that_were_misjudged_once(message: str, reason: str | None) -> None:
    assert Message()(triple(messages=[message])).reason == reason
