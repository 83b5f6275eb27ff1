"""What a model is told: a commit's own words, and for a merge those of what it brings in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.text.messages import instruction, texts, without_noise

SQUASH = """Retry a request whose connection was reset

Some servers close idle connections without a word.

* Fix
* Retry only what is safe to send twice
* Cleanup
* Fix lint errors
* Address review comments
* Merge branch 'main' into retry
* Add a test for the second failure"""


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([["Add a cache\n\nReads were slow."]], "Add a cache\n\nReads were slow."),
        ([["Merge pull request #1 from cache", "Add a cache"]], "Add a cache"),
        (
            [["Merge pull request #1 from cache\n\nAdd a cache", "add a cache.", "Test the cache"]],
            "Add a cache\n\nTest the cache",
        ),
        (
            [["Auto merge of #12 - cache\n\nAdd a cache (#12)\n\nWhy.", "Add a cache"]],
            "Add a cache (#12)\n\nWhy.",
        ),
        ([["Merge branch '1.4'"]], "Merge branch '1.4'"),  # there is nothing else to say
        ([["Merge branch '1.4'", "Fix the parser", "Merge branch '1.3'"]], "Fix the parser"),
        ([["One"], ["Merge branch 'x'", "Two"], []], "One\n\nTwo"),
        ([["Merge in place: sort without a copy"]], "Merge in place: sort without a copy"),
        ([[]], ""),
        ([], ""),
    ],
)
def test_a_model_is_told_what_was_to_be_done(messages: list[list[str]], told: str) -> None:
    assert instruction(messages) == told


def test_the_noise_of_a_squash_goes_and_the_rest_stays() -> None:
    assert without_noise(SQUASH).split("\n") == [
        "Retry a request whose connection was reset",
        "",
        "Some servers close idle connections without a word.",
        "",
        "* Retry only what is safe to send twice",
        "* Add a test for the second failure",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "* Fix the parser for nested quotes",
        "* Update the documentation of Foo",
        "* Clean up temporary files when a run is killed",
        "* Test that a second close does nothing",
        "- Review the list of allowed hosts on start",
        "* Format numbers by locale",
    ],
)
def test_a_line_that_says_something_stays(line: str) -> None:
    assert line in without_noise(f"Subject\n\n{line}\n* wip")


@given(st.text(alphabet="ab*- \n.#1", max_size=60))
def test_nothing_is_made_up_and_a_subject_is_never_lost(text: str) -> None:
    short = without_noise(text)
    told, said = ([line.rstrip() for line in one.split("\n")] for one in (short, text))
    assert set(told) <= set(said)
    assert told[0] == said[0]


@given(st.lists(st.lists(st.text(alphabet="abM .\n", max_size=20), max_size=3), max_size=3))
def test_what_filters_judge_is_what_is_shown(messages: list[list[str]]) -> None:
    told = instruction(messages).lower()
    for message in messages:
        for text in texts(message):
            assert text.strip(" .*-").split("\n")[0].strip().lower() in told
