"""Cheats score 0, honest oddities score 1, and the page of tasks names each of them."""

from __future__ import annotations

import dataclasses

import pytest

from cheats import ODD, PYTEST, REFUSED, RUN
from codeflow.tasks.grading.grade import Verdict
from made_task import judged, made_task, patch
from small_history import ROOT

SHORT = dataclasses.replace(made_task("unittest"), cpu_limit_s=1.5)  # of what burns

SLOW = ("hangs", "burns")


def unittested(changes: dict[str, str | None]) -> Verdict:
    return judged(patch(changes), SHORT)


def pytested(changes: dict[str, str | None]) -> Verdict:
    return judged(patch(changes), made_task("pytest"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_decides_the_verdict_may_not_be_touched(name: str) -> None:
    verdict = pytested(REFUSED[name])
    assert (verdict.reward, verdict.applies, verdict.end) == (0.0, True, "refused")
    assert verdict.tampered


@pytest.mark.parametrize("name", [n for n in RUN if n not in SLOW])
def test_a_cheat_scores_0(name: str) -> None:
    verdict = unittested(RUN[name])
    assert verdict.reward == 0.0, verdict
    assert verdict.infrastructure is None
    assert verdict.detail


@pytest.mark.slow
def test_what_burns_scores_0() -> None:
    verdict = unittested(RUN["burns"])
    assert (verdict.reward, verdict.end) == (0.0, "cpu")


@pytest.mark.slow
def test_what_hangs_scores_0() -> None:
    from unittest.mock import patch as replaced

    from codeflow.sandbox.job import Limits
    from codeflow.tasks.grading import suite

    def soon(**limits: object) -> Limits:
        return Limits(asleep_s=2.0, **limits)  # type: ignore[arg-type]

    with replaced.object(suite, "Limits", soon):
        verdict = unittested(RUN["hangs"])
    assert (verdict.reward, verdict.end) == (0.0, "asleep")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PYTEST, *(n for n in RUN if n not in SLOW)])
def test_a_cheat_scores_0_under_pytest(name: str) -> None:
    verdict = pytested({**RUN, **PYTEST}[name])
    assert verdict.reward == 0.0, verdict
    assert verdict.infrastructure is None


@pytest.mark.parametrize(
    "name",
    [
        "changes what the report says",
        "changes unittest's assertions",
        "changes how unittest runs",
        "empties a failure's result",
        "changes the code of a function in place",
        "writes results itself",
        "writes results with the report",
        "replaces the tests by walking up the stack",
        "traces the tests",
        "replaces a builtin",
        "floods the results",
    ],
)
def test_tampering_is_told_as_such(name: str) -> None:
    assert unittested(RUN[name]).tampered


@pytest.mark.parametrize("name", ODD)
def test_an_honest_oddity_scores_1(name: str) -> None:
    verdict = unittested(ODD[name])
    assert verdict.reward == 1.0, verdict
    assert all({**verdict.fail_to_pass, **verdict.pass_to_pass}.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_an_honest_oddity_scores_1_under_pytest(name: str) -> None:
    verdict = pytested(ODD[name])
    assert verdict.reward == 1.0, verdict


def test_the_page_of_tasks_names_them_all() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    for name in [*REFUSED, *RUN, *PYTEST, *ODD]:
        assert f"| {name} |" in page, name
