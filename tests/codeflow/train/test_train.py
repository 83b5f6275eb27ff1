"""One process: learning, the token mean, resuming, bad steps, silent errors, and clear lines."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from codeflow import cli
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.shards.reader import TokenShards
from codeflow.train import data, validation
from codeflow.train.data import open_sources
from codeflow.train.guard import Guard, SilentError
from codeflow.train.state import checkpoint, parallel
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World
from codeflow.train.trainer import Training
from token_shards import random_rows, write_shard
from training_runs import TOKENS, VOCAB, losses, make_data, run, small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def hash_of(out: Path) -> str:
    last = checkpoint.latest(out / "checkpoints")
    assert last is not None
    return checkpoint.state_hash(last)


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
    changes = {"optimizer": {"clip_norm": 1e9}}
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
    step = next(data.steps(training.mixture, recipe, World(), training.position))
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


def test_resume_is_exact_with_other_workers(folder: Path, tmp_path: Path) -> None:
    recipe = small(9, run={"data_workers": 0}, optimizer={"name": "muon"})
    run(recipe, folder, tmp_path / "one")
    run(recipe, folder, tmp_path / "two", stop_after=3)
    torch.manual_seed(12345)  # what another process would have
    more = small(
        9, run={"data_workers": 3, "checkpoint_every_steps": 1}, optimizer={"name": "muon"}
    )
    run(more, folder, tmp_path / "two", stop_after=4)
    run(more, folder, tmp_path / "two")
    assert hash_of(tmp_path / "one") == hash_of(tmp_path / "two")
    assert losses(tmp_path / "one") == losses(tmp_path / "two")


@pytest.mark.parametrize("lost", ["optimizer", "position", "step"])
def test_a_resume_that_forgets_is_seen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    recipe = small(6)
    run(recipe, folder, tmp_path / "one")
    run(recipe, folder, tmp_path / "two", stop_after=3)
    if lost == "optimizer":
        monkeypatch.setattr(checkpoint, "load_optimizer", lambda reader, optimizer: None)
    else:
        real = checkpoint.read_meta
        zero: Any = [0, 0] if lost == "position" else 1
        monkeypatch.setattr(checkpoint, "read_meta", lambda path: {**real(path), lost: zero})
    run(recipe, folder, tmp_path / "two")
    monkeypatch.undo()
    assert hash_of(tmp_path / "one") != hash_of(tmp_path / "two")


def test_finished_run_does_nothing_and_keeps_few_checkpoints(folder: Path, tmp_path: Path) -> None:
    recipe, out = small(7, run={"checkpoint_every_steps": 2, "keep_checkpoints": 2}), tmp_path / "o"
    first = run(recipe, folder, out)
    assert [p.name for p in checkpoint.complete(out / "checkpoints")] == [
        "step-00000006",
        "step-00000007",
    ]
    before = (out / "metrics.jsonl").read_bytes()
    said: list[str] = []
    assert run(recipe, folder, out, progress=said.append) == first
    assert said == [f"{out}: complete with step-00000007; nothing is left to do"]
    assert (out / "metrics.jsonl").read_bytes() == before


def test_values_that_are_read_are_not_drawn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 40B every rank would draw for minutes what it overwrites. A fold draws its gates."""
    drawn: list[str] = []
    real = parallel.draw

    def noted(name: str, *arguments: Any) -> None:
        drawn.append(name)
        real(name, *arguments)

    monkeypatch.setattr(parallel, "draw", noted)
    shape = {**small().model.overrides, "loop_num": 1}
    dense = dataclasses.replace(small().model, overrides=shape)
    run(small(4, model=dense), folder, tmp_path / "dense", stop_after=2)
    assert drawn
    drawn.clear()
    run(small(4, model=dense), folder, tmp_path / "dense")
    run(small(2, model=dense, parent={"run": "dense"}), folder, tmp_path / "child")
    assert drawn == []
    run(small(2, parent={"run": "dense", "fold": True}), folder, tmp_path / "loop")
    assert any("gate" in name for name in drawn)


