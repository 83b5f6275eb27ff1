"""From a candidate to a task: what its tests do before and after the change, three times a side.

A test fails-to-pass when it passed in no run before and in every run after; it passes-to-pass when
it passed in all six. The runs differ in the seed of hashes and in the order of the tests, so what
depends on either is flaky: listed, and judged by nobody. What remains becomes a task only if the
grader itself gives 1 for the true change and 0 for an empty one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from codeflow.git.apply import File
from codeflow.sandbox.job import Sandbox, SandboxError
from codeflow.tasks.grading.environment import Environment
from codeflow.tasks.grading.grade import Verdict, grade
from codeflow.tasks.grading.suite import METADATA, Ran, Suite, run_suite
from codeflow.tasks.making import uv
from codeflow.tasks.making.candidates import RejectedError, Split, hidden_tests
from codeflow.tasks.making.project import Project, allows, metadata_of, read_project
from codeflow.tasks.task import Task
from codeflow.text.messages import instruction
from codeflow.triple import Triple

RUNS: Final = 3
_TRY_CPU_S: Final = 120.0  # for one run of a few test files, before it is known what they take
_LEAST_CPU_S: Final = 10.0
_TIMES: Final = 10  # what a solution may take, by what the true change took
_LATER: Final = tuple(timedelta(days=365 * years) for years in (1, 3, 6))
_NO_MODULE: Final = re.compile(r"ModuleNotFoundError: No module named '(\w+)")
_SHORT: Final = 8  # letters of a statement that says nothing


@dataclass
class Spent:
    """CPU seconds of all runs so far, also of a candidate that is rejected."""

    cpu_s: float = 0.0


def make_task(
    triple: Triple, parts: Split, environments: Path, sandbox: Sandbox, spent: Spent
) -> Task:
    """Makes a task of a candidate.

    Raises:
        RejectedError: it does not become one. SandboxError: the machine failed, not the candidate.
    """
    statement = instruction(triple.messages).strip()
    if len(statement) < _SHORT:
        raise RejectedError("no-statement", "its messages say nothing")
    project = read_project(parts.new)
    tests = hidden_tests(triple)
    suite = Suite(
        _runner(tests, parts.new),
        tests,
        project.roots,
        project.ini,
        metadata_of(project, METADATA),
    )
    environment, first = _environment(triple, project, suite, parts, environments, sandbox, spent)
    task = _described(triple, parts, statement, project, suite, environment)
    task = _with_statuses(task, suite, parts, environment, first, sandbox, spent)
    _accept(task, parts, environment, sandbox, spent)
    return replace(task, cpu_s=round(spent.cpu_s, 2))


def _runner(tests: Sequence[str], files: Mapping[str, File]) -> str:
    """unittest where its tests are all there is and nothing speaks of pytest."""
    texts = [files[path][1] for path in tests]
    texts += [files[path][1] for path in files if path.endswith("conftest.py")]
    plain = all(b"unittest" in text and b"\ndef test" not in text for text in texts)
    return "unittest" if plain and not any(b"pytest" in text for text in texts) else "pytest"


def _environment(
    triple: Triple,
    project: Project,
    suite: Suite,
    parts: Split,
    environments: Path,
    sandbox: Sandbox,
    spent: Spent,
) -> tuple[Environment, Ran]:
    """The first environment of the ladder in which hidden tests pass after the change."""
    last = RejectedError("no-environment", "no interpreter of this machine fits")
    runner = ("pytest",) if suite.runner == "pytest" else ()
    for interpreter, requirements, until in _ladder(triple, project):
        wanted = [*requirements, *runner]
        missing: str | None = ""
        while missing is not None:
            try:
                lock = uv.resolve(wanted, interpreter, until)
                environment = uv.build(environments, lock, interpreter)
            except uv.ResolutionError as error:
                if not missing:  # else what was missing cannot be had, and is told already
                    last = RejectedError("no-environment", str(error))
                break
            ran = _run(suite, parts.new, environment, sandbox, spent)
            if ran.results.ended and any(map(ran.results.passed, ran.results.tests)):
                return environment, ran
            last = RejectedError("no-test-passes", _reason(ran))
            missing = _missing(ran, parts.new)
            if missing is None or missing in wanted:
                break
            wanted.append(missing)
    raise last


def _ladder(
    triple: Triple, project: Project
) -> Iterator[tuple[uv.Interpreter, tuple[str, ...], datetime | None]]:
    """What is tried, in order: interpreter, requirements, and the date that packages are of.

    As it was then; the project's own needs alone; as it was when there were wheels for what had
    none then; as it is now.
    """
    versions = [i for i in uv.interpreters() if allows(project.python, i.version)]
    if not versions:
        return
    day = triple.committed_at + timedelta(days=1)
    then = uv.interpreter_of(day, versions)
    own = project.requirements[: project.needed]
    yield then, project.requirements, day
    if project.requirements != own:
        yield then, own, day
    for later in _LATER:
        if day + later < datetime.now(UTC):
            yield uv.interpreter_of(day + later, versions), project.requirements, day + later
    yield then, project.requirements, None
    if versions[-1] != then:
        yield versions[-1], project.requirements, None


def _run(
    suite: Suite,
    files: Mapping[str, File],
    environment: Environment,
    sandbox: Sandbox,
    spent: Spent,
    seed: int = 0,
) -> Ran:
    ran = run_suite(sandbox, environment, suite, files, _TRY_CPU_S, seed)
    spent.cpu_s += ran.cpu_s
    return ran


def _missing(ran: Ran, files: Mapping[str, File]) -> str | None:
    """A module of nobody's that could not be imported; most packages are named for theirs."""
    told = "\n".join([*ran.results.broken.values(), *ran.results.reasons.values(), ran.output])
    for name in _NO_MODULE.findall(told):
        ours = any(f"/{path}".endswith((f"/{name}.py", f"/{name}/__init__.py")) for path in files)
        if not ours and name not in sys.stdlib_module_names:
            return str(name)
    return None


