"""Sampling to learn from: the chances are those of a full pass, draws are each row's own."""

from __future__ import annotations

import pytest
import torch

from codeflow.loopcoder.sample import sample
from loopcoder_models import random_model

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [11, 12]]


@pytest.mark.parametrize("loops", [1, 2])
def test_log_probabilities_are_those_of_a_full_pass(loops: int) -> None:
    """Beyond the window of 64, too; the token that ended a reply included."""
    model = random_model(loop_num=loops).eval()
    found = sample(model, PROMPTS, 90, [7, 8, 9, 10], stop_tokens=range(55, 61), chunk_tokens=4)
    assert len({len(reply.ids) for reply in found}) > 1
    for prompt, reply in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([[*prompt, *reply.ids]])
        with torch.no_grad():
            logps = model(ids).double().log_softmax(-1)[0, len(prompt) - 1 : -1]
        expected = logps.gather(1, torch.tensor(reply.ids)[:, None])[:, 0]
        assert torch.tensor(reply.logps).double() == pytest.approx(expected, abs=2e-4)
        assert reply.finished == (reply.ids[-1] >= 55)
        assert all(token < 55 for token in reply.ids[:-1])


def test_a_row_draws_by_its_seed_whatever_else_is_in_the_batch() -> None:
    model = random_model().eval()
    together = sample(model, PROMPTS, 12, [1, 2, 3, 2**63], [])
    for prompt, seed, reply in zip(PROMPTS, [1, 2, 3, 2**63], together, strict=True):
        (alone,) = sample(model, [prompt], 12, [seed], [])
        assert alone.ids == reply.ids
    assert sample(model, [PROMPTS[0]], 12, [5], [])[0].ids != together[0].ids


def test_tokens_come_as_often_as_their_chances_say() -> None:
    model = random_model(vocab_size=6).eval()
    with torch.no_grad():
        chances = model(torch.tensor([[1, 2]])).double().softmax(-1)[0, -1]
    found = sample(model, [[1, 2]] * 4000, 1, list(range(4000)), [])
    counts = torch.bincount(torch.tensor([reply.ids[0] for reply in found]), minlength=6)
    spread = (chances * (1 - chances) / 4000).sqrt()
    assert ((counts / 4000 - chances).abs() < 5 * spread + 1e-9).all()
