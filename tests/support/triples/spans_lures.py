"""Lures for the span miner: pairs of steps that look alike and hold no work together.

Each *lure* is a pair of bumps, of releases, of a change and its revert, of edits of a changelog or
of a list of sponsors, or a bot's pair, strewn into a history with unrelated steps between the two.
A span that holds any of them has swallowed it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import STEP_FEATURES, Commit, History
from spans_planted import Edit, Step, row


class Lure(NamedTuple):
    """Two steps, and who made them."""

    kind: str
    steps: tuple[Step, Step]
    author_kind: str = "human"


def lure(kind: str, n: int) -> Lure:
    """The n-th lure of a kind of `LURES`."""
    before, now, after = f"{n}.1.0", f"{n}.1.1", f"{n}.1.2"

    def pair(first: tuple[str, Edit], second: tuple[str, Edit]) -> tuple[Step, Step]:
        return Step(first[0], 600, (first[1],)), Step(second[0], 600, (second[1],))

    def version(path: str, name: str, old: str, new: str) -> Edit:
        return Edit(path, (f'  "{name}": "{old}",',), (f'  "{name}": "{new}",',))

    if kind in ("bump", "bot"):
        who = "bot" if kind == "bot" else "human"
        text = f"{'Renovate' if kind == 'bot' else 'Bump'} library{n}"
        steps = pair(
            (f"{text} from {before} to {now}", version("package.json", f"library{n}", before, now)),
            (f"{text} from {now} to {after}", version("package.json", f"library{n}", now, after)),
        )
        return Lure(kind, steps, who)
    if kind == "release":
        return Lure(
            kind,
            pair(
                (f"Release {now}", version("src/version.py", "VERSION", before, now)),
                (f"Release {after}", version("src/version.py", "VERSION", now, after)),
            ),
        )
    if kind == "revert":
        lines = tuple(f"fleeting{n}_{k} = fleeting{n}_value({k})" for k in range(8))
        path = f"src/fleeting{n}.py"
        what = f"try fleeting{n}"
        return Lure(
            kind,
            pair((what, Edit(path, (), lines)), (f'Revert "{what}"', Edit(path, lines, ()))),
        )
    name = {"changelog": "CHANGELOG.md", "sponsors": "SPONSORS.md"}[kind]
    return Lure(
        kind,
        pair(
            (f"{kind} entries {n}", Edit(name, (), (f"- {kind}{n} first line of rarity{n}",))),
            (f"{kind} entries {n}", Edit(name, (), (f"- {kind}{n} later line of rarity{n}",))),
        ),
    )


LURES = ("bump", "bot", "release", "revert", "changelog", "sponsors")


class Strewn(NamedTuple):
    """A history with lures in it: where its own steps are now, and which steps are lures."""

    history: History
    place: list[int]
    lures: dict[int, str]


def strew(history: History, whole: Sequence[tuple[int, int]], seed: int, every: int = 25) -> Strewn:
    """Puts pairs of lures into a history, a pair for `every` steps, none inside `whole` runs."""
    rng = random.Random(seed)
    count = len(history.commits) - 1
    inside = {k for i, j in whole for k in range(i + 1, j)}
    places = [k for k in range(count + 1) if k not in inside]
    put: dict[int, list[tuple[Step, str, str]]] = {}
    for n in range(count // every):
        made = lure(LURES[n % len(LURES)], n)
        at = rng.randrange(len(places))
        later = min(len(places) - 1, at + rng.randint(2, 6))
        for k, step in zip((places[at], places[later]), made.steps, strict=True):
            put.setdefault(k, []).append((step, made.kind, made.author_kind))
    commits = [history.commits[0]]
    rows: list[dict[str, object]] = []
    place: list[int] = []
    lures: dict[int, str] = {}
    for k in range(count + 1):
        for step, kind, who in put.get(k, []):
            number = len(commits) - 1
            lures[number] = kind
            rows += [row(number, edit) for edit in step.edits]
            last = commits[-1]
            id = f"{number:040x}"
            commits.append(Commit(id, id, last.committed_at + 1, 0.0, who, 1, (step.message,), ()))
        if k < count:
            place.append(len(commits) - 1)
            commits.append(history.commits[k + 1])
    assert history.features is not None
    moved = pa.array([place[k] for k in history.features["step"].to_pylist()], pa.int32())
    own = history.features.set_column(0, STEP_FEATURES.field("step"), moved)
    table = pa.concat_tables([own, pa.Table.from_pylist(rows, schema=STEP_FEATURES)])
    table = table.take(pc.sort_indices(table, sort_keys=[("step", "ascending")]))
    return Strewn(History(history.repo, commits, range(len(commits) - 1), table), place, lures)


def swallowed(spans: Sequence[tuple[int, int]], strewn: Strewn) -> list[tuple[int, int]]:
    """The spans that hold a lure."""
    return [(i, j) for i, j in spans if any(k in strewn.lures for k in range(i, j))]
