"""Decoding with a cache equals the full forward pass at every position."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from codeflow.errors import UsageError
from codeflow.loopcoder import LoopCoder, Sampling, generate
from codeflow.loopcoder.decode import Cache, extend, prefill
from loopcoder_models import SMALL, random_ids, random_model, relative_error

TOLERANCE = 1e-5
TOKENS = 200  # three windows and a bit


def full(model: LoopCoder, ids: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(ids)
    return logits


def cached(model: LoopCoder, ids: Tensor, cuts: list[int]) -> Tensor:
    """Logits of every position, read in the parts between the cuts."""
    cache = Cache(model, len(ids), ids.shape[1])
    parts = []
    for start, stop in pairwise([0, *cuts, ids.shape[1]]):
        counts = torch.full((len(ids),), stop - start)
        parts.append(model.lm_head(extend(model, cache, ids[:, start:stop], counts)))
    return torch.cat(parts, dim=1).detach()


CUTS = {
    "token by token": list(range(1, TOKENS)),
    "in one": [],
    "prompt longer than the window, then tokens": list(range(150, TOKENS)),
    "prompt shorter than the window, then tokens": list(range(10, TOKENS)),
    "chunks below the window": list(range(48, TOKENS, 48)),
    "chunks of the window": list(range(64, TOKENS, 64)),
    "chunks above the window": [65, 140],
    "uneven": [1, 2, 65, 66, 130, 193],
}


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("loop_num", [1, 2])
def test_the_cache_gives_the_full_pass_at_every_position(cuts: str, loop_num: int) -> None:
    model = random_model(loop_num=loop_num)
    ids = random_ids(2, TOKENS)
    assert relative_error(cached(model, ids, CUTS[cuts]), full(model, ids)) <= TOLERANCE


def test_a_cached_window_of_63_would_be_seen() -> None:
    model, ids = random_model(), random_ids(1, TOKENS)
    expected = full(model, ids)
    short = random_model(loop_window_size=63)
    assert relative_error(cached(short, ids, CUTS["token by token"]), expected) > 1e-3


@pytest.mark.parametrize("chunk", [7, 64, 90, 1000])
def test_batches_with_unequal_prompts(chunk: int) -> None:
    """Prompts below, at and past the window; then steps in which not every row moves."""
    model = random_model()
    ids = random_ids(4, TOKENS)
    lengths = [1, 63, 64, 150]
    cache = Cache(model, 4, TOKENS)
    expected = full(model, ids)
    last = prefill(model, cache, [ids[row, :n].tolist() for row, n in enumerate(lengths)], chunk)
    first = torch.stack([expected[row, n - 1] for row, n in enumerate(lengths)])
    assert relative_error(model.lm_head(last), first) <= TOLERANCE
    generator = torch.Generator().manual_seed(0)
    position = torch.tensor(lengths)
    while bool((position < TOKENS).any()):
        counts = torch.randint(0, 12, (4,), generator=generator).minimum(TOKENS - position)
        part = torch.zeros(4, 12, dtype=torch.long)
        for row, count in enumerate(counts.tolist()):
            part[row, :count] = ids[row, position[row] : position[row] + count]
        logits = model.lm_head(extend(model, cache, part, counts))
        for row, count in enumerate(counts.tolist()):
            if count:
                right = expected[row, position[row] : position[row] + count]
                assert relative_error(logits[row, :count], right) <= TOLERANCE
        position += counts
    assert cache.lengths.tolist() == [TOKENS] * 4


def test_the_cache_holds_all_of_pass_one_and_a_window_of_pass_two() -> None:
    cache = Cache(random_model(), 3, 500)
    assert {x.shape[1] for pair in cache.first for x in pair} == {501}
    assert {x.shape[1] for pair in cache.second for x in pair} == {64}
    assert Cache(random_model(loop_num=1), 3, 500).second == []
    with pytest.raises(ValueError, match="500"):
        extend(random_model(), cache, random_ids(3, 501), torch.full((3,), 501))


def naive_greedy(model: LoopCoder, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(full(model, torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def test_greedy_generation_equals_repeated_full_passes() -> None:
    model = random_model()
    prompts = [random_ids(1, n, seed=n)[0].tolist() for n in (3, 90, 64)]
    expected = [naive_greedy(model, prompt, 40) for prompt in prompts]
    assert generate(model, prompts, 40, chunk_tokens=50) == expected
    stop = expected[1][7]
    cut = [row[: row.index(stop)] if stop in row else row for row in expected]
    assert generate(model, prompts, 40, stop_tokens=[stop]) == cut
    assert len(cut[1]) <= 7


def test_draws_of_a_row_do_not_depend_on_the_rest_of_the_batch() -> None:
    model, prompts = random_model(), [[1, 2, 3], [4] * 70]
    sampling = Sampling(temperature=1.0, seed=5)
    both = generate(model, prompts, 20, sampling)
    assert both == generate(model, prompts, 20, sampling)
    assert generate(model, prompts[:1], 20, sampling)[0] == both[0]
    assert generate(model, prompts, 20, Sampling(temperature=1.0, seed=6)) != both


def test_temperature_and_top_p_shape_the_distribution() -> None:
    logits = torch.tensor([0.3, 0.5, 0.15, 0.05]).log()
    plain = Sampling(temperature=1.0).distribution(logits)
    torch.testing.assert_close(plain, torch.tensor([0.3, 0.5, 0.15, 0.05]))
    squared = Sampling(temperature=0.5).distribution(logits)
    torch.testing.assert_close(squared, torch.tensor([0.09, 0.25, 0.0225, 0.0025]) / 0.365)
    for top_p, kept in ((0.4, [1]), (0.55, [0, 1]), (0.9, [0, 1, 2]), (1.0, [0, 1, 2, 3])):
        chances = Sampling(temperature=1.0, top_p=top_p).distribution(logits)
        assert chances.nonzero().flatten().tolist() == kept
        torch.testing.assert_close(chances.sum(), torch.tensor(1.0))
    generator = torch.Generator().manual_seed(0)
    draws = [Sampling(temperature=1.0, top_p=0.55).choose(logits, generator) for _ in range(2000)]
    share = draws.count(0) / len(draws)
    assert set(draws) == {0, 1}
    assert abs(share - 0.3 / 0.8) < 0.05  # more than four standard deviations


@pytest.mark.parametrize(
    ("prompts", "count", "message"),
    [
        ([], 1, "no prompt"),
        ([[1], []], 1, "prompt 1 is empty"),
        ([[1] * 10], 4090, "4096 positions"),
        ([[SMALL.vocab_size]], 1, "outside 0..60"),
    ],
)
def test_a_wrong_prompt_is_named(prompts: list[list[int]], count: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        generate(random_model(), prompts, count)


def test_wrong_sampling_is_named() -> None:
    for temperature in (-1, math.nan, math.inf):
        with pytest.raises(UsageError, match="temperature"):
            Sampling(temperature=temperature)
    for seed in (1 << 43, -(1 << 43)):
        with pytest.raises(UsageError, match="seed"):
            Sampling(seed=seed)
    with pytest.raises(UsageError, match="top-p"):
        Sampling(top_p=0)


@pytest.mark.parametrize("seed", [(1 << 43) - 1, 1 - (1 << 43)])
def test_the_lowest_temperature_is_the_likeliest_token(seed: int) -> None:
    model, prompts = random_model(), [[1, 2, 3], [4, 5]]
    lowest = Sampling(temperature=5e-324, seed=seed)
    assert generate(model, prompts, 5, lowest) == generate(model, prompts, 5)
