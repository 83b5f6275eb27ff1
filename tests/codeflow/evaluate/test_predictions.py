"""pass@k against counting every draw, and predictions graded by tasks."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow import cli
from codeflow.errors import UsageError
from codeflow.evaluate.pass_at_k import pass_at_k, rate
from codeflow.evaluate.predictions import Prediction, read_predictions, score
from codeflow.tasks import store
from codeflow.tasks.grading.grade import Verdict
from made_task import OLD, here, made_task, patch


@given(st.integers(1, 7), st.data())
def test_pass_at_k_is_the_share_of_draws_that_hold_one_that_passes(
    n: int, data: st.DataObject
) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_what_makes_no_sense_is_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(n, c, k)


def test_a_rate_has_an_interval_and_leaves_out_those_with_too_few() -> None:
    counts = [(10, 10), (10, 0), (10, 5), (2, 2)]
    found = rate(counts, 5)
    assert found is not None
    assert found.problems == 3
    assert found.value == pytest.approx((1 + 0 + pass_at_k(10, 5, 5)) / 3)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found == rate(counts, 5)
    sure = rate([(4, 4)] * 9, 1)
    assert sure is not None
    assert (sure.low, sure.value, sure.high) == (1.0, 1.0, 1.0)
    assert rate(counts, 11) is None


def test_what_the_infrastructure_failed_at_is_in_no_rate() -> None:
    one, two = (Prediction(name, "", "m", False) for name in "ab")
    passed, failed = Verdict(1.0, True), Verdict(0.0, True)
    out = Verdict(None, True, infrastructure="no room")
    found = score([(one, passed), (one, out), (two, failed), (two, out), (two, None)], [1, 2])
    assert (found.predictions, found.passed, found.infrastructure, found.unknown) == (5, 1, 2, 1)
    [rate_1] = found.rates
    assert (rate_1.value, rate_1.problems) == (0.5, 2)


@pytest.mark.parametrize("line", ["{}", "[]", "x", '{"instance_id": 1, "model_patch": ""}'])
def test_a_line_that_is_no_prediction_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"instance_id": "a", "model_patch": null}\n\n' + line + "\n")
    with pytest.raises(UsageError, match=r"p\.jsonl:3: no prediction"):
        read_predictions(path)


def test_the_command_grades_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = dataclasses.replace(made_task("unittest"), instance_id="x-1")
    store.write(store.place(tmp_path, "default"), [task], [])
    monkeypatch.setattr(store.TaskSet, "old_files", lambda self, task: OLD)
    monkeypatch.setattr(store.TaskSet, "environment", lambda self, task: here())
    patches = [task.patch, "", task.patch, "no patch\n", patch({"conftest.py": "\n"})]
    rows = [{"instance_id": "x-1", "model_patch": text} for text in patches]
    rows += [{"instance_id": "x-2", "model_patch": "", "finish_reason": "length"}]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["grade", str(path), "--data", str(tmp_path), "--to", str(tmp_path / "out.jsonl")]
    assert cli.main([*words, "--k", "1,2,9", "--json"]) == 1  # for the one that no task has
    found = json.loads(capsys.readouterr().out)
    assert (found["predictions"], found["tasks"], found["unknown"]) == (6, 1, 1)
    assert (found["passed"], found["applies"], found["equals_tree"], found["tampered"]) == (
        2,
        4,
        2,
        1,
    )
    assert [r["k"] for r in found["rates"]] == [1, 2]
    assert found["rates"][0]["value"] == pytest.approx(2 / 5)
    assert found["rates"][1]["value"] == pytest.approx(1 - 3 / 10)
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row.get("reward") for row in out] == [1.0, 0.0, 1.0, 0.0, 0.0, None]
    assert cli.main(words) == 1
    assert "pass@1 0.400" in capsys.readouterr().out


def test_k_is_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["grade", "x", "--data", str(tmp_path), "--k", "0"]) == 2
    assert "--k 0" in capsys.readouterr().err
