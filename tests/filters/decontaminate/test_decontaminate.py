"""Decontamination: planted instances are found by each rule, near misses are not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from codeflow.errors import UsageError
from codeflow.triple import Triple
from codeflow_filters.decontaminate import SWE_BENCH_REPOS, Decontaminator, SweBenchRepos
from codeflow_filters.decontaminate.instances import read_instances
from triples import plant

CHAIN = [f"{number:040x}" for number in range(1, 101)]
BASE = 60  # the instance starts here
URL = "https://github.com/psf/requests"


def instance(**fields: Any) -> dict[str, Any]:
    values = {
        "instance_id": "psf__requests-1",
        "repo": "psf/requests",
        "base_commit": CHAIN[BASE],
        "created_at": "2015-06-01T10:00:00Z",
        "problem_statement": "",
        **fields,
    }
    return {name: value for name, value in values.items() if value is not None}


def decontaminator(tmp_path: Path, *rows: dict[str, Any], **parameters: Any) -> Decontaminator:
    path = tmp_path / "benchmark.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Decontaminator([path], **parameters)


def span(old: int, new: int, url: str = URL, year: int = 2012, **row: Any) -> Triple:
    """A triple over CHAIN that changes nothing of interest."""
    return plant(
        {"a.py": "a = 1\n"},
        {"a.py": "a = 2\n"},
        **{
            "repo": url.partition("://")[2] or url,
            "repo_url": url,
            "old_commit": CHAIN[old],
            "new_commit": CHAIN[new],
            "commits": CHAIN[old + 1 : new + 1],
            "kind": "commit" if new == old + 1 else "span",
            "committed_at": datetime(year, 1, 1, tzinfo=UTC),
            **row,
        },
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


# the gold patch

SOURCE = "".join(f"def step_{k}(state):\n    return advance(state, {k})\n\n" for k in range(30))
FIXED = SOURCE.replace(
    "    return advance(state, 17)\n",
    "    if state.pending is None and not state.closed:\n"
    "        raise StateError('nothing is pending in this state')\n"
    "    return advance(state.pending, 17)\n",
)
GOLD = plant({"lib/steps.py": SOURCE}, {"lib/steps.py": FIXED}).patch
ELSEWHERE = "https://github.com/other/project"


def gold(tmp_path: Path, patch: str = GOLD) -> Decontaminator:
    return decontaminator(tmp_path, instance(patch=patch, base_commit=None, repo=None), ngram=15)


def planted(old: dict[str, str], new: dict[str, str], **row: Any) -> Triple:
    return plant(old, new, repo_url=ELSEWHERE, **row)


def test_the_same_change_elsewhere_in_the_file_is_the_gold_patch(tmp_path: Path) -> None:
    above = "import this\n" * 40
    verdict = gold(tmp_path)(
        planted({"lib/steps.py": above + SOURCE}, {"lib/steps.py": above + FIXED})
    )
    assert (verdict.kept, verdict.reason) == (False, "gold-patch")
    assert verdict.detail == "psf__requests-1 (benchmark.jsonl:1), patch: in lib/steps.py"


def test_its_added_lines_among_others_are_found_under_any_path(tmp_path: Path) -> None:
    verdict = gold(tmp_path)(
        planted(
            {"src/steps.py": SOURCE, "b.py": "b = 1\n"},
            {"src/steps.py": FIXED.replace("    ", "\t"), "b.py": "b = 2\n", "c.py": "c = 3\n"},
        )
    )
    assert (verdict.kept, verdict.reason) == (False, "gold-lines")
    assert (verdict.detail or "").endswith("patch: in src/steps.py")


def test_part_of_it_or_its_reverse_is_not_the_gold_patch(tmp_path: Path) -> None:
    rule = gold(tmp_path, GOLD)
    half = SOURCE.replace(
        "    return advance(state, 17)\n", "    return advance(state.pending, 17)\n"
    )
    assert rule(planted({"lib/steps.py": SOURCE}, {"lib/steps.py": half})).kept
    # taking it away again shows it, but is another change
    reverse = rule(planted({"lib/steps.py": FIXED}, {"lib/steps.py": SOURCE}))
    assert (reverse.kept, reverse.reason) == (False, "ngram")
    # code around it, which is in every triple near that place
    near = SOURCE.replace("advance(state, 16)", "advance(state, -16)")
    assert rule(planted({"lib/steps.py": SOURCE}, {"lib/steps.py": near})).kept


def test_a_short_gold_patch_matches_as_a_whole_only(tmp_path: Path) -> None:
    old, new = {"a.py": "x = 1\nreturn x\n"}, {"a.py": "x = 1\nreturn None\n"}
    rule = gold(tmp_path, plant(old, new).patch)
    assert rule(planted(old, new)).reason == "gold-patch"
    assert rule(planted({"b.py": old["a.py"]}, {"b.py": new["a.py"]})).kept
    assert rule(planted({"a.py": "x = 1\n"}, {"a.py": "x = 1\nreturn None\n"})).kept


def test_files_of_a_patch_in_another_order_are_the_same_change(tmp_path: Path) -> None:
    first = plant({"a.py": "one\n"}, {"a.py": "two\n"}).patch
    second = plant({"b.py": "three\n"}, {"b.py": "four\n"}).patch
    triple = planted({"a.py": "one\n", "b.py": "three\n"}, {"a.py": "two\n", "b.py": "four\n"})
    assert gold(tmp_path, second + first)(triple).reason == "gold-patch"
    assert gold(tmp_path, second)(triple).kept, "a short one is not looked for inside"


def test_lines_that_a_gold_patch_only_moves_are_not_its_answer(tmp_path: Path) -> None:
    body = [f"        total = combine(total, weight_{k}, key_{k}, scale_{k})" for k in range(9)]
    block = "\n".join(body)
    patch = plant(
        {"m.py": f"import this\n{block}\n", "n.py": "pass\n"},
        {"m.py": "import this\n", "n.py": f"pass\n{block}\n"},
    ).patch
    rule = gold(tmp_path, patch)
    # it was written long before, by a triple that has nothing to do with the task
    assert rule(planted({"m.py": "x = 1\n"}, {"m.py": f"x = 1\n{block}\n"})).kept


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


def added_lines(edited: set[int]) -> dict[str, str]:
    """A file of forty distinct lines, some of which say other words."""
    return {
        "lib/cache.py": "".join(
            f"    entry_{k} = other_{k} if later_{k} else gone_{k}\n"
            if k in edited
            else f"    value_{k} = self.first_{k}.lookup(key_{k}, default_{k})\n"
            for k in range(40)
        )
    }


@pytest.mark.parametrize(
    ("edited", "reason"),
    [
        (set[int](), "gold-patch"),
        (set(range(0, 40, 3)), "gold-share"),  # every third
        (set(range(0, 40, 2)), "gold-share"),  # a half
        (set(range(40)) - {0, 9, 18, 27, 36}, None),  # five are left, each for itself
    ],
)
def test_an_edited_copy_of_a_gold_patch_is_found_by_its_share(
    tmp_path: Path, edited: set[int], reason: str | None
) -> None:
    before = {"lib/cache.py": ""}
    patch = plant(before, added_lines(set())).patch
    rule = decontaminator(
        tmp_path, instance(repo="a/other", base_commit="f" * 40, patch=patch), ngram=60
    )
    assert rule(planted(before, added_lines(edited))).reason == reason


def test_lines_that_many_gold_patches_add_tell_of_none(tmp_path: Path) -> None:
    before = {"lib/cache.py": ""}
    rows = [
        instance(
            instance_id=f"x__y-{k}",
            repo="a/other",
            base_commit="f" * 40,
            patch=plant(
                before, {"lib/cache.py": added_lines(set())["lib/cache.py"] + f"last_{k} = 1\n"}
            ).patch,
        )
        for k in range(6)
    ]
    edited = planted(before, added_lines(set(range(0, 40, 3))))
    assert decontaminator(tmp_path, *rows, ngram=60)(edited).kept
    assert decontaminator(tmp_path, *rows[:2], ngram=60)(edited).reason == "gold-share"
