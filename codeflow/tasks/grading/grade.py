"""The grader: what a submission to a task comes to, and whether that can be believed.

A submission is a patch. It is applied by our own apply, which takes nothing approximately, to the
repository before the change; then the hidden tests are written over it, and run in a fresh sandbox
without the history. The verdict has all that was seen. Its reward is 1 where every test that the
true change made pass does and none that passed before fails; None where the infrastructure failed,
since an outage says nothing of a solution; else 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from codeflow.errors import DataError
from codeflow.git.apply import File, changed_files
from codeflow.git.patch import parse_patch
from codeflow.sandbox.job import Sandbox, SandboxError
from codeflow.tasks.grading.environment import Environment
from codeflow.tasks.grading.protect import refusal
from codeflow.tasks.grading.suite import Suite, run_suite
from codeflow.tasks.task import Task
from codeflow.tasks.trees import edited, tree_of
from codeflow.text.paths import refused_by_git

_CODE: int = 1  # of a verdict's meaning; a cached one of another is graded again


@dataclass(frozen=True)
class Verdict:
    """What was seen of one submission.

    Attributes:
        reward: 1, 0, or None where nothing may be concluded.
        applies: whether the patch fits exactly.
        equals_tree: whether it gives the very tree of the true change.
        fail_to_pass: whether each test that has to pass now does.
        pass_to_pass: whether each test that has to go on passing does.
        tampered: how it interfered with its judgement, in one line, or None.
        infrastructure: what failed that is not the submission's, or None.
        end: how the run ended: `exit`, or the limit that it went over; `refused` without a run.
        detail: the first reason of a 0, for people.
    """

    reward: float | None
    applies: bool
    equals_tree: bool = False
    fail_to_pass: Mapping[str, bool] = field(default_factory=dict)
    pass_to_pass: Mapping[str, bool] = field(default_factory=dict)
    tampered: str | None = None
    infrastructure: str | None = None
    end: str = "refused"
    detail: str | None = None
    cpu_s: float = 0.0

    @property
    def as_json(self) -> dict[str, Any]:
        """Its values under their names."""
        return asdict(self)


@dataclass(frozen=True)
class Submission:
    """A patch on a task's repository: the files that result, or why it is not judged by tests."""

    files: Mapping[str, File]
    tree: str = ""
    verdict: Verdict | None = None


def grade(
    task: Task,
    old: Mapping[str, File],
    patch: str,
    environment: Environment,
    sandbox: Sandbox,
) -> Verdict:
    """Judges a patch.

    Args:
        old: the repository before the change, all files.
    """
    submission = submit(task, old, patch, environment)
    if submission.verdict is not None:
        return submission.verdict
    return judge(task, submission, environment, sandbox)


def submit(task: Task, old: Mapping[str, File], patch: str, environment: Environment) -> Submission:
    """Applies a patch and then the hidden tests, without running anything."""
    try:
        changed = changed_files(parse_patch(patch.encode(), with_ids=False), old)
    except (DataError, UnicodeEncodeError) as error:
        return _refused(False, str(error))
    for path, file in changed.items():
        if file is not None and refused_by_git(path, file[0]):
            return _refused(False, f"{path}: git refuses this name")
    tests = parse_patch(task.test_patch.encode())
    touched = {path for p in tests for path in (p.old_path, p.new_path) if path is not None}
    why = refusal(changed, old, touched, task.roots, environment.names)
    if why is not None:
        return _refused(True, why)
    try:
        files = edited(old, changed)
        files = edited(files, changed_files(tests, files))
        return Submission(files, tree_of(files))
    except DataError as error:  # a file and a folder at one path
        return _refused(False, str(error))


def _refused(applies: bool, why: str) -> Submission:
    tampered = why if applies else None
    return Submission({}, "", Verdict(0.0, applies, tampered=tampered, detail=why))


def judge(
    task: Task, submission: Submission, environment: Environment, sandbox: Sandbox
) -> Verdict:
    """Runs the hidden tests on a submission."""
    suite = Suite(task.runner, task.test_files, task.roots, task.ini, task.metadata)
    equal = submission.tree == task.new_tree
    try:
        ran = run_suite(sandbox, environment, suite, submission.files, task.cpu_limit_s)
    except SandboxError as error:
        return Verdict(None, True, equal, infrastructure=str(error), end="infrastructure")
    results = ran.results
    to_pass = {name: results.passed(name) for name in task.fail_to_pass}
    to_keep = {name: results.passed(name) for name in task.pass_to_pass}
    failed = [name for name, passed in (to_pass | to_keep).items() if not passed]
    detail = None
    if results.forged is not None:
        detail = results.forged
    elif ran.end != "exit":
        detail = f"over its limit: {ran.end}"
    elif failed:
        why = results.reasons.get(failed[0]) or results.tests.get(failed[0], "did not run")
        detail = f"{failed[0]}: {why}"
    elif not results.ended:
        detail = "the tests did not come to their end"
    return Verdict(
        0.0 if detail else 1.0,
        True,
        equal,
        to_pass,
        to_keep,
        results.forged,
        None,
        ran.end,
        detail,
        ran.cpu_s,
    )


def verdict_key(task: Task, submission: Submission) -> str:
    """What a verdict depends on: the task with its environment, and the tree that is tested."""
    parts = (str(_CODE), task.instance_id, task.environment, task.new_tree, submission.tree)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