def _reason(ran: Ran) -> str:
    """Why nothing passed, in one line."""
    results = ran.results
    for why in (*results.broken.values(), *results.reasons.values()):
        lines = [line for line in why.strip().splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()[:300]
    if results.forged:
        return results.forged
    last = [line for line in ran.output.splitlines() if line.strip()]
    return (last[-1].strip() if last else f"ended by {ran.end}")[:300]


def _with_statuses(
    task: Task,
    suite: Suite,
    parts: Split,
    environment: Environment,
    first: Ran,
    sandbox: Sandbox,
    spent: Spent,
) -> Task:
    before = [_run(suite, parts.before, environment, sandbox, spent)]
    if first.results.forged is not None:
        raise RejectedError("tampers", first.results.forged)
    passing = {name for name in first.results.tests if first.results.passed(name)}
    if not any(not before[0].results.passed(name) for name in passing):
        raise RejectedError("no-fail-to-pass", "the new tests pass before the change, too")
    after = [first]
    for seed in range(1, RUNS):
        after.append(_run(suite, parts.new, environment, sandbox, spent, seed))
        before.append(_run(suite, parts.before, environment, sandbox, spent, seed))
    names = {name for ran in (*before, *after) for name in ran.results.tests}
    counts = {name: (_passes(before, name), _passes(after, name)) for name in sorted(names)}
    to_pass = tuple(name for name, count in counts.items() if count == (0, RUNS))
    to_keep = tuple(name for name, count in counts.items() if count == (RUNS, RUNS))
    flaky = tuple(n for n, c in counts.items() if not {*c} <= {0, RUNS})
    if not to_pass:
        why = ", ".join(flaky[:3])
        raise RejectedError("flaky" if flaky else "no-fail-to-pass", why)
    cpu_s = max(ran.cpu_s for ran in after)
    return replace(
        task,
        fail_to_pass=to_pass,
        pass_to_pass=to_keep,
        flaky=flaky,
        cpu_limit_s=max(_LEAST_CPU_S, round(_TIMES * cpu_s, 1)),
    )


def _passes(runs: Sequence[Ran], name: str) -> int:
    return sum(ran.results.passed(name) for ran in runs)


def _accept(
    task: Task, parts: Split, environment: Environment, sandbox: Sandbox, spent: Spent
) -> None:
    """The last word is the grader's."""
    for patch, wanted in ((task.patch, 1.0), ("", 0.0)):
        verdict: Verdict = grade(task, parts.old, patch, environment, sandbox)
        spent.cpu_s += verdict.cpu_s
        if verdict.infrastructure is not None:
            raise SandboxError(verdict.infrastructure)
        if verdict.reward != wanted:
            why = (verdict.detail or "")[:300]
            raise RejectedError("gold-refused" if wanted else "empty-passes", why)


def _described(
    triple: Triple,
    parts: Split,
    statement: str,
    project: Project,
    suite: Suite,
    environment: Environment,
) -> Task:
    """A task without the statuses of its tests."""
    repo = repo_name(triple)
    return Task(
        instance_id=f"{repo.replace('/', '__')}-{triple.id[:12]}",
        repo=repo,
        base_commit=triple.old_commit,
        patch=parts.patch,
        test_patch=parts.test_patch,
        problem_statement=statement,
        hints_text="",
        created_at=triple.committed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=project.version,
        fail_to_pass=(),
        pass_to_pass=(),
        environment_setup_commit=triple.old_commit,
        triple_id=triple.id,
        repo_id=triple.repo,
        old_tree=triple.old_tree,
        new_tree=triple.new_tree,
        split="",
        environment=environment.key,
        runner=suite.runner,
        test_files=suite.tests,
        roots=suite.roots,
        ini=suite.ini,
        metadata=suite.metadata,
        flaky=(),
        cpu_s=0.0,
        cpu_limit_s=_TRY_CPU_S,
        steps=len(triple.commits),
    )


def repo_name(triple: Triple) -> str:
    """`owner/name` of an address, the name alone of a path."""
    parts = triple.repo_url.removesuffix("/").removesuffix(".git").split("/")
    return "/".join(parts[-2:]) if "://" in triple.repo_url and len(parts) > 4 else parts[-1]
