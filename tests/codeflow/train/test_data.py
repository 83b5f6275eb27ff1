"""The order of rows, what a micro-batch holds, and shards that are not what they should be."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from pathlib import Path

import pytest
import torch

from codeflow.errors import DataError, UsageError
from codeflow.shards.mixture import Curriculum, Mixture, Pick, Position
from codeflow.shards.reader import TokenShards
from codeflow.train import data
from codeflow.train.data import open_sources
from codeflow.train.state import checkpoint
from codeflow.train.state.parallel import World
from token_shards import Document, write_shard
from training_runs import TOKENS, make_data, run, small


def rows_read(folder: Path, world: int, workers: int, count: int, start: int = 0) -> list[object]:
    """The global order of rows over all ranks, from a step on."""
    recipe = small()
    recipe = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, data_workers=workers))
    sources = open_sources(folder, ("a", "b"), "train", TOKENS, "")
    mixture = data.mixture_of(sources, recipe)
    position = Position((0, 0))
    for _ in range(start):
        _, position = mixture.plan(position, recipe.batch.rows_per_step)
    ranks = [
        list(itertools.islice(data.steps(mixture, recipe, World(rank, world), position), count))
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
    micro = data.collate([TokenShards(path.parent)[0]])
    expected = torch.tensor([[0.0, 0.5, 1.0, 0.0, 2.0, 3.0, 0.0]])  # position t predicts t + 1
    assert torch.equal(micro.weights, expected)
    assert micro.targets[0, :3].tolist() == [2, 3, 4]
    assert micro.rows[0].languages == ("Go", "C")


def test_wrong_tokenizer_missing_folder_and_foreign_token(tmp_path: Path) -> None:
    folder = make_data(tmp_path)
    with pytest.raises(UsageError, match="made with tokenizer t0, this run needs other"):
        open_sources(folder, ("a",), "train", TOKENS, "other")
    with pytest.raises(UsageError, match="no token folders c, d"):
        open_sources(folder, ("a", "c", "d"), "train", TOKENS, "")
    with pytest.raises(UsageError, match=r"rows of 48 tokens, the recipe's .* is 64"):
        open_sources(folder, ("a",), "train", 64, "")
    source = TokenShards(folder / "tokens" / "a")
    with pytest.raises(DataError, match=r"train-00000.*the model's vocabulary ends at 3"):
        data.checked(source, 0, 3)


def test_a_recipe_says_the_order(tmp_path: Path) -> None:
    folder = make_data(tmp_path)
    sources = open_sources(folder, ("a", "b"), "train", TOKENS, "")
    picks = [Pick(source, taken) for source in (0, 1) for taken in range(20)]

    def order(mixture: Mixture) -> list[int]:
        return [mixture.index(pick) for pick in picks]

    easy = small(6, data={"order": "curriculum", "phases": 4})
    curriculum = Mixture(sources, [2, 1], easy.seed, Curriculum(phases=4, rows=6 * 4))
    assert order(data.mixture_of(sources, easy)) == order(curriculum)
    for phases in (1, 7):
        plain = small(6, data={"phases": phases})
        assert order(data.mixture_of(sources, plain)) == order(Mixture(sources, [2, 1]))
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


def test_loss_weights_scale_one_source_and_nothing_else(tmp_path: Path) -> None:
    """In training; what is held out is measured as it is."""
    folder = make_data(tmp_path)
    plain, changed = small(), small(data={"loss_weights": {"b": 0.25}})
    taken = []
    for recipe in (plain, changed):
        sources, _ = data.sources_of(recipe, folder)
        mixture = data.mixture_of(sources, recipe)
        with contextlib.closing(data.steps(mixture, recipe, World(), Position((0, 0)))) as steps:
            taken.append([micro for step in itertools.islice(steps, 4) for micro in step.micros])
    picked, _ = mixture.plan(Position((0, 0)), 16)
    numbers = iter(picked)
    scaled = set()
    for a, b in zip(*taken, strict=True):
        assert torch.equal(a.input_ids, b.input_ids)
        for row in range(len(a.input_ids)):
            source = next(numbers).source
            assert torch.equal(b.weights[row], a.weights[row] * (0.25 if source else 1.0))
            scaled.add(source)
    assert scaled == {0, 1}
    assert changed.hash != plain.hash


def test_loss_weights_of_no_source_are_refused() -> None:
    with pytest.raises(UsageError, match="loss_weights = 'c': choose one of a, b"):
        small(data={"loss_weights": {"c": 1.0}})
