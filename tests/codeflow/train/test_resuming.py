"""Training that goes on: exactly, from what is whole, with the recipe and data of before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.errors import DataError, UsageError
from codeflow.train.state import checkpoint
from token_shards import random_rows, write_shard
from training_runs import TOKENS, VOCAB, hash_of, losses, make_data, run, small


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
