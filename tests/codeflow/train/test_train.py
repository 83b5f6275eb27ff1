"""One process learns: the token mean, parents and folds, validation, and the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from codeflow import cli
from codeflow.errors import DataError, UsageError
from codeflow.shards.reader import TokenShards
from codeflow.train import validation
from codeflow.train.data import open_sources
from codeflow.train.state import checkpoint
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World
from codeflow.train.trainer import Training
from token_shards import random_rows, write_shard
from training_runs import TOKENS, VOCAB, losses, run, small


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_loss_goes_down(folder: Path, tmp_path: Path, kind: str) -> None:
    recipe = small(40, optimizer={"name": kind, "lr": 5e-3}, run={"checkpoint_every_steps": 0})
    run(recipe, folder, tmp_path / "out")
    seen = losses(tmp_path / "out")
    assert seen[0] > 3.3  # near ln 32, untrained
    assert seen[-1] < 1.7


def gradients(
    recipe: Any, folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, torch.Tensor]:
    """What the optimiser is given in the first step."""
    found: dict[str, torch.Tensor] = {}

    def keep(self: Optimizer, lr: float) -> None:
        for name, parameter in self.parameters.items():
            assert parameter.grad is not None
            found.setdefault(name, parameter.grad.clone())

    with monkeypatch.context() as patch:
        patch.setattr(Optimizer, "step", keep)
        run(recipe, folder, out, stop_after=1)
    return found


def test_accumulation_is_a_token_mean(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against plain logits and F.cross_entropy over the whole batch, and against mean of means."""
    changes: dict[str, Any] = {"optimizer": {"clip_norm": 1e9}}
    by_rows = {
        rows: gradients(
            small(batch={"rows_per_step": 8, "micro_batch_rows": rows}, **changes),
            folder,
            tmp_path / str(rows),
            monkeypatch,
        )
        for rows in (1, 4, 8)
    }
    recipe = small(batch={"rows_per_step": 8, "micro_batch_rows": 1}, **changes)
    training = Training(recipe, folder, tmp_path / "model", World(), lambda line: None)
    model = training.model
    step = next(training.feed.steps(training.position, 0, training.model))
    total, means, weight = torch.zeros(()), torch.zeros(()), 0.0
    for micro in step.micros:
        logits = model(micro.input_ids, micro.documents).flatten(0, 1)
        loss = F.cross_entropy(logits, micro.targets.flatten(), reduction="none")
        summed = (loss * micro.weights.flatten()).sum()
        total = total + summed
        means = means + summed / micro.weights.sum() / len(step.micros)
        weight += float(micro.weights.sum())
    right = torch.autograd.grad(total / weight, list(model.parameters()), retain_graph=True)
    wrong = torch.autograd.grad(means, list(model.parameters()))
    training.close()

    def distance(a: Any, b: Any) -> float:
        return max(
            float((x - y).abs().max() / y.abs().max()) for x, y in zip(a, b, strict=True) if y.any()
        )

    for found in by_rows.values():
        assert distance(found.values(), right) < 1e-4
    assert distance(wrong, right) > 0.01


def test_parents_shapes_tokenizers_and_fold(folder: Path, tmp_path: Path) -> None:
    recipe = small(3)
    dense = dataclasses.replace(recipe.model, overrides={**recipe.model.overrides, "loop_num": 1})
    run(small(3, model=dense), folder, tmp_path / "dense")
    child = small(2, parent={"run": "dense", "fold": True}, validation={"every_steps": 10})
    run(child, folder, tmp_path / "loop")
    lines = [json.loads(line) for line in (tmp_path / "loop/metrics.jsonl").open()]
    assert lines[0]["event"] == "fold"
    trained = checkpoint.latest(tmp_path / "dense/checkpoints")
    assert trained is not None
    training = Training(
        small(3, model=dense), folder, tmp_path / "dense", World(), lambda line: None
    )
    held = open_sources(folder, ("a", "b"), "validation", TOKENS, "")
    expected = validation.validate(training.model, held, recipe, World())
    training.close()
    assert lines[0]["dense"] == expected
    assert lines[0]["loop"]["loss"] != expected["loss"]
    meta = checkpoint.read_meta(tmp_path / "loop/checkpoints/step-00000002")
    assert meta["parent"]["recipe_hash"] == small(3, model=dense).hash
    assert meta["parent"]["checkpoint"] == "step-00000003"

    with pytest.raises(DataError, match=r"no tensor model.gate_projections.0.weight"):
        run(small(2, parent={"run": "dense"}), folder, tmp_path / "unfolded")
    wide = {**recipe.model.overrides, "hidden_size": 40}
    other = small(2, parent={"run": "dense", "fold": True}, model={"overrides": wide})
    with pytest.raises(DataError, match=r"embed_tokens.weight is \(32, 32\), .* \(32, 40\)"):
        run(other, folder, tmp_path / "wide")
    with pytest.raises(UsageError, match=r"nowhere: parent.run has no complete checkpoint"):
        run(small(2, parent={"run": "nowhere"}), folder, tmp_path / "orphan")
    foreign = tmp_path / "foreign"
    rows = random_rows(6, TOKENS, VOCAB, 0)
    for name in ("a", "b"):
        write_shard(foreign / "tokens" / name / "train-0.arrow", rows, tokenizer="t9")
    with pytest.raises(UsageError, match="trained with tokenizer t0, the shards have t9"):
        run(small(2, parent={"run": "dense", "fold": True}), foreign, tmp_path / "tokenizer")


