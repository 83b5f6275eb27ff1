"""What the grader does around the tests: applying, trees, infrastructure, and reading results."""

from __future__ import annotations

import dataclasses
import json

import pytest

from codeflow.git.apply import apply_patch
from codeflow.sandbox.job import Captured, Job, Outcome, SandboxError
from codeflow.tasks.grading.canary import canaries
from codeflow.tasks.grading.grade import grade, submit, verdict_key
from codeflow.tasks.grading.results import read_results
from codeflow.tasks.trees import tree_of
from gitdag import Repo
from made_task import CORE, OLD, RIGHT, here, judged, made_task, patch

EMPTY = Captured()
TASK = made_task("unittest")


class Broken:
    """A sandbox of a machine that is out of order."""

    name = "broken"

    def run(self, job: Job) -> Outcome:
        raise SandboxError("sandbox: no room")


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_the_true_change_is_graded_1_and_its_tree_equals(runner: str) -> None:
    task = made_task(runner)
    verdict = judged(task.patch, task)
    assert (verdict.reward, verdict.applies, verdict.equals_tree) == (1.0, True, True)
    assert (verdict.tampered, verdict.infrastructure, verdict.detail) == (None, None, None)
    assert (verdict.end, set(verdict.fail_to_pass)) == ("exit", set(task.fail_to_pass))


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_an_empty_change_is_graded_0(runner: str) -> None:
    task = made_task(runner)
    verdict = judged("", task)
    assert (verdict.reward, verdict.applies, verdict.equals_tree) == (0.0, True, False)
    assert set(verdict.fail_to_pass.values()) == {False}
    assert set(verdict.pass_to_pass.values()) == {True}
    assert verdict.tampered is None


def test_another_way_to_the_same_end_is_graded_1_and_its_tree_differs() -> None:
    other = RIGHT.replace("[value * by for value in values]", "[by * v for v in values]")
    verdict = judged(patch({"src/calc/core.py": other}), TASK)
    assert (verdict.reward, verdict.equals_tree) == (1.0, False)


def test_a_change_that_breaks_what_passed_is_graded_0() -> None:
    broken = RIGHT.replace("a + b", "a - b")
    verdict = judged(patch({"src/calc/core.py": broken}), TASK)
    assert verdict.reward == 0.0
    assert set(verdict.fail_to_pass.values()) == {True}
    assert set(verdict.pass_to_pass.values()) == {False}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (patch({"src/calc/core.py": RIGHT})[:-5], "newline"),
        (patch({"src/calc/core.py": RIGHT}).replace("def add", "def sub"), "does not match"),
        (patch({"src/calc/core.py": RIGHT}).replace("core", "nosuch"), "no such file"),
        (patch({".git/config": "x\n"}), "refuses this name"),
        (patch({"README.md/x": "x\n"}), "README.md"),
        ("I cannot do this.\n", "did not expect"),
        ("\ud800\n", "surrogates"),
    ],
)
def test_what_does_not_apply_is_told(text: str, why: str) -> None:
    verdict = judged(text, TASK)
    assert (verdict.reward, verdict.applies, verdict.end) == (0.0, False, "refused")
    assert why in (verdict.detail or "")


def test_the_tree_is_the_one_that_git_names(tmp_path: object) -> None:
    repo = Repo.create(tmp_path / "r")  # type: ignore[operator]
    commit = repo.commit({path: content for path, (_, content) in OLD.items()})
    assert repo.git("rev-parse", f"{commit}^{{tree}}").decode().strip() == tree_of(OLD)
    new = apply_patch(TASK.patch.encode(), apply_patch(TASK.test_patch.encode(), OLD))
    assert submit(TASK, OLD, TASK.patch, here()).tree == TASK.new_tree == tree_of(new)


def test_infrastructure_gives_no_reward() -> None:
    verdict = grade(TASK, OLD, TASK.patch, here(), Broken())
    assert (verdict.reward, verdict.infrastructure) == (None, "sandbox: no room")
    assert verdict.equals_tree


def test_a_verdict_is_known_by_task_and_tree() -> None:
    right = submit(TASK, OLD, TASK.patch, here())
    same = submit(TASK, OLD, patch({"src/calc/core.py": RIGHT}), here())
    other = submit(TASK, OLD, patch({"src/calc/core.py": CORE + "\n"}), here())
    keys = [verdict_key(TASK, s) for s in (right, same, other)]
    assert keys[0] == keys[1] != keys[2]
    assert verdict_key(dataclasses.replace(TASK, environment="other"), right) != keys[0]


def outcome(*lines: object, status: int | None = 1, **more: object) -> Outcome:
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    values = {"end": "exit", "exit_status": status, "cpu_s": 1.0, "stdout": EMPTY, "stderr": EMPTY}
    return Outcome(**{**values, "results": Captured(text), **more})  # type: ignore[arg-type]


def told(name: str, said: str = "passed") -> dict[str, str]:
    return {"id": name, "outcome": said, "why": ""}


END = {"status": 1}


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([["m", 1, "test", told("a")], ["n", 2, "end", END]], 1),  # another's number
        ([["n", 1, "test", told("a")], ["n", 3, "end", END]], 1),  # one is missing
        ([["n", 1, "test", told("a")], ["n", 2, "test", told("a")], ["n", 3, "end", END]], 1),
        ([["n", 1, "end", END], ["n", 2, "test", told("a")]], 1),  # after the end
        ([["n", 1, "test", {"id": "a"}]], 1),
        ([["n", 1, ["test"], told("a")]], 1),
        ([["n", 1, "changed", {"what": "len"}], ["n", 2, "end", END]], 1),
        ([{"n": 1}], 1),
        ([3], 1),
    ],
)
def test_what_the_runner_did_not_write_is_forged(lines: list[object], status: int) -> None:
    assert read_results(outcome(*lines, status=status), "n").forged


def test_results_end_with_the_status_of_the_process() -> None:
    lines = [["n", 1, "test", told("a")], ["n", 2, "end", END]]
    results = read_results(outcome(*lines), "n")
    assert (results.ended, results.forged, results.passed("a")) == (True, None, True)
    assert not results.passed("b")
    assert not read_results(outcome(*lines, status=0), "n").ended
    assert not read_results(outcome(*lines[:1]), "n").ended
    assert not read_results(outcome(*lines, end="cpu", status=None), "n").ended


def test_results_that_were_cut_are_forged() -> None:
    assert read_results(outcome(results=Captured(b"", b"", 10)), "n").forged
    assert read_results(outcome(results=Captured(b'["n"')), "n").forged


@pytest.mark.parametrize("runner", ["pytest", "unittest"])
def test_canaries_are_new_each_time_and_tell_lies(runner: str) -> None:
    birds = canaries(runner, "tests/inner/test_x.py", "0123456789abcdef")
    others = canaries(runner, "tests/inner/test_x.py", "fedcba9876543210")
    assert birds.path != others.path
    assert not {birds.passing, *birds.failing} & {others.passing, *others.failing}
    assert birds.path.startswith("tests/inner/test_")
    well = {birds.passing: "passed", **dict.fromkeys(birds.failing, "failed")}
    assert birds.verdict(well) == (False, True)
    assert birds.verdict({**well, birds.failing[0]: "passed"}) == (True, False)
    assert birds.verdict({**well, birds.failing[1]: "skipped"}) == (True, False)
    assert birds.verdict({}) == (False, False)
