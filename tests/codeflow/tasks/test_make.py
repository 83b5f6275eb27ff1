"""A mined history made tasks, with `uv` and the sandbox at work, and git and Python as judges."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch as replaced

import pytest

import codeflow
from calculator import COMMITS, NOT_TASKS, mined, wheelhouse
from codeflow import cli
from codeflow.errors import CodeflowError, DataError
from codeflow.execution.progress import Quiet
from codeflow.sandbox.job import Job, Outcome, SandboxError
from codeflow.tasks.making import driver as making
from codeflow.tasks.making.driver import Made, MakeConfig, make
from codeflow.tasks.store import TaskSet
from gitdag import git
from small_history import ROOT, environment

pytestmark = pytest.mark.slow  # each builds and runs; the parts are tested on their own

TASKS = COMMITS - 1 - len(NOT_TASKS)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    variables = wheelhouse(tmp_path_factory.mktemp("wheels"))
    with replaced.dict(os.environ, variables):
        yield variables


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mined(tmp_path_factory.mktemp("calculator"))


@pytest.fixture(scope="module")
def made(data: Path, index: dict[str, str]) -> Made:
    return make(data, "default", MakeConfig(), Quiet())


@pytest.fixture
def tasks(made: Made, data: Path) -> TaskSet:
    return TaskSet(data, "default")


def test_each_change_is_the_task_or_the_rejection_that_it_was_written_to_be(
    made: Made, tasks: TaskSet
) -> None:
    assert (made.candidates, made.tasks) == (COMMITS - 1, TASKS)
    assert made.rules == dict.fromkeys(NOT_TASKS.values(), 1)
    assert made.environments == 2  # one has the package that nothing names
    for task in tasks.tasks:
        [path] = task.test_files
        k = int(path.removeprefix("tests/test_f").removesuffix(".py"))
        assert task.fail_to_pass == (f"{path}::TestF{k}::test_f{k}",)
        assert (task.pass_to_pass, task.flaky, task.runner) == ((), (), "unittest")
        assert task.problem_statement == f"Add the function f{k} to the package\n\nFor sums."
        assert "tests/" not in task.patch
        assert "calculator/" not in task.test_patch.replace("from calculator", "")
    rules = {row["rule"]: row["triple_id"] for row in tasks.rejected}
    assert len(rules) == len(NOT_TASKS)


def test_git_and_python_alone_agree(tasks: TaskSet, tmp_path: Path) -> None:
    task = tasks.tasks[0]
    git("init", "-q", tmp_path)
    codeflow.open(tasks.folder).checkout(task.triple_id, "old", tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "old")
    for name in ("tinydep", "tinyextra"):
        (tmp_path / f"{name}.py").write_text("ONE = 1\n")

    def passes() -> bool:
        words = [sys.executable, "-m", "unittest", task.test_files[0]]
        return subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0

    git("apply", "-", cwd=tmp_path, input=task.test_patch.encode())
    assert not passes()
    git("apply", "-", cwd=tmp_path, input=task.patch.encode())
    assert passes()


def test_what_was_made_is_not_made_again(made: Made, data: Path, index: dict[str, str]) -> None:
    before = {p.name: p.read_bytes() for p in made.place.glob("*.parquet")}
    with replaced.object(making, "make_task", side_effect=AssertionError):
        again = make(data, "default", MakeConfig(), Quiet())
    assert again == made
    assert {p.name: p.read_bytes() for p in made.place.glob("*.parquet")} == before


def test_a_machine_that_fails_ends_the_run_and_leaves_no_mark(
    data: Path, index: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shutil.rmtree(copy / "tasks", ignore_errors=True)
    for marker in (copy / ".work" / "done").glob("tasks-*"):
        shutil.rmtree(marker)

    class Failing:
        name = "failing"

        def run(self, job: Job) -> Outcome:
            raise SandboxError("sandbox: no room")

    with (
        replaced.object(making, "find_sandbox", return_value=Failing()),
        pytest.raises(CodeflowError, match="no room"),
    ):
        make(copy, "default", MakeConfig(limit=1), Quiet())
    assert make(copy, "default", MakeConfig(limit=1), Quiet()).candidates == 1


def test_killed_anywhere_it_goes_on_to_the_same_tasks(
    tasks: TaskSet, data: Path, index: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shutil.rmtree(copy / "tasks")
    done = copy / ".work" / "done"
    for marker in done.glob("tasks-*"):
        shutil.rmtree(marker)
    words = [sys.executable, "-m", "codeflow", "tasks", "make", str(copy), "--limit", "5"]
    pause = threading.Event()
    for wanted in (1, 3):
        run = subprocess.Popen(
            [*words, "--workers", "1"], env={**environment(), **index}, stderr=subprocess.DEVNULL
        )
        while len(list(done.glob("tasks-*/*.json"))) < wanted and run.poll() is None:
            pause.wait(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
    result = make(copy, "default", MakeConfig(limit=5), Quiet())
    assert result.candidates == 5
    ids = [task.instance_id for task in TaskSet(copy, "default").tasks]
    expected = [task.instance_id for task in tasks.tasks]
    rejected = {row["triple_id"] for row in TaskSet(copy, "default").rejected}
    assert ids == expected[: len(ids)]
    assert len(ids) + len(rejected) == 5


def test_workers_of_ray_make_the_same(
    tasks: TaskSet, data: Path, index: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shutil.rmtree(copy / "tasks")
    for marker in (copy / ".work" / "done").glob("tasks-*"):
        shutil.rmtree(marker)
    make(copy, "default", MakeConfig(limit=6), Quiet(), workers=2)
    ids = [task.instance_id for task in TaskSet(copy, "default").tasks]
    assert ids == [task.instance_id for task in tasks.tasks][: len(ids)]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = cli.main(["tasks", *words])
    return status, capsys.readouterr().out


def test_the_commands(
    tasks: TaskSet, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tasks.tasks[0]
    gold = tmp_path / "gold.patch"
    gold.write_text(task.patch)
    words = (str(data), task.instance_id, "--patch", str(gold), "--json")
    status, text = run(capsys, "run", *words)
    verdict = json.loads(text)
    assert (status, verdict["reward"], verdict["equals_tree"]) == (0, 1.0, True)
    assert set(verdict) >= {"applies", "fail_to_pass", "tampered", "infrastructure"}
    with replaced("codeflow.tasks.store.judge", side_effect=AssertionError):
        assert json.loads(run(capsys, "run", *words)[1]) == verdict  # as it was judged before
        with pytest.raises(AssertionError):
            run(capsys, "run", *words, "--fresh")
    (tmp_path / "empty").write_text("")
    status, text = run(capsys, "run", str(data), task.triple_id, "--patch", str(tmp_path / "empty"))
    assert (status, text.splitlines()[0].split()) == (1, ["reward", "0"])

    status, text = run(capsys, "show", str(data))
    assert text.startswith(f"{TASKS} tasks, {len(NOT_TASKS)} candidates rejected\n")
    status, text = run(capsys, "show", str(data), task.instance_id)
    assert task.fail_to_pass[0] in text
    status, text = run(capsys, "show", str(data), "--json")
    assert [json.loads(line)["instance_id"] for line in text.splitlines()] == [
        t.instance_id for t in tasks.tasks
    ]

    exported = tmp_path / "instances.jsonl"
    run(capsys, "export", str(data), "--format", "swebench", "--to", str(exported))
    rows = [json.loads(line) for line in exported.read_text().splitlines()]
    assert [row["instance_id"] for row in rows] == [t.instance_id for t in tasks.tasks]
    assert json.loads(rows[0]["FAIL_TO_PASS"]) == list(task.fail_to_pass)

    with pytest.raises(DataError, match="no task begins"):
        tasks.task("nosuch")
    with pytest.raises(DataError, match="more than one"):
        tasks.task(task.instance_id[:5])


def test_validate_grades_both_ends(
    tasks: TaskSet, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = tasks.tasks[:2]
    with replaced("codeflow.tasks.store.TaskSet.tasks", some):
        status, text = run(capsys, "validate", str(data), "--times", "2", "--json")
    assert status == 0
    for line in text.splitlines():
        row = json.loads(line)
        assert (row["valid"], row["gold"], row["empty"]) == (True, [1.0, 1.0], [0.0, 0.0])


def test_what_a_benchmark_holds_is_left_out(
    made: Made, tasks: TaskSet, data: Path, index: dict[str, str], tmp_path: Path
) -> None:
    first, second = tasks.tasks[:2]
    lines = [
        {"instance_id": "b-1", "base_commit": first.base_commit, "patch": ""},
        {"instance_id": "b-2", "base_commit": "0" * 40, "patch": second.patch.replace(" ", "  ")},
    ]
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    config = MakeConfig(benchmarks=(str(benchmark),))
    assert make(data, "apart", config, Quiet()).tasks == TASKS - 2
    rows = {r["triple_id"]: r for r in TaskSet(data, "apart").rejected if r["rule"] == "benchmark"}
    assert rows.keys() == {first.triple_id, second.triple_id}
    assert rows[first.triple_id]["detail"] == "b-1"


def test_a_folder_without_tasks_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="codeflow tasks make"):
        TaskSet(tmp_path, "default")
    done = subprocess.run(
        [sys.executable, "-m", "codeflow", "tasks", "show", str(tmp_path)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