def test_every_checkpoint_is_named_when_it_is_saved(folder: Path, tmp_path: Path) -> None:
    """Under NCCL a lost rank ends the others without another word."""
    said: list[str] = []
    run(small(4, run={"checkpoint_every_steps": 2}), folder, tmp_path / "o", progress=said.append)
    saved = [line for line in said if "saved" in line]
    assert [line.split()[0] for line in saved] == ["step-00000002", "step-00000004"]


def test_no_memory_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device's, Python's, and what torch says of this machine's, which it really asks for."""
    real = Training.compute
    for number, ask in enumerate(
        (
            lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
            lambda: (_ for _ in ()).throw(MemoryError()),
            lambda: torch.empty(1 << 60, dtype=torch.uint8),
        )
    ):

        def failing(self: Training, step: Any, ask: Any = ask) -> Any:
            return ask() if self.step == 3 else real(self, step)

        monkeypatch.setattr(Training, "compute", failing)
        with pytest.raises(CodeflowError, match=r"out of memory .* go on from step-00000002") as e:
            run(small(4, run={"checkpoint_every_steps": 2}), folder, tmp_path / str(number))
        assert "\n" not in str(e.value)


def test_a_checkpoint_is_readable_as_the_umask_has_it(folder: Path, tmp_path: Path) -> None:
    before = os.umask(0o026)
    try:
        last = run(small(1), folder, tmp_path / "out").checkpoint
    finally:
        os.umask(before)
    assert last.stat().st_mode & 0o777 == 0o751
    modes = {p.name: p.stat().st_mode & 0o777 for p in last.iterdir()}
    assert modes == {"meta.json": 0o640, "rank-00000.safetensors": 0o640}


