"""The order of rows, what a micro-batch holds, and shards that are not what they should be."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow.errors import DataError, UsageError
from codeflow.shards.reader import Source, open_sources
from codeflow.train import data
from codeflow.train.state import checkpoint
from codeflow.train.state.parallel import World
from token_shards import Document, random_rows, write_shard
from training_runs import TOKENS, VOCAB, make_data, run, small


@given(st.integers(1, 300), st.text(max_size=5))
@settings(max_examples=40, deadline=None)
def test_shuffled_is_a_permutation(size: int, key: str) -> None:
    assert sorted(data.shuffled(i, size, key) for i in range(size)) == list(range(size))


def test_epochs_and_seeds_differ() -> None:
    orders = [[data.shuffled(i, 50, key) for i in range(50)] for key in ("0/a/0", "0/a/1", "1/a/0")]
    assert len({tuple(order) for order in orders}) == 3
    assert all(order != list(range(50)) for order in orders)


@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.lists(st.integers(1, 20), min_size=1)
)
@settings(max_examples=40, deadline=None)
def test_plan_keeps_shares_and_cuts_anywhere(shares: list[float], cuts: list[int]) -> None:
    start = data.Position((0,) * len(shares))
    whole, end = data.plan(start, shares, sum(cuts))
    position, pieces = start, []
    for cut in cuts:
        picked, position = data.plan(position, shares, cut)
        pieces += picked
    assert (pieces, position) == (whole, end)
    for share, taken in zip(shares, end.taken, strict=True):
        assert abs(taken - sum(cuts) * share / sum(shares)) <= len(shares)
    for source in range(len(shares)):
        assert [n for s, n in whole if s == source] == list(range(end.taken[source]))


def rows_read(folder: Path, world: int, workers: int, count: int, start: int = 0) -> list[object]:
    """The global order of rows over all ranks, from a step on."""
    recipe = small()
    recipe = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, data_workers=workers))
    sources = open_sources(folder, ("a", "b"), "train", TOKENS, "")
    position = data.Position((0, 0))
    for _ in range(start):
        _, position = data.plan(position, [2, 1], recipe.batch.rows_per_step)
    ranks = [
        list(itertools.islice(data.steps(sources, recipe, World(rank, world), position), count))
        for rank in range(world)
    ]
    return [
        tuple(row.input_ids.tolist())
        for steps in zip(*ranks, strict=True)
        for micros in zip(*(step.micros for step in steps), strict=True)
        for micro in micros
        for row in micro.rows
    ]


def test_same_rows_for_any_world_workers_and_cut(tmp_path: Path) -> None:
    folder = make_data(tmp_path)
    expected = rows_read(folder, 1, 0, 12)
    assert rows_read(folder, 2, 3, 12) == expected
    assert rows_read(folder, 1, 1, 7, start=5) == expected[5 * 4 :]
    assert len(set(expected[:30])) > 25  # shuffled, not one row again and again


def test_weights_are_of_the_target(tmp_path: Path) -> None:
    documents: list[Document] = [
        ([1, 2, 3, 4], [9.0, 0.0, 0.5, 1.0], "Go", "span"),
        ([5, 6, 7], [9.0, 2.0, 3.0], "C", "commit"),
    ]
    path = write_shard(tmp_path / "x" / "train-0.arrow", [documents])
    micro = data.collate([Source(path.parent, "train", 7).row(0)])
    expected = torch.tensor([[0.0, 0.5, 1.0, 0.0, 2.0, 3.0, 0.0]])  # position t predicts t + 1
    assert torch.equal(micro.weights, expected)
    assert micro.targets[0, :3].tolist() == [2, 3, 4]
    assert micro.rows[0].languages == ("Go", "C")


def test_bad_shards_are_named(tmp_path: Path) -> None:
    rows = random_rows(12, TOKENS, VOCAB, 0)
    path = write_shard(tmp_path / "a" / "train-00000.arrow", rows)
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"train-00000.arrow: truncated or damaged shard"):
            Source(path.parent, "train", TOKENS)
    path.write_bytes(whole)
    with pytest.raises(UsageError, match=r"rows of 48 tokens, the recipe's .* is 64"):
        Source(path.parent, "train", 64)
    with pytest.raises(UsageError, match=r"no validation-\*.arrow"):
        Source(path.parent, "validation", TOKENS)
    write_shard(tmp_path / "a" / "train-00001.arrow", rows, tokenizer="t1")
    with pytest.raises(DataError, match=r"tokenizer t1, but train-00000.arrow has t0"):
        Source(path.parent, "train", TOKENS)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema([("x", pa.int8())])):
        pass
    with pytest.raises(DataError, match="no column 'input_ids'"):
        Source(path.parent, "train", TOKENS)


def test_wrong_tokenizer_missing_folder_and_foreign_token(tmp_path: Path) -> None:
    folder = make_data(tmp_path)
    with pytest.raises(UsageError, match="made with tokenizer t0, this run needs other"):
        open_sources(folder, ("a",), "train", TOKENS, "other")
    with pytest.raises(UsageError, match="no token folders c, d"):
        open_sources(folder, ("a", "c", "d"), "train", TOKENS, "")
    source = Source(folder / "tokens" / "a", "train", TOKENS)
    with pytest.raises(DataError, match=r"train-00000.*the model's vocabulary ends at 3"):
        data.checked(source, 0, 3)


def difficulty(source: Source, index: int) -> float:
    """Mean length of the stretches with weight, token by token."""
    stretches = "".join("x" if w > 0 else " " for w in source.row(index).weights).split()
    edges = source.row(index).weights
    cuts = sum(a > 0 and b > 0 and a != b for a, b in itertools.pairwise(edges))
    return sum(map(len, stretches)) / max(1, len(stretches) + cuts)


@pytest.mark.parametrize(("steps", "phases"), [(6, 3), (40, 3), (9, 1), (17, 5)])
def test_a_curriculum_goes_from_easy_to_hard(tmp_path: Path, steps: int, phases: int) -> None:
    folder = make_data(tmp_path)
    recipe = small(steps, data={"order": "curriculum", "phases": phases})
    totals = {"a": round(steps * 4 * 2 / 3), "b": round(steps * 4 / 3)}
    for source in open_sources(folder, ("a", "b"), "train", TOKENS, ""):
        total = totals[source.name]
        hard = [difficulty(source, i) for i in range(len(source))]
        order = data.order_of(source, recipe)
        taken = [order(n) for n in range(total + 2)]
        assert taken == [data.order_of(source, recipe)(n) for n in range(total + 2)]
        parts = [
            [row for n, row in enumerate(taken[:total]) if n * phases // total == phase]
            for phase in range(phases)
        ]
        for easy, harder in itertools.pairwise(parts):
            assert max(hard[i] for i in easy) <= min(hard[i] for i in harder)
            assert not set(easy) & set(harder)
        for phase, part in enumerate(parts):
            size = (phase + 1) * len(source) // phases - phase * len(source) // phases
            assert len(set(part)) == min(len(part), size), "all of a part before any again"
        if phases == 1 and total >= len(source):
            assert sorted(taken[: len(source)]) == list(range(len(source)))
            assert taken[: len(source)] != sorted(taken[: len(source)])
        other = dataclasses.replace(recipe, seed=1)
        assert [data.order_of(source, other)(n) for n in range(total)] != taken[:total]


def test_a_random_order_has_no_phases_and_a_curriculum_needs_rows(tmp_path: Path) -> None:
    (source,) = open_sources(make_data(tmp_path), ("b",), "train", TOKENS, "")
    for phases in (1, 7):
        order = data.order_of(source, small(data={"phases": phases}))
        assert [order(n) for n in range(30)] == [data.row_of(source, n, 0) for n in range(30)]
    with pytest.raises(UsageError, match=r"13 rows for data.phases = 14: give fewer"):
        data.order_of(source, small(data={"order": "curriculum", "phases": 14}))
    with pytest.raises(UsageError, match=r"data.order = 'easy': choose one of random, curriculum"):
        small(data={"order": "easy"})


@pytest.mark.parametrize("at", [1, 4])
def test_a_curriculum_resumes_exactly(tmp_path: Path, at: int) -> None:
    folder = make_data(tmp_path)
    recipe = small(6, data={"order": "curriculum"})
    straight = run(recipe, folder, tmp_path / "one")
    run(recipe, folder, tmp_path / "two", stop_after=at)
    more = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, data_workers=3))
    resumed = run(more, folder, tmp_path / "two")
    plain = run(small(6), folder, tmp_path / "plain")
    hashes = [checkpoint.state_hash(r.checkpoint) for r in (straight, resumed, plain)]
    assert hashes[0] == hashes[1] != hashes[2]
