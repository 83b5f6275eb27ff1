"""Histories made up of known pieces of work, for tests and benchmarks of the span miner.

A planted *feature* is a run of steps that share files, names and sometimes words of the message.
Between features lie *noise* (single steps about anything) and *attempts* (a change and its
revert), which no span should be made of. Half of the pauses at a feature's ends are no longer
than those inside, and all features draw on one common vocabulary as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from codeflow.contracts import STEP_FEATURES, Commit, History
from codeflow_miners.contents.file_kind import file_kind
from codeflow_miners.kinds.span.features import line_features

COMMON = [f"common_{k}" for k in range(40)]
VERBS = ["add", "fix", "update", "handle", "improve", "rework", "document", "test", "clean"]


class Edit(NamedTuple):
    """One file of a step: its path and the lines taken out and put in."""

    path: str
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


class Step(NamedTuple):
    message: str
    pause_s: int
    edits: tuple[Edit, ...]


class Planted(NamedTuple):
    history: History
    features: list[tuple[int, int]]


def row(step: int, edit: Edit) -> dict[str, object]:
    """A feature row of a modified file, made by the code that the content pass uses."""
    lines = [f"-{line}\n" for line in edit.removed] + [f"+{line}\n" for line in edit.added]
    hunks = ("@@ -1 +1 @@\n" + "".join(lines)).encode()
    found = line_features(hunks)
    return {
        "step": step,
        "status": "M",
        "old_path": edit.path,
        "new_path": edit.path,
        "file_kind": file_kind(edit.path, "Python"),
        "additions": len(edit.added),
        "deletions": len(edit.removed),
        "patch_bytes": len(hunks),
        "identifiers": found.identifiers,
        "added_lines": found.added_lines,
        "removed_lines": found.removed_lines,
    }


def history(steps: Sequence[Step], starts: Sequence[int] | None = None) -> History:
    """A history of one root commit and the given steps."""
    clock, commits = 1_600_000_000, []
    for k in range(len(steps) + 1):
        message = steps[k - 1].message if k else "root"
        clock += steps[k - 1].pause_s if k else 0
        commits.append(
            Commit(f"{k:040x}", f"{k:040x}", clock, k / len(steps), "human", 1, (message,), ())
        )
    rows = [row(k, edit) for k, step in enumerate(steps) for edit in step.edits]
    table = pa.Table.from_pylist(rows, schema=STEP_FEATURES)
    return History("planted", commits, range(len(steps)) if starts is None else starts, table)


def planted(seed: int, features: int = 40) -> Planted:
    """A history of `features` features, between noise and attempts that were reverted."""
    rng = random.Random(seed)
    steps: list[Step] = []
    spans: list[tuple[int, int]] = []
    for number in range(features):
        start = len(steps)
        steps += _feature(rng, number)
        spans.append((start, len(steps)))
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            steps += _attempt(rng, len(steps)) if rng.random() < 0.2 else [_noise(rng, len(steps))]
    return Planted(history(steps), spans)


def _pause(rng: random.Random, first: bool) -> int:
    return rng.randint(20_000, 400_000) if first and rng.random() < 0.5 else rng.randint(60, 9_000)


def _line(rng: random.Random, names: Sequence[str]) -> str:
    return f"    {rng.choice(names)} = {rng.choice(COMMON)}({rng.choice(names)})  # {rng.random()}"


def _feature(rng: random.Random, number: int) -> list[Step]:
    names = [f"feature{number}_{k}" for k in range(6)]
    paths = [f"src/module{rng.randrange(25)}.py", f"tests/test_feature{number}.py"]
    steps: list[Step] = []
    before: tuple[str, ...] = ()
    for k in range(rng.randint(2, 6)):
        chosen = rng.sample(paths, rng.choice([1, 2]))
        added = tuple(_line(rng, names) for _ in range(rng.randint(4, 12)))
        edits = tuple(Edit(path, before[:1], added) for path in chosen)
        before = added
        word = f" feature{number}" if rng.random() < 0.5 else ""
        message = f"{rng.choice(VERBS)} {rng.choice(COMMON)}{word}"
        steps.append(Step(message, _pause(rng, k == 0), edits))
    return steps


def _noise(rng: random.Random, number: int) -> Step:
    names = [f"noise{number}_{k}" for k in range(4)]
    path = rng.choice([f"src/module{rng.randrange(25)}.py", f"docs/page{rng.randrange(30)}.md"])
    lines = tuple(_line(rng, names) for _ in range(rng.randint(1, 6)))
    return Step(
        f"{rng.choice(VERBS)} {rng.choice(COMMON)}", _pause(rng, True), (Edit(path, (), lines),)
    )


def _attempt(rng: random.Random, number: int) -> list[Step]:
    names = [f"attempt{number}_{k}" for k in range(4)]
    path = f"src/attempt{number}.py"
    lines = tuple(_line(rng, names) for _ in range(8))
    message = f"try attempt{number}"
    return [
        Step(message, _pause(rng, True), (Edit(path, (), lines),)),
        Step(f'Revert "{message}"', _pause(rng, False), (Edit(path, lines, ()),)),
    ]


def boundary_f1(found: Sequence[tuple[int, int]], true: Sequence[tuple[int, int]]) -> float:
    """F1 of the ends of the found spans against the ends of the true ones."""
    ours, theirs = {end for span in found for end in span}, {end for span in true for end in span}
    return 2 * len(ours & theirs) / max(1, len(ours) + len(theirs))