def test_metrics_lines_torn_or_ahead_are_dropped(folder: Path, tmp_path: Path) -> None:
    recipe, out = small(6, run={"checkpoint_every_steps": 3}), tmp_path / "out"
    run(recipe, folder, out, stop_after=3)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "step": 4, "loss": 99.0}\n{"event": "st')
    run(recipe, folder, out)
    assert len(losses(out)) == 6
    assert 99.0 not in losses(out)


def test_other_recipe_or_data_is_refused(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(small(4), folder, out, stop_after=2)
    with pytest.raises(UsageError, match=r"another recipe, different in optimizer\.lr"):
        run(small(4, optimizer={"lr": 1.0}), folder, out)
    other = make_data(tmp_path / "other")
    write_shard(other / "tokens/a/train-00009.arrow", random_rows(3, TOKENS, VOCAB, 5))
    with pytest.raises(UsageError, match=r"other shards than those given \(a\.files\)"):
        run(small(4), other, out)


def test_non_finite_steps_are_skipped_counted_and_end_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = data.collate, []

    def poisoned(rows: Any) -> Any:
        calls.append(1)
        micro = real(rows)
        scale = float("nan") if 5 <= len(calls) <= 6 else 1.0  # both micro-batches of step 3
        return dataclasses.replace(micro, weights=micro.weights * scale)

    monkeypatch.setattr(data, "collate", poisoned)
    states: list[tuple[str, Any]] = []

    def watch(training: Training) -> None:
        weights = {n: p.detach().clone() for n, p in training.model.named_parameters()}
        states.append((training.outcome.state, weights))

    recipe = small(5, run={"data_workers": 0})
    run(recipe, folder, tmp_path / "out", observe=watch)
    assert [state for state, _ in states] == ["good", "good", "bad", "good", "good"]
    assert all(torch.equal(states[1][1][n], states[2][1][n]) for n in states[1][1])
    assert all(p.isfinite().all() for p in states[-1][1].values())
    last = json.loads((tmp_path / "out/metrics.jsonl").read_text().splitlines()[-1])
    assert last["bad_steps"] == 1

    monkeypatch.setattr(
        data,
        "collate",
        lambda rows: dataclasses.replace(real(rows), weights=real(rows).weights / 0),
    )
    with pytest.raises(
        CodeflowError, match="step 3: loss or gradient not finite in 3 steps in a row"
    ):
        run(small(9, guard={"max_bad_steps": 2}), folder, tmp_path / "nan")


def test_fully_masked_batches_change_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = data.collate
    monkeypatch.setattr(
        data,
        "collate",
        lambda rows: dataclasses.replace(real(rows), weights=real(rows).weights * 0),
    )
    before: list[Any] = []

    def watch(training: Training) -> None:
        before.append({n: p.detach().clone() for n, p in training.model.named_parameters()})
        assert training.outcome.state == "empty"

    run(small(3), folder, tmp_path / "out", observe=watch)
    assert all(torch.equal(before[0][n], before[-1][n]) for n in before[0])
    assert losses(tmp_path / "out") == [0.0] * 3


def flip(tensor: torch.Tensor, bit: int = 0) -> None:
    tensor.detach().view(-1).view(torch.int32)[-1].bitwise_xor_(1 << bit)


@pytest.mark.parametrize("name", ["model/lm_head.weight", "optim/model.norm.weight/exp_avg_sq"])
def test_flipped_bit_at_rest_is_caught(folder: Path, tmp_path: Path, name: str) -> None:
    recipe = small(6, guard={"fingerprint_every_steps": 1})

    flipped: list[int] = []
    real = Guard.after

    def after(self: Guard, done: int, saving: bool) -> None:
        real(self, done, saving)
        if done == 3:
            flip(self._live()[name])
            flipped.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guard, "after", after)
        with pytest.raises(SilentError, match=f"step 3: silent error: {name} changed between"):
            run(recipe, folder, tmp_path / "out")
    assert flipped


def test_wrong_arithmetic_is_caught_when_computed_again(folder: Path, tmp_path: Path) -> None:
    """One gradient that is off by one bit, once, in a step that is taken twice."""
    turns: list[int] = []
    real = Optimizer.step

    def once(self: Optimizer, lr: float) -> None:
        turns.append(1)
        if len(turns) == 4:
            flip(self.parameters["model.embed_tokens.weight"].grad, 20)  # type: ignore[arg-type]
            flip(self.parameters["model.norm.weight"].grad, 20)  # type: ignore[arg-type]
        real(self, lr)

    recipe = small(6, guard={"recompute_every_steps": 4})
    run(recipe, folder, tmp_path / "fine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimizer, "step", once)
        with pytest.raises(SilentError, match=r"step 4: silent error: .*when computed again"):
            run(recipe, folder, tmp_path / "out")
    plain = small(6)
    run(plain, folder, tmp_path / "plain")
    assert hash_of(tmp_path / "fine") == hash_of(tmp_path / "plain")


def test_damaged_and_incomplete_checkpoints(folder: Path, tmp_path: Path) -> None:
    recipe, out = small(6), tmp_path / "out"
    run(recipe, folder, out, stop_after=4)
    last = out / "checkpoints/step-00000004"
    file = last / "rank-00000.safetensors"
    whole = file.read_bytes()
    for damaged in (whole[:-8], whole[:-5] + bytes([whole[-5] ^ 4]) + whole[-4:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"rank-00000.safetensors: damaged.*the one before"):
            run(recipe, folder, out)
    file.unlink()
    with pytest.raises(DataError, match=r"rank-00000.safetensors: missing"):
        run(recipe, folder, out)
    file.write_bytes(whole)
    (last / "meta.json").unlink()  # as if killed before the marker
    (out / "checkpoints/step-00000005.tmp").mkdir()
    run(recipe, folder, out)
    run(recipe, folder, tmp_path / "straight")
    assert hash_of(out) == hash_of(tmp_path / "straight")
    assert not list((out / "checkpoints").glob("*.tmp"))


def test_full_disk_is_one_line_and_keeps_the_last(folder: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands in for the full disk: the write itself fails."""
    out = tmp_path / "out"
    run(small(6), folder, out, stop_after=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
        with pytest.raises(CodeflowError, match="step-00000004: could not be written") as caught:
            run(small(6), folder, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert "step-00000002 is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    run(small(6), folder, out)
    run(small(6), folder, tmp_path / "straight")
    assert hash_of(out) == hash_of(tmp_path / "straight")


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
                    ("languages", row.languages[number]),
                    ("kinds", row.kinds[number]),
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


def test_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    arguments = ["--data", str(folder), "--recipe", str(recipe)]
    assert cli.main(["verify-resume", *arguments, "--steps", "4", "--at", "1"]) == 0
    proof = capsys.readouterr().out.split()
    assert "equal:" in proof
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
