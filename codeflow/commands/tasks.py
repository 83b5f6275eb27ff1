"""`codeflow tasks make`, `validate`, `run`, `show` and `export`: executable tasks of a dataset."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_INCOMPLETE, EXIT_OK, UsageError

if TYPE_CHECKING:
    from codeflow.tasks.grading.grade import Verdict
    from codeflow.tasks.task import Task

_NAMED = 10


def add(commands: Any) -> None:
    """Puts the commands on the parser."""
    text = "executable tasks from triples: make, validate, run, show, export"
    group = commands.add_parser("tasks", help=text, description=sentence(text))
    inner = group.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> Any:
        parser = inner.add_parser(name, help=text, description=sentence(text))
        parser.set_defaults(command=run)
        parser.add_argument("dir", type=Path, metavar="DIR", help="dataset folder")
        parser.add_argument(
            "--name", default="default", metavar="NAME", help="which set of tasks of the folder"
        )
        return parser

    make = command("make", "make tasks of the triples that change tests and source", _make)
    make.add_argument("--kinds", metavar="KIND,...", help="kinds of triples (default: all)")
    make.add_argument(
        "--limit", type=int, default=0, metavar="N", help="try at most N candidates, by their ids"
    )
    make.add_argument(
        "--decontaminate",
        action="extend",
        nargs="+",
        default=[],
        metavar="JSONL",
        help="leave out tasks that these benchmark instances would be given away by",
    )
    make.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="1 works in this process, more are Ray workers (default: by what there is to do)",
    )
    make.add_argument("--ray-address", metavar="ADDR", help="use this Ray cluster, or `auto`")
    make.add_argument("--json", action="store_true", help="progress and summary as JSON lines")
    _add_sandbox(make)

    validate = command("validate", "grade each task's true change and an empty one", _validate)
    validate.add_argument(
        "--times", type=int, default=1, metavar="N", help="how often each (default: 1)"
    )
    validate.add_argument("--json", action="store_true", help="a line a task as JSON")
    _add_sandbox(validate)

    one = "an instance id, a triple's id, or the beginning of one"
    run = command("run", "grade a patch", _run)
    run.add_argument("id", metavar="ID", help=one)
    run.add_argument(
        "--patch", required=True, metavar="FILE", help="what is graded; - for standard input"
    )
    run.add_argument("--json", action="store_true", help="the verdict as one JSON object")
    run.add_argument("--fresh", action="store_true", help="grade again what was graded before")
    _add_sandbox(run)

    show = command("show", "show a set of tasks, or one of them", _show)
    show.add_argument("id", nargs="?", metavar="ID", help=one)
    show.add_argument("--json", action="store_true", help="as JSON; of a set, a line a task")

    export = command("export", "write tasks as a benchmark that others read", _export)
    export.add_argument("--format", required=True, choices=("swebench",), help="whose form")
    export.add_argument("--to", required=True, type=Path, metavar="FILE", help="a JSONL file")


def _add_sandbox(parser: Any) -> None:
    parser.add_argument(
        "--sandbox",
        default="bwrap",
        metavar="NAME",
        help="bwrap, or a container engine and its image, as in docker:python:3.12",
    )


def _make(parsed: argparse.Namespace) -> int:
    if parsed.workers is not None and parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: give 1 or more")
    if parsed.limit < 0:
        raise UsageError(f"--limit {parsed.limit}: give 0 or more")
    from codeflow.commands.options import with_progress
    from codeflow.tasks.making.driver import MakeConfig, make

    kinds = tuple(k.strip() for k in (parsed.kinds or "").split(",") if k.strip())
    config = MakeConfig(kinds, parsed.limit, tuple(parsed.decontaminate))
    made = with_progress(
        parsed.json,
        lambda progress: make(
            parsed.dir,
            parsed.name,
            config,
            progress,
            parsed.workers,
            parsed.ray_address,
            parsed.sandbox,
        ),
    )
    if parsed.json:
        print(json.dumps({"event": "summary", **asdict(made), "place": str(made.place)}))
        return EXIT_OK
    print(f"{made.tasks:,} tasks of {made.candidates:,} candidates in {made.triples:,} triples")
    for rule, count in made.rules.items():
        print(f"  {count:,} rejected: {rule}")
    print(f"{made.environments:,} environments, {made.cpu_s:,.0f} s of a processor")
    print(f"in {made.place}")
    return EXIT_OK


def _validate(parsed: argparse.Namespace) -> int:
    if parsed.times < 1:
        raise UsageError(f"--times {parsed.times}: give 1 or more")
    from codeflow.sandbox.choose import find_sandbox
    from codeflow.tasks.grading.grade import grade
    from codeflow.tasks.store import TaskSet

    tasks, sandbox = TaskSet(parsed.dir, parsed.name), find_sandbox(parsed.sandbox)
    wrong = 0
    for task in tasks.tasks:
        old, environment = tasks.old_files(task), tasks.environment(task)
        gold, empty = (
            [grade(task, old, patch, environment, sandbox) for _ in range(parsed.times)]
            for patch in (task.patch, "")
        )
        rewards = {"gold": [v.reward for v in gold], "empty": [v.reward for v in empty]}
        good = {*rewards["gold"]} == {1.0} and {*rewards["empty"]} == {0.0}
        wrong += not good
        if parsed.json:
            print(json.dumps({"instance_id": task.instance_id, "valid": good, **rewards}))
        elif not good:
            bad = next((v for v in gold if v.reward != 1.0), empty[0])
            print(f"{task.instance_id}: {rewards}: {bad.infrastructure or bad.detail}")
        sys.stdout.flush()
    if not parsed.json:
        print(f"{len(tasks.tasks) - wrong:,} of {len(tasks.tasks):,} tasks are valid")
    return EXIT_INCOMPLETE if wrong else EXIT_OK


def _run(parsed: argparse.Namespace) -> int:
    from codeflow.sandbox.choose import find_sandbox
    from codeflow.tasks.store import TaskSet

    patch = _patch(parsed.patch)
    tasks = TaskSet(parsed.dir, parsed.name)
    task = tasks.task(parsed.id)
    verdict = tasks.graded(task, patch, find_sandbox(parsed.sandbox), parsed.fresh)
    if parsed.json:
        print(json.dumps(verdict.as_json))
    else:
        _tell(verdict)
    return EXIT_OK if verdict.reward == 1.0 else EXIT_INCOMPLETE


def _patch(name: str) -> str:
    """The patch byte for byte: its line ends belong to it."""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}; give a file with a patch") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: not UTF-8 text; give a file with a patch") from None


def _tell(verdict: Verdict) -> None:
    from codeflow.text.escape import one_line

    reward = "none" if verdict.reward is None else f"{verdict.reward:g}"
    print(f"reward         {reward}")
    print(f"applies        {_yes(verdict.applies)}")
    print(f"equals tree    {_yes(verdict.equals_tree)}")
    for name, statuses in (
        ("fail-to-pass", verdict.fail_to_pass),
        ("pass-to-pass", verdict.pass_to_pass),
    ):
        print(f"{name}   {sum(statuses.values())} of {len(statuses)}")
    for name in ("tampered", "infrastructure", "detail"):
        if (why := getattr(verdict, name)) is not None:
            print(f"{name:14} {one_line(why)}")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _show(parsed: argparse.Namespace) -> int:
    from codeflow.tasks.store import TaskSet, by_rule

    tasks = TaskSet(parsed.dir, parsed.name)
    if parsed.id is not None:
        task = tasks.task(parsed.id)
        print(json.dumps(_object(task))) if parsed.json else _show_one(task)
        return EXIT_OK
    if parsed.json:
        for task in tasks.tasks:
            print(json.dumps(_object(task)))
        return EXIT_OK
    from codeflow.text.escape import one_line

    print(f"{len(tasks.tasks):,} tasks, {len(tasks.rejected):,} candidates rejected")
    for rule, count in by_rule(tasks.rejected):
        print(f"  {count:,} {rule}")
    for task in tasks.tasks:
        first = one_line(task.problem_statement.splitlines()[0])[:60]
        counts = f"{len(task.fail_to_pass)}+{len(task.pass_to_pass)} tests"
        print(f"{one_line(task.instance_id)}  {counts}  {first}")
    return EXIT_OK


def _object(task: Task) -> dict[str, Any]:
    return {**asdict(task), "metadata": dict(task.metadata)}


def _show_one(task: Task) -> None:
    from codeflow.text.escape import one_line

    print(one_line(task.instance_id))
    rows = {
        "repository": f"{task.repo} at {task.base_commit}",
        "triple": f"{task.triple_id}, {task.split}",
        "environment": f"{task.environment}, {task.runner}",
        "tests": ", ".join(task.test_files),
        "flaky": f"{len(task.flaky)}",
        "took": f"{task.cpu_s:g} s of a processor; a solution may take {task.cpu_limit_s:g} s",
    }
    for name, value in rows.items():
        print(f"  {name:12} {one_line(value)}")
    for name, ids in (("fail to pass", task.fail_to_pass), ("pass to pass", task.pass_to_pass)):
        print(f"  {name:12} {len(ids)}")
        for id in ids[:_NAMED]:
            print(f"    {one_line(id)}")
        if len(ids) > _NAMED:
            print(f"    and {len(ids) - _NAMED} more")
    print()
    for line in task.problem_statement.splitlines():
        print(f"  {one_line(line)}")


def _export(parsed: argparse.Namespace) -> int:
    from codeflow.tasks.export import write_swebench
    from codeflow.tasks.store import TaskSet

    count = write_swebench(TaskSet(parsed.dir, parsed.name).tasks, parsed.to)
    print(f"{count:,} instances in {parsed.to}")
    return EXIT_OK
