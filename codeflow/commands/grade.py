"""`codeflow grade`: predictions that were made elsewhere, graded by tasks."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codeflow.commands import sentence
from codeflow.errors import EXIT_INCOMPLETE, EXIT_OK, UsageError


def add(commands: Any) -> None:
    """Puts the command on the parser."""
    text = "grade predictions that were made elsewhere, with pass@k"
    parser = commands.add_parser("grade", help=text, description=sentence(text))
    parser.set_defaults(command=_grade)
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="JSONL: instance_id and model_patch a line"
    )
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="dataset folder with the tasks"
    )
    parser.add_argument("--name", default="default", metavar="NAME", help="which set of tasks")
    parser.add_argument(
        "--k", default="1", metavar="K,...", help="for which k to give pass@k (default: 1)"
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="write each verdict, as JSONL")
    parser.add_argument("--json", action="store_true", help="the score as one JSON object")
    parser.add_argument(
        "--sandbox",
        default="bwrap",
        metavar="NAME",
        help="bwrap, or a container engine and its image, as in docker:python:3.12",
    )


def _grade(parsed: argparse.Namespace) -> int:
    from codeflow.evaluate.predictions import grade_all, read_predictions, result_line, score
    from codeflow.sandbox.choose import find_sandbox
    from codeflow.storage.files import write_bytes
    from codeflow.tasks.store import TaskSet

    ks = _numbers(parsed.k)
    predictions = read_predictions(parsed.file)
    tasks = TaskSet(parsed.data, parsed.name)
    graded = list(grade_all(tasks, predictions, find_sandbox(parsed.sandbox)))
    if parsed.to is not None:
        lines = "".join(f"{result_line(*one)}\n" for one in graded)
        write_bytes(parsed.to, lines.encode())
    found = score(graded, ks)
    if parsed.json:
        print(json.dumps(asdict(found)))
    else:
        print(f"{found.predictions:,} predictions for {found.tasks:,} tasks")
        for name in ("passed", "applies", "equals_tree", "tampered", "truncated"):
            print(f"  {getattr(found, name):,} {name.replace('_', ' ')}")
        for name in ("infrastructure", "unknown"):
            if count := getattr(found, name):
                print(f"  {count:,} {name}: in no rate")
        for rate in found.rates:
            print(
                f"pass@{rate.k} {rate.value:.3f}  ({rate.low:.3f} to {rate.high:.3f}, "
                f"{rate.problems:,} tasks)"
            )
    return EXIT_INCOMPLETE if found.infrastructure or found.unknown else EXIT_OK


def _numbers(text: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = [0]
    if numbers[0] < 1:
        raise UsageError(f"--k {text}: give numbers from 1 on, as in 1,10")
    return numbers
