"""What goes wrong outside of the code: one line on the terminal, a status, and nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codeflow import cli
from codeflow.errors import CodeflowError
from codeflow.loopcoder import export
from codeflow.train import data, metrics
from codeflow.train.state import checkpoint
from loopcoder_models import random_model
from token_samples import make, tokenized
from token_shards import random_rows, write_shard
from training_runs import SHAPE, TOKENS, VOCAB, make_data, run, small

SHAPE_LINES = "\n".join(f"{key} = {value}" for key, value in SHAPE.items())
RECIPE = f"""
[model.overrides]
{SHAPE_LINES}
[data.sources]
a = 2
b = 1
[batch]
sequence_tokens = {TOKENS}
rows_per_step = 4
micro_batch_rows = 2
[optimizer]
lr = 3e-3
[schedule]
steps = 6
warmup_steps = 2
decay_steps = 2
[run]
checkpoint_every_steps = 2
diagnose_every_steps = 0
[validation]
every_steps = 0
[guard]
max_bad_steps = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = make_data(tmp_path / "data")
    (tmp_path / "r.toml").write_text(RECIPE)
    return made


def train(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """`codeflow train` into `out` beside the data: status, and lines that are no progress."""
    capsys.readouterr()
    recipe, out = folder.parent / "r.toml", folder.parent / "out"
    status = cli.main(["train", "--data", str(folder), "--recipe", str(recipe), "--out", str(out)])
    lines = capsys.readouterr().err.splitlines()
    return status, [line for line in lines if not line.startswith(("step ", "going on"))]


def other_tokenizer(folder: Path) -> None:
    write_shard(
        folder / "tokens/b/train-00000-of-00002.arrow", random_rows(4, TOKENS, VOCAB, 0), "t9"
    )


def other_tokenizer_in_one_folder(folder: Path) -> None:
    for path in (folder / "tokens/b").glob("train-*"):
        write_shard(path, random_rows(4, TOKENS, VOCAB, 0), "t9")


def truncated(folder: Path) -> None:
    path = folder / "tokens/a/train-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:-100])


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder / "tokens/b")


def beyond_the_vocabulary(folder: Path) -> None:
    for path in (folder / "tokens/a").glob("train-*"):
        write_shard(path, random_rows(4, TOKENS, 2 * VOCAB, 0))


def larger_tokenizer(folder: Path) -> None:
    for path in (folder / "tokens/a").glob("train-*"):
        write_shard(path, random_rows(4, TOKENS, VOCAB, 0), vocab_size=VOCAB + 1)


def no_run_folder(folder: Path) -> None:
    (folder.parent / "out").write_text("a file")


@pytest.mark.parametrize(
    ("spoil", "status", "message"),
    [
        (other_tokenizer, 1, "tokenizer t0, but train-00000-of-00002.arrow has t9"),
        (other_tokenizer_in_one_folder, 2, "made with tokenizer t9, this run needs t0"),
        (truncated, 1, "train-00001-of-00002.arrow: truncated or damaged shard"),
        (no_folder, 2, "no token folders b in"),
        (beyond_the_vocabulary, 1, "the model's vocabulary ends at 32: set model.overrides"),
        (larger_tokenizer, 2, "a: its tokenizer has 33 tokens, the recipe's model 32: set model"),
        (no_run_folder, 1, "out: cannot be written or read"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_data_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    status: int,
    message: str,
) -> None:
    spoil(folder)
    found, lines = train(folder, capsys)
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert lines[0].startswith("codeflow: ")
    assert found == status


def test_a_checkpoint_of_another_shape_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = {**SHAPE, "hidden_size": 40}
    run(small(2, model={"overrides": wide}), folder, tmp_path / "parent")
    with (tmp_path / "r.toml").open("a") as file:
        file.write('[parent]\nrun = "parent"\n')
    status, lines = train(folder, capsys)
    assert (status, len(lines)) == (1, 1)
    assert "embed_tokens.weight is (32, 40), the recipe's model has (32, 32)" in lines[0]


def test_nan_is_one_line_and_the_checkpoint_before_is_kept(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = data.collate, []

    def poisoned(rows: Any) -> Any:
        calls.append(1)
        micro = real(rows)
        scale = float("nan") if len(calls) > 6 else 1.0  # from step 4 on
        return dataclasses.replace(micro, weights=micro.weights * scale)

    monkeypatch.setattr(data, "collate", poisoned)
    status, lines = train(folder, capsys)
    assert (status, len(lines)) == (1, 1)
    assert "step 5: loss or gradient not finite in 2 steps in a row (loss nan" in lines[0]
    last = checkpoint.latest(folder.parent / "out/checkpoints")
    assert last is not None
    assert last.name in lines[0]
    good = checkpoint.read_meta(last)
    assert good["bad_steps"][0] <= 1


def test_a_disk_that_fills_up_under_the_metrics_is_one_line_and_nothing_is_lost(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = metrics.Log.write

    def full(self: metrics.Log, event: str, step: int, values: Any) -> None:
        if step == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, event, step, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics.Log, "write", full)
        status, lines = train(folder, capsys)
    assert (status, len(lines)) == (1, 1)
    assert "No space left on device" in lines[0]
    assert "goes on from step-00000004" in lines[0]
    assert train(folder, capsys) == (0, [])
    straight = tmp_path / "straight"
    out = tmp_path / "out"
    out.rename(tmp_path / "filled")
    assert train(folder, capsys) == (0, [])
    out.rename(straight)
    hashes = {
        checkpoint.state_hash(path / "checkpoints/step-00000006")
        for path in (straight, tmp_path / "filled")
    }
    assert len(hashes) == 1


def test_what_cannot_be_written_elsewhere_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(CodeflowError, match="cannot be written"):
        export(random_model(), file / "below" / "out")
    made, _ = make(tmp_path / "mined")
    (made / "tokens").write_text("x")
    with pytest.raises(CodeflowError, match=r"tokenizer.json: cannot be written") as caught:
        tokenized(made, "d", "diff", 512, vocab_size=600, fast=False)
    assert "\n" not in str(caught.value)


def test_verify_resume_under_torchrun_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    recipe = folder / "recipe.toml"
    status = cli.main(["verify-resume", "--data", str(folder), "--recipe", str(recipe)])
    assert status == 2
    assert "verify-resume runs in one process" in capsys.readouterr().err
