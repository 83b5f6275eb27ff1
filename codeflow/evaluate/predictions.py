"""Predictions that were made elsewhere, graded by the tasks that they belong to.

A file holds one JSON object a line, as SWE-bench has them: `instance_id`, `model_patch`, and
maybe `model_name_or_path` and `finish_reason`. Several of one instance are its samples. A tree that
was judged before is not judged again, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.config import read_text
from codeflow.errors import UsageError
from codeflow.evaluate.pass_at_k import Rate, rate
from codeflow.sandbox.job import Sandbox
from codeflow.tasks.grading.grade import Verdict
from codeflow.tasks.store import TaskSet


@dataclass(frozen=True)
class Prediction:
    """A patch for an instance; `truncated` where its model was cut off."""

    instance_id: str
    patch: str
    model: str
    truncated: bool


@dataclass(frozen=True)
class Score:
    """What predictions come to.

    Attributes:
        infrastructure: samples about which nothing is known; they are in no rate.
        rates: pass@k, for each k that some task has samples for.
    """

    predictions: int
    tasks: int
    passed: int
    applies: int
    equals_tree: int
    tampered: int
    truncated: int
    infrastructure: int
    unknown: int
    rates: tuple[Rate, ...]


def read_predictions(path: Path) -> list[Prediction]:
    """All lines of a file. Raises UsageError: names the line that is no prediction."""
    found = []
    for number, line in enumerate(read_text(path, "predictions").split("\n"), 1):
        if line.strip():
            found.append(_prediction(line, f"{path}:{number}"))
    return found


def _prediction(line: str, where: str) -> Prediction:
    try:
        values = json.loads(line)
        id, patch = values["instance_id"], values["model_patch"] or ""
        model = values.get("model_name_or_path") or ""
    except (ValueError, KeyError, AttributeError, TypeError):
        id = None
    if not (isinstance(id, str) and isinstance(patch, str)):
        raise UsageError(f"{where}: no prediction; an instance_id and a model_patch are needed")
    return Prediction(id, patch, str(model), values.get("finish_reason") == "length")


def grade_all(
    tasks: TaskSet, predictions: Sequence[Prediction], sandbox: Sandbox
) -> Iterator[tuple[Prediction, Verdict | None]]:
    """Each prediction with its verdict; None where no task has its id."""
    by_id = {task.instance_id: task for task in tasks.tasks}
    for prediction in predictions:
        task = by_id.get(prediction.instance_id)
        verdict = None if task is None else tasks.graded(task, prediction.patch, sandbox)
        yield prediction, verdict


def score(graded: Sequence[tuple[Prediction, Verdict | None]], ks: Sequence[int]) -> Score:
    """Counts and rates."""
    known = [(p, v) for p, v in graded if v is not None]
    samples: dict[str, list[bool]] = defaultdict(list)
    for prediction, verdict in known:
        if verdict.reward is not None:
            samples[prediction.instance_id].append(verdict.reward == 1.0)
    counts = [(len(values), sum(values)) for _, values in sorted(samples.items())]
    rates = (rate(counts, k) for k in ks)
    return Score(
        len(graded),
        len({p.instance_id for p, _ in known}),
        sum(passed for _, passed in counts),
        sum(v.applies for _, v in known),
        sum(v.equals_tree for _, v in known),
        sum(v.tampered is not None for _, v in known),
        sum(p.truncated for p, _ in known),
        sum(v.infrastructure is not None for _, v in known),
        len(graded) - len(known),
        tuple(r for r in rates if r is not None),
    )


def result_line(prediction: Prediction, verdict: Verdict | None) -> str:
    """One result as JSON."""
    values: dict[str, Any] = {"instance_id": prediction.instance_id, "model": prediction.model}
    values |= {"truncated": prediction.truncated, "known": verdict is not None}
    return json.dumps(values | (verdict.as_json if verdict is not None else {}))
