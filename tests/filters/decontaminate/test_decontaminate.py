"""Decontamination: planted instances are found by each rule, near misses are not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from codeflow.errors import UsageError
from codeflow_filters.decontaminate import SWE_BENCH_REPOS, Decontaminator, SweBenchRepos
from codeflow_filters.decontaminate.instances import read_instances
from decontamination import (
    BASE,
    CHAIN,
    FIXED,
    SOURCE,
    URL,
    decontaminator,
    gold,
    instance,
    planted,
    span,
)

# the place in history
ALL = [(0, 1), (10, 59), (58, 59), (59, 60), (40, 60), (40, 80), (60, 61), (61, 99), (98, 99)]


@pytest.mark.parametrize("url", [URL, "https://github.com/some/fork", "requests", "my-copy"])
def test_new_sides_from_the_base_commit_on_go(tmp_path: Path, url: str) -> None:
    decontaminate = decontaminator(tmp_path, instance())
    decontaminate.chain(span(0, 1, url).repo, CHAIN)
    for old, new in ALL:
        verdict = decontaminate(span(old, new, url))
        assert verdict.kept == (new < BASE), (old, new)
        if not verdict.kept:
            assert verdict.reason == "base-commit"
            assert verdict.detail is not None
            assert "psf__requests-1 (benchmark.jsonl:1)" in verdict.detail


def test_the_earliest_base_commit_counts(tmp_path: Path) -> None:
    later = instance(instance_id="later", base_commit=CHAIN[80])
    decontaminate = decontaminator(tmp_path, later, instance())
    decontaminate.chain(span(0, 1).repo, CHAIN)
    verdict = decontaminate(span(65, 70))
    assert (verdict.kept, verdict.reason) == (False, "base-commit")
    assert "psf__requests-1" in (verdict.detail or "")
    assert "10 commits before the new side" in (verdict.detail or "")


def test_without_a_chain_the_triples_own_commits_tell(tmp_path: Path) -> None:
    decontaminate = decontaminator(tmp_path, instance(created_at="2030-01-01"))
    url = "https://github.com/other/name"
    found = [decontaminate(span(old, new, url)).kept for old, new in ALL]
    # a span over the base commit, one that ends there, one that starts there
    assert found == [not (old <= BASE <= new) for old, new in ALL]


@pytest.mark.parametrize("tell_chain", [True, False])
def test_a_base_commit_off_the_chain_goes_by_date(tmp_path: Path, tell_chain: bool) -> None:
    decontaminate = decontaminator(tmp_path, instance(base_commit="f" * 40))
    for url, same in [(URL, True), ("git@github.com:psf/Requests.git", True), ("requests", True)]:
        if tell_chain:
            decontaminate.chain(span(0, 1, url).repo, CHAIN)
        assert decontaminate(span(0, 1, url, 2014)).kept
        verdict = decontaminate(span(0, 1, url, 2016))
        assert (verdict.kept, verdict.reason) == (not same, "after-instance")
    for url in ("https://github.com/other/requests", "https://github.com/psf/black", "httpx"):
        assert decontaminate(span(0, 1, url, 2016)).kept


def test_the_date_of_the_instance_itself_is_after(tmp_path: Path) -> None:
    at = datetime(2015, 6, 1, 10, tzinfo=UTC)
    decontaminate = decontaminator(tmp_path, instance(base_commit="f" * 40))
    assert not decontaminate(span(0, 1, committed_at=at)).kept
    assert decontaminate(span(0, 1, committed_at=at.replace(hour=9))).kept


def test_the_earliest_date_counts(tmp_path: Path) -> None:
    rows = [
        instance(instance_id=str(year), base_commit=f"{year:040d}", created_at=f"{year}-01-02")
        for year in (2016, 2013, 2015)
    ]
    decontaminate = decontaminator(tmp_path, *rows)
    assert decontaminate(span(0, 1, year=2013)).kept
    assert (decontaminate(span(0, 1, year=2014)).detail or "").startswith("2013 ")


def test_a_fork_is_dated_too_when_its_chain_proves_it(tmp_path: Path) -> None:
    lost = instance(instance_id="lost", base_commit="f" * 40, created_at="2013-01-01T00:00:00Z")
    decontaminate = decontaminator(tmp_path, instance(), lost)
    fork = "https://github.com/some/fork"
    decontaminate.chain(span(0, 1, fork).repo, CHAIN)
    assert decontaminate(span(0, 1, fork, 2012)).kept
    assert decontaminate(span(0, 1, fork, 2014)).reason == "after-instance"


def test_without_date_and_chain_the_repository_goes(tmp_path: Path) -> None:
    decontaminate = decontaminator(tmp_path, instance(base_commit="f" * 40, created_at=None))
    verdict = decontaminate(span(0, 1, year=1999))
    assert (verdict.kept, verdict.reason) == (False, "undated-instance")
    assert decontaminate(span(0, 1, "https://github.com/a/b")).kept
    on_chain = decontaminator(tmp_path, instance(created_at=None))
    on_chain.chain(span(0, 1).repo, CHAIN)
    assert on_chain(span(0, 1)).kept


# n-grams
STATEMENT = (
    "When the session is closed by the server while a chunked upload is running, the adapter "
    "retries forever and never raises the error that the caller waits for."
)


def text(tmp_path: Path, statement: Any = STATEMENT, **fields: Any) -> Decontaminator:
    row = {"task_id": "HumanEval/1", "prompt": statement, **fields}
    return decontaminator(tmp_path, row)


def test_text_is_found_in_messages_and_on_both_sides_of_the_patch(tmp_path: Path) -> None:
    words = STATEMENT.split()
    part = " ".join(words[3:16])
    rule = text(tmp_path)
    comment = "# " + "\n#   ".join([" ".join(words[3:9]).upper(), "-- ".join(words[9:16])]) + "\n"
    old, new = {"doc/a.py": "x = 1\n"}, {"doc/a.py": f"x = 1\n{comment}"}
    for triple, where in [
        (
            planted({"a": "1\n"}, {"a": "2\n"}, messages=[["Fix"], ["Do", f"It: {part}"]]),
            "messages",
        ),
        (planted(old, new), "the new side of doc/a.py"),
        (planted(new, old), "the old side of doc/a.py"),
        (planted({**old, "a": "1\n"}, {**new, "a": "2\n"}), "the new side of doc/a.py"),
        (planted({**old, "z": "1\n"}, {**new, "z": "2\n"}), "the new side of doc/a.py"),
        (planted(new, {"doc/a.py": f"x = 2\n{comment}"}), "the new side of doc/a.py"),
    ]:
        verdict = rule(triple)
        assert (verdict.kept, verdict.reason) == (False, "ngram")
        assert (verdict.detail or "").startswith("HumanEval/1 (benchmark.jsonl:1), prompt: in ")
        assert where in (verdict.detail or "")
        assert words[3] in (verdict.detail or "").lower()


def test_one_token_less_is_no_match(tmp_path: Path) -> None:
    words = STATEMENT.split()
    rule = text(tmp_path)
    for start in range(len(words) - 12):
        near = planted({"a": ""}, {"a": " ".join(words[start : start + 12]) + " other\n"})
        hit = planted({"a": ""}, {"a": " ".join(words[start : start + 13]) + " other\n"})
        assert rule(near).kept
        assert not rule(hit).kept


def test_n_is_a_parameter(tmp_path: Path) -> None:
    triple = planted({"a": ""}, {"a": " ".join(STATEMENT.split()[:8]) + "\n"})
    row = {"task_id": "1", "text": STATEMENT}
    assert decontaminator(tmp_path, row).__call__(triple).kept
    assert not decontaminator(tmp_path, row, ngram=8)(triple).kept
    with pytest.raises(UsageError, match="ngram = 3"):
        decontaminator(tmp_path, row, ngram=3)


def test_nested_fields_are_text_and_names_are_not(tmp_path: Path) -> None:
    rows: Sequence[dict[str, Any]] = [
        {"task_id": "a", "test_list": STATEMENT.split(". ")},
        {"task_id": "b", "extra": {"deep": [{"hint": STATEMENT}]}},
    ]
    triple = planted({"a": ""}, {"a": STATEMENT})
    for row in rows:
        assert not decontaminator(tmp_path, row)(triple).kept
    harmless = {"task_id": STATEMENT, "PASS_TO_PASS": [STATEMENT], "text": "other"}
    assert decontaminator(tmp_path, harmless)(triple).kept


def test_of_a_patch_only_what_it_adds_is_text(tmp_path: Path) -> None:
    rule = gold(tmp_path)
    added = FIXED.split("\n")[52:54]
    other = planted({"x.py": ""}, {"x.py": "\n".join(added)})
    verdict = rule(other)
    assert (verdict.kept, verdict.reason) == (False, "ngram"), added
    around = planted({"x.py": ""}, {"x.py": SOURCE})
    assert rule(around).kept, "the repository's own code"


def test_boilerplate_and_numbers_say_nothing(tmp_path: Path) -> None:
    numbers = " ".join(map(str, range(40)))
    rows = [{"task_id": str(k), "text": f"{STATEMENT} {k}"} for k in range(11)]
    triple = planted({"a": ""}, {"a": f"{STATEMENT}\nand\n{numbers}\n"})
    assert decontaminator(tmp_path, *rows)(triple).kept, "in more than ten instances"
    assert not decontaminator(tmp_path, *rows[:10])(triple).kept
    assert decontaminator(tmp_path, {"task_id": "1", "text": numbers})(triple).kept
    again = [{"task_id": "1", "text": f"{STATEMENT} {k}"} for k in range(11)]
    assert not decontaminator(tmp_path, *again)(triple).kept, "one instance, eleven times"


# reading
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "expected an object, got list"),
        ('{"base_commit": "abc", "text": "x"}', "not a full commit id"),
        ('{"repo": 3, "text": "x"}', "repo: expected a string"),
        ('{"created_at": "yesterday", "text": "x"}', "not a time"),
        ('{"created_at": [2], "text": "x"}', "not a time"),
        ('{"task_id": "x"}', "nothing to look for"),
        ('{"task_id": "x", "patch": "", "tests": [" ", {"a": "\\n"}]}', "nothing to look for"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    good = json.dumps({"text": "fine"}) + "\n\n"
    path.write_bytes((good + line + "\n").encode())
    with pytest.raises(UsageError) as raised:
        Decontaminator([path])
    message = str(raised.value)
    assert message.startswith(f"{path}:3: ")
    assert says in message
    assert "\n" not in message


def test_a_missing_or_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the instances"):
        Decontaminator([tmp_path / "none.jsonl"])
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UsageError, match="holds no instance"):
        Decontaminator([tmp_path / "empty.jsonl"])


def test_times_of_any_form_and_an_instance_in_two_files(tmp_path: Path) -> None:
    at = datetime(2019, 5, 8, 12, tzinfo=UTC)
    seconds = int(at.timestamp())
    texts = ["2019-05-08T12:00:00Z", "2019-05-08 12:00:00", "2019-05-08T14:00:00+02:00"]
    for number, form in enumerate([*texts, seconds, seconds * 1000]):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(instance(created_at=form)))
        assert read_instances([path])[0].created_at == at
    paths = sorted(tmp_path.glob("*.jsonl"))
    assert len(read_instances(paths)) == 1


# whole repositories
def test_the_repositories_of_swe_bench_go_by_any_name(tmp_path: Path) -> None:
    assert len(set(SWE_BENCH_REPOS)) == 12
    rule = SweBenchRepos()
    for repo in SWE_BENCH_REPOS:
        for url in (f"https://github.com/{repo}", f"git@github.com:{repo}.git", repo.split("/")[1]):
            verdict = rule(span(0, 1, url.upper() if "@" not in url else url))
            assert (verdict.kept, verdict.reason, verdict.detail) == (False, "swe-bench-repo", repo)
    assert not rule(span(0, 1, "https://github.com/kennethreitz/requests/")).kept
    for url in (
        "https://github.com/psf/black",
        "https://github.com/me/flask",
        "flask2",
        "requests-x",
    ):
        assert rule(span(0, 1, url)).kept
