"""transformers itself opens an exported loop, computes what ours computes, trains it, saves it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codeflow.loopcoder import LoopCoder, export, generate, load
from codeflow.loopcoder.attention import Documents
from loopcoder_models import random_ids, random_model

pytestmark = [
    pytest.mark.slow,  # transformers alone takes seconds to import
    pytest.mark.usefixtures("transformers_offline"),
]

LENGTHS = (1, 63, 64, 65, 128, 129, 200)
DOCUMENTS = (100, 1, 64, 65)
numbers = itertools.count()
CLOSE = 1e-5  # of the largest logit, in float32


@pytest.fixture(scope="module")
def ours() -> LoopCoder:
    return random_model()


@pytest.fixture(scope="module")
def folder(ours: LoopCoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exported")
    return export(ours, root / "loop", remote_code=True, shard_bytes=20_000)


def opened(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return opened(folder)


def positions(documents: Sequence[int]) -> Tensor:
    return torch.cat([torch.arange(length) for length in documents])[None]


@torch.no_grad()
def expected(ours: LoopCoder, ids: Tensor, documents: Sequence[int] | None = None) -> Tensor:
    logits: Tensor = ours(ids, documents and Documents((tuple(documents),) * len(ids)))
    return logits


@torch.no_grad()
def error(model: Any, ids: Tensor, right: Tensor, **how: Any) -> float:
    return float((model(ids, **how).logits - right).abs().max() / right.abs().max())


def in_parts(model: Any, ids: Tensor, where: Tensor, cuts: Sequence[int]) -> Tensor:
    """Logits of rows that are read part by part, with one cache."""
    from transformers import DynamicCache

    cache, logits = DynamicCache(), []
    with torch.no_grad():
        for start, stop in zip((0, *cuts), (*cuts, ids.shape[1]), strict=True):
            given = {"position_ids": where[:, start:stop], "past_key_values": cache}
            logits.append(model(ids[:, start:stop], use_cache=True, **given).logits)
    return torch.cat(logits, dim=1)


def test_logits_are_ours(ours: LoopCoder, theirs: Any) -> None:
    assert theirs.dtype == torch.float32
    for length in LENGTHS:
        ids = random_ids(2, length, seed=length)
        right = expected(ours, ids)
        assert error(theirs, ids, right) < CLOSE, length
        assert error(theirs, ids, right, use_cache=False) < CLOSE, length


def test_a_packed_row_is_its_documents(ours: LoopCoder, theirs: Any) -> None:
    """Told by positions alone; with a cache or without, whole, in parts, and token by token."""
    ids = random_ids(1, sum(DOCUMENTS), seed=3)
    where, right = positions(DOCUMENTS), expected(ours, ids, DOCUMENTS)
    alone = [expected(ours, part) for part in ids.split(DOCUMENTS, dim=1)]
    assert float((torch.cat(alone, 1) - right).abs().max()) < 1e-4
    ones = torch.ones_like(ids)
    for how in ({}, {"use_cache": False}, {"attention_mask": ones}):
        assert error(theirs, ids, right, position_ids=where, **how) < CLOSE
    assert error(theirs, ids, right) > 0.01  # without positions it is one document
    for cuts in ((150, 151, 200), tuple(range(90, 230))):
        found = in_parts(theirs, ids, where, cuts)
        assert float((found - right).abs().max() / right.abs().max()) < CLOSE


def test_the_cache_holds_both_passes_and_no_more_of_the_second_than_its_window(
    theirs: Any,
) -> None:
    ids, config = random_ids(1, 150), theirs.config
    cache = theirs(ids, use_cache=True).past_key_values
    lengths = [layer.keys.shape[2] for layer in cache.layers]
    layers = config.num_hidden_layers
    assert lengths == [150] * layers + [config.loop_window_size - 1] * layers
    assert cache.get_seq_length() == 150


def test_greedy_text_is_the_same_with_and_without_a_cache(ours: LoopCoder, theirs: Any) -> None:
    prompts = random_ids(2, 70, seed=5)
    how = {"max_new_tokens": 70, "do_sample": False}
    cached = theirs.generate(prompts, **how)
    assert torch.equal(cached, theirs.generate(prompts, use_cache=False, **how))
    assert cached[:, 70:].tolist() == generate(ours, prompts.tolist(), 70)
    # prompts of unequal lengths are filled up on the left
    rows = [prompts[0].tolist(), prompts[1, :21].tolist()]
    filled = torch.tensor([[0] * (80 - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (80 - len(row)) + [1] * len(row) for row in rows])
    found = theirs.generate(filled, attention_mask=mask, **how)
    assert found[:, 80:].tolist() == generate(ours, rows, 70)


def test_other_ways_to_generate_give_the_same(theirs: Any) -> None:
    prompts = random_ids(1, 66, seed=6)
    how = {"max_new_tokens": 40, "do_sample": False}
    greedy = theirs.generate(prompts, **how)
    assert torch.equal(theirs.generate(prompts, prompt_lookup_num_tokens=3, **how), greedy)
    assert torch.equal(theirs.generate(prompts, assistant_model=theirs, **how), greedy)
    beams = theirs.generate(prompts, num_beams=2, **how)
    assert torch.equal(beams, theirs.generate(prompts, num_beams=2, use_cache=False, **how))
    with pytest.raises(ValueError, match="StaticCache: this model needs a dynamic cache"):
        theirs.generate(prompts, cache_implementation="static", **how)


def gradients(model: Any, ids: Tensor, where: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(ids, labels=ids, position_ids=where).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_computes_again_and_gives_the_same_gradients(
    ours: LoopCoder, folder: Path, reentrant: bool
) -> None:
    model = opened(folder).train()
    ids, where = random_ids(1, sum(DOCUMENTS), seed=3), positions(DOCUMENTS)
    calls: list[object] = []
    for layer in model.model.layers:
        layer.mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    plain = gradients(model, ids, where)
    once = len(calls)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    again = gradients(model, ids, where)
    assert len(calls) == once + 2 * once
    for name, gradient in plain.items():
        assert torch.allclose(again[name], gradient, rtol=1e-5, atol=1e-7), name
    # and they are ours
    targets, weights = ids.roll(-1, 1), torch.ones(1, ids.shape[1])
    weights[:, -1] = 0
    ours.zero_grad()
    ours(ids, Documents((DOCUMENTS,)), targets, weights).mean.backward()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        largest = float(parameter.grad.abs().max())
        assert float((plain[name] - parameter.grad).abs().max()) < 1e-4 * largest, name
    ours.zero_grad(set_to_none=True)


def test_only_the_logits_that_are_asked_for(theirs: Any) -> None:
    ids = random_ids(2, 30)
    with torch.no_grad():
        full = theirs(ids).logits
        assert torch.allclose(theirs(ids, logits_to_keep=3).logits, full[:, -3:], atol=1e-5)
        some = torch.tensor([2, 20])
        assert torch.allclose(theirs(ids, logits_to_keep=some).logits, full[:, some], atol=1e-5)
        states = theirs(ids, output_hidden_states=True).hidden_states
    assert len(states) == 2 * theirs.config.num_hidden_layers + 1
    assert torch.allclose(theirs.lm_head(states[-1]), full, atol=1e-5)
    with pytest.raises(ValueError, match="keeps no scores"):
        theirs(ids, output_attentions=True)
    with pytest.raises(ValueError, match=r"attention_mask \(2, 29\): \(batch, 30\)"):
        theirs(ids, attention_mask=torch.ones(2, 29))


def test_what_transformers_saves_is_read_back_to_the_bit(
    ours: LoopCoder, theirs: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved/config.json").read_text())
    assert "rope_scaling" not in config
    back = load(tmp_path / "saved")
    assert back.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    ids = random_ids(1, 80)
    again = opened(tmp_path / "saved")  # with the code that it saved along
    with torch.no_grad():
        assert torch.equal(again(ids).logits, theirs(ids).logits)


def test_a_dense_model_opens_and_is_read_back(tmp_path: Path) -> None:
    dense = random_model(loop_num=1)
    model = opened(export(dense, tmp_path / "out", remote_code=True))
    assert type(model).__name__ == "LlamaForCausalLM"
    assert not list((tmp_path / "out").glob("*.py"))
    ids = random_ids(2, 100)
    assert error(model, ids, expected(dense, ids)) < CLOSE
    model.save_pretrained(tmp_path / "saved")  # which has rope_parameters in place of rope_theta
    back = load(tmp_path / "saved")
    assert back.config == dense.config
    assert torch.equal(back(ids), dense(ids))


def test_bfloat16_is_the_same_weights_rounded_once(ours: LoopCoder, tmp_path: Path) -> None:
    folder = export(ours, tmp_path / "out", remote_code=True, dtype=torch.bfloat16)
    model = opened(folder)
    assert model.dtype == torch.bfloat16
    rounded = {name: tensor.bfloat16() for name, tensor in ours.state_dict().items()}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, rounded[name]), name
    back = load(folder)
    ids = random_ids(1, 100)
    right = expected(back, ids).float()
    with torch.no_grad():
        assert float((model(ids).logits.float() - right).abs().max() / right.abs().max()) < 0.03


WRONG: dict[str, tuple[str, str]] = {
    "a window of 63": (
        "loop_window_size\n        self.self",
        "loop_window_size - 1\n        self.self",
    ),
    "a window of 65": (
        "loop_window_size\n        self.self",
        "loop_window_size + 1\n        self.self",
    ),
    "no window": ("seen & (distance < window)", "seen"),
    "the gate dropped": ("g * over_first + (1 - g) * sight", "over_first + sight"),
    "the gate turned round": (
        "g * over_first + (1 - g) * sight",
        "(1 - g) * over_first + g * sight",
    ),
    "the gate without its bias": (" + bias[:, None, None]", ""),
    "global attention over the second pass": (
        "sight.causal(q, first_k, first_v)",
        "sight.causal(q, k, v)",
    ),
    "documents that see each other": (
        "        near = self.rank[:, keys]",
        "        own = own * 0 - 1\n        near = self.rank[:, keys]",
    ),
    "no rotation": ("frequencies\n", "frequencies * 0\n"),
}
IN_PARTS: dict[str, tuple[str, str]] = {
    "both passes in one cache": (
        "cache.update(k, v, number)",
        "cache.update(k, v, number % len(self.layers))",
    ),
    "the second pass's cache shifted": (
        "enumerate(gated, len(self.layers))",
        "enumerate(gated, len(self.layers) - 1)",
    ),
    "a window shorter in the cache": (
        "Layer(sliding_window=window)",
        "Layer(sliding_window=window - 1)",
    ),
    "positions of the chunk": ("torch.arange(past, past + h", "torch.arange(0, h"),
}


@pytest.fixture
def altered(folder: Path, tmp_path: Path) -> Callable[[tuple[str, str]], Any]:
    """Opens the exported folder with a change to its modelling file."""

    def change(edit: tuple[str, str]) -> Any:
        copy = tmp_path / f"wrong_{next(numbers)}"  # transformers keeps code by a folder's name
        copy.mkdir()
        for path in folder.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        code = copy / "modeling_iquestloopcoder.py"
        text = code.read_text()
        assert text.count(edit[0]) == 1, edit
        code.write_text(text.replace(*edit))
        return opened(copy)

    return change


@pytest.mark.parametrize("name", [*WRONG, *IN_PARTS])
def test_a_wrong_model_is_seen(
    ours: LoopCoder, altered: Callable[[tuple[str, str]], Any], name: str
) -> None:
    """By the comparisons above: of a packed row at once, and of one document in parts."""
    model = altered((WRONG | IN_PARTS)[name])
    ids = random_ids(1, sum(DOCUMENTS), seed=3)
    packed = expected(ours, ids, DOCUMENTS)
    if name in WRONG:
        assert error(model, ids, packed, position_ids=positions(DOCUMENTS)) > 1e-3
        return
    right = expected(ours, ids)
    assert error(model, ids, right, use_cache=False) < CLOSE
    from transformers import DynamicCache

    cache, found = DynamicCache(), []
    try:
        with torch.no_grad():
            for part in ids.split(50, dim=1):
                found.append(model(part, past_key_values=cache, use_cache=True).logits)
    except (RuntimeError, IndexError):
        return  # seen as well
    assert float((torch.cat(found, 1) - right).abs().max() / right.abs().max()) > 1e-3