def test_validation_is_a_token_mean_by_label(folder: Path, tmp_path: Path) -> None:
    recipe = small(1, batch={"micro_batch_rows": 4})
    training = Training(recipe, folder, tmp_path / "out", World(), lambda line: None)
    held = open_sources(folder, ("a", "b"), "validation", TOKENS, "")
    found = validation.validate(training.model, held, recipe, World())
    sums: dict[tuple[str, str], list[float]] = {}
    for source in held:
        for i in range(len(source)):
            row = source[i]
            start = 0
            for number, length in enumerate(row.doc_lengths):
                ids = torch.from_numpy(row.input_ids[start : start + length].astype(int))[None]
                weights = torch.from_numpy(row.token_weights[start + 1 : start + length]).double()
                start += length
                if not weights.any():
                    continue
                logits = training.model(ids)[0, :-1].detach()  # a document on its own
                loss = F.cross_entropy(logits, ids[0, 1:], reduction="none").double()
                for key in (
                    ("languages", str(row.languages[number])),
                    ("kinds", str(row.kinds[number])),
                    ("sources", source.name),
                    ("loss", ""),
                ):
                    entry = sums.setdefault(key, [0.0, 0.0])
                    entry[0] += float((loss * weights).sum())
                    entry[1] += float(weights.sum())
    training.close()
    for (what, label), (loss_sum, weight) in sums.items():
        value = found["loss"] if what == "loss" else found[what][label]
        assert value == pytest.approx(loss_sum / weight, rel=1e-5)
    assert len(found["languages"]) == 3
    assert set(found["kinds"]) == {"span", "commit"}


def words_of(folder: Path, tmp_path: Path) -> list[str]:
    """What the commands of a run take, with a recipe as one writes it."""
    shape = "\n".join(f"{key} = {value}" for key, value in small().model.overrides.items())
    text = f"""name = "little"
[model]
preset = "tiny"
[model.overrides]
{shape}
[data.sources]
a = 2
b = 1
[batch]
sequence_tokens = {TOKENS}
rows_per_step = 4
micro_batch_rows = 2
[schedule]
steps = 6
warmup_steps = 2
decay_steps = 2
"""
    recipe = tmp_path / "r.toml"
    recipe.write_text(text)
    return ["--data", str(folder), "--recipe", str(recipe)]


@pytest.mark.slow
def test_the_command_that_proves_resuming(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words_of(folder, tmp_path)
    assert cli.main(["verify-resume", *arguments, "--steps", "4", "--at", "1"]) == 0
    assert "equal:" in capsys.readouterr().out.split()


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = words_of(folder, tmp_path)
    recipe = tmp_path / "r.toml"
    text = recipe.read_text()
    assert cli.main(["train", *arguments, "--out", str(tmp_path / "out")]) == 0
    assert "step-00000006" in capsys.readouterr().out
    more = ["--set", "batch.micro_batch_rows=3", "--set", "name=other"]
    assert cli.main(["train", *arguments, "--dry-run", *more]) == 2
    assert "not a multiple of micro_batch_rows = 3" in capsys.readouterr().err
    assert cli.main(["train", *arguments, "--dry-run"]) == 0
    assert "nothing is missing" in capsys.readouterr().out
    recipe.write_text(text.replace("b = 1", "b = 1\nnot-there = 1"))
    assert cli.main(["train", *arguments, "--dry-run"]) == 1
    assert "missing: token folder" in capsys.readouterr().out
    recipe.write_text(text.replace("warmup_steps", "warm_up_steps"))
    assert cli.main(["train", *arguments]) == 2
    assert "did you mean 'warmup_steps'" in capsys.readouterr().err


def test_source_is_lazy(folder: Path) -> None:
    assert len(TokenShards(folder / "tokens/a")) == 24
