"""Net sizes, links and ties of every span against slow readings of their definitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.contracts import STEP_FEATURES, History
from codeflow_miners.kinds.span.likeness import TERMS_PER_STEP, topic_band
from codeflow_miners.kinds.span.net import net_sizes
from codeflow_miners.kinds.span.score import strongest_ties, weakest_links
from codeflow_miners.kinds.span.steps import read_steps
from spans_planted import Edit, Step, history, row

LONGEST = 5

TEXT = st.lists(st.sampled_from(["alpha()", "beta()", "alpha beta", "gamma"]), max_size=3).map(
    tuple
)
EDITS = st.lists(
    st.builds(Edit, st.sampled_from("abc"), TEXT, TEXT), max_size=3, unique_by=lambda e: e.path
)
STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["alpha one", "two", "three beta"]),
        st.integers(0, 9),
        EDITS.map(tuple),
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_net_sizes_equal_counting(steps: list[Step]) -> None:
    net = net_sizes(read_steps(history(steps)), LONGEST)
    for i in range(len(steps)):
        for m in range(1, min(LONGEST, len(steps) - i) + 1):
            total: Counter[tuple[str, str]] = Counter()
            gross, files = 0, set()
            for step in steps[i : i + m]:
                own: Counter[tuple[str, str]] = Counter()
                for edit in step.edits:
                    own.update((edit.path, line) for line in edit.added)
                    own.subtract((edit.path, line) for line in edit.removed)
                    files.add(edit.path)
                total.update(own)
                gross += sum(map(abs, own.values()))
            cell = (i, m - 1)
            assert net.lines[cell] == sum(map(abs, total.values()))
            assert net.gross_lines[cell] == gross
            assert net.files[cell] == len(files)


def joined(
    steps: Iterable[int],
    pairs: list[tuple[int, int]],
    tie: dict[tuple[int, int], float],
    least: float,
) -> bool:
    """Whether ties of at least this strength make one piece of all steps."""
    steps = list(steps)
    seen, new = {steps[0]}, [steps[0]]
    while new:
        at = new.pop()
        for pair in pairs:
            if at in pair and tie[pair] >= least:
                new += {*pair} - seen
                seen |= {*pair}
    return len(seen) == len(steps)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 9), st.integers(1, 3), st.randoms(use_true_random=False))
def test_links_and_ties_equal_their_definitions(count: int, around: int, rng) -> None:  # type: ignore[no-untyped-def]
    pair = {(a, b): rng.random() for a in range(count) for b in range(a + 1, count)}
    band = np.zeros((count, LONGEST))
    for (a, b), value in pair.items():
        if b - a <= LONGEST:
            band[a, b - a - 1] = value
    near = {(a, b): v for (a, b), v in pair.items() if b - a <= LONGEST}
    links, ties = weakest_links(band), strongest_ties(band, around)
    for i in range(count):
        for m in range(2, min(LONGEST, count - i) + 1):
            inside = range(i, i + m)
            pairs = [(a, b) for a, b in near if i <= a and b < i + m]
            weakest = max((v for v in near.values() if joined(inside, pairs, near, v)), default=0.0)
            outside = [*range(i - around, i), *range(i + m, i + m + around)]
            tie = max(
                (
                    v
                    for (a, b), v in near.items()
                    if (a in inside and b in outside) or (a in outside and b in inside)
                ),
                default=0.0,
            )
            assert links[i, m] == np.float32(weakest)
            assert ties[i, m] == tie


def telling(having: int, steps: int) -> float:
    """How much of a term counts that so many of the steps have: all from an idf of 2 / 3 on."""
    return min(1.0, 1.5 * float(np.log((steps + 1) / having) / np.log(steps + 1)))


def test_topic_is_the_cosine_of_shared_rare_terms() -> None:
    def edit(path: str, *lines: str) -> tuple[Edit, ...]:
        return (Edit(path, (), lines),)

    steps = [
        Step("parser speed", 1, edit("src/parser.py", "tokenize")),
        Step("window colour", 1, edit("ui/window.py", "colour")),
        Step("parser speed", 1, edit("tests/test_parser.py", "tokenize")),
        Step("nothing alike", 1, edit("misc/other.py", "unrelated")),
    ]
    band = topic_band(read_steps(history(steps)), LONGEST)
    assert np.isclose(band[0, 1], telling(2, 4))  # same stem, name and words
    assert band[0, 0] == band[1, 0] == band[2, 0] == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_a_file_stays_the_same_through_renames(backwards: bool) -> None:
    steps = [
        Step("add", 1, ()),
        Step("move", 1, ()),
        Step("move on", 1, ()),
        Step("take out", 1, ()),
    ]
    rows = [
        row(0, Edit("a.py", (), ("alpha", "beta"))),
        {**row(1, Edit("b.py")), "status": "R", "old_path": "a.py"},
        {**row(2, Edit("c.py")), "status": "R", "old_path": "b.py"},
        row(3, Edit("c.py", ("alpha", "beta"), ())),
    ]
    table = pa.Table.from_pylist(rows[::-1] if backwards else rows, schema=STEP_FEATURES)
    given = History("renames", history(steps).commits, range(4), table)
    net = net_sizes(read_steps(given), LONGEST)
    assert net.gross_lines[0, 3] == 4
    assert net.lines[0, 3] == 0
    assert net.files[0, 3] == 1


def test_of_a_sweeping_step_only_the_rarest_terms_count() -> None:
    common = tuple(f"common_{k}" for k in range(TERMS_PER_STEP))
    rare = tuple(f"rare_{k}" for k in range(TERMS_PER_STEP))
    sweep = Step("", 1, (Edit("sweep.x", (), common + rare),))
    near = Step("", 1, (Edit("near.x", (), rare),))
    far = Step("", 1, (Edit("far.x", (), common),))
    band = topic_band(read_steps(history([sweep, near, far, far, far])), LONGEST)
    # each of the shared ones is in 2 of the 5 steps
    assert np.isclose(
        band[0, 0], telling(2, 5) / 3
    )  # of stems, identifiers and words, all identifiers agree
    assert band[0, 1] == 0


def test_topic_weighs_terms_by_rarity() -> None:
    first = Step("", 1, (Edit("first.x", (), ("aaa bbb ccc ddd",)),))
    second = Step("", 1, (Edit("second.x", ("ccc ddd",), ("eee fff",)),))
    band = topic_band(read_steps(history([first, second])), LONGEST)
    once, twice = np.log(3 / 1), np.log(3 / 2)  # of two steps
    cosine = 2 * twice**2 / (2 * twice**2 + 2 * once**2)
    assert np.isclose(band[0, 0], telling(2, 2) * cosine / 3)
