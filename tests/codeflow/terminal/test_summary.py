"""The closing summary: what it tells, to people and machines, in 80 columns."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

from codeflow.publish.summary import FailedRepository, LeftOut, StageCount, Summary
from displays import SUMMARY, Terminal, rendered


def test_the_summary_as_json_says_all_that_it_was_given() -> None:
    record = json.loads(rendered(SUMMARY, json=True))
    assert record.pop("event") == "summary"
    failed = [FailedRepository(**row) for row in record.pop("failed")]
    left_out = [LeftOut(**row) for row in record.pop("left_out")]
    stages = [StageCount(**row) for row in record.pop("stages")]
    assert Summary(failed=failed, left_out=left_out, stages=stages, **record) == SUMMARY


# --- the summary for people -------------------------------------------------------------------


def test_the_summary_tells_what_was_kept_left_out_and_comes_next_in_80_columns() -> None:
    text = rendered(SUMMARY)
    assert max(map(len, text.splitlines())) <= 80
    assert "4,567 triples from 10 of 12 repositories in 2 min 03 s" in text
    assert "3,210 commit, 1,357 span" in text
    assert "120 MB, 30 MB on disk" in text
    assert text.index("1,234  mine/crosses-projection") < text.index("12  mine/empty")
    assert "missing: there is no repository" in text
    assert text.endswith("\n  codeflow inspect data\n")
    assert "reproducible" not in text
    assert "Not reproducible" in rendered(replace(SUMMARY, deterministic=False))


def test_a_terminal_and_a_pipe_get_the_same_words() -> None:
    coloured = rendered(SUMMARY, Terminal())
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == rendered(SUMMARY)


def test_a_summary_without_failures_has_no_heading_for_them_and_many_are_cut() -> None:
    clean_run = rendered(replace(SUMMARY, failed=[], left_out=[]))
    assert "Not mined" not in clean_run
    assert "Left out" not in clean_run
    many = [FailedRepository(f"r{i}", "empty", "no commits") for i in range(30)]
    text = rendered(replace(SUMMARY, failed=many))
    assert "Not mined: 30 repositories" in text
    assert text.count("no commits") == 10
    assert "20 more repositories, in data/ledger" in text


def test_a_command_to_type_is_never_wrapped() -> None:
    command = "codeflow inspect " + "a" * 100
    for stream in (io.StringIO(), Terminal()):
        assert command in rendered(replace(SUMMARY, next_command=command), stream)
