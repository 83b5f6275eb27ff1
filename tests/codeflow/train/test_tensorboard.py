"""TensorBoard files, read back by TensorBoard itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from training_runs import make_data, run, small

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_tensorboard_has_the_scalars_of_the_metrics_and_none_twice(tmp_path: Path) -> None:
    """Also over a resume: what was logged behind the checkpoint is purged."""
    folder = make_data(tmp_path / "data")
    recipe = small(
        5,
        run={"tensorboard": True, "checkpoint_every_steps": 2, "diagnose_every_steps": 2},
        validation={"every_steps": 5},
    )
    run(recipe, folder, tmp_path / "out", stop_after=3)
    (tmp_path / "out/checkpoints/step-00000003/meta.json").unlink()  # resumed from step 2
    run(recipe, folder, tmp_path / "out")
    lines = [json.loads(k) for k in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    board = accumulator.EventAccumulator(str(tmp_path / "out/tensorboard"))
    board.Reload()
    names = set(board.Tags()["scalars"])
    assert {"step/loss", "step/lr", "step/grad_norm", "validation/loss"} <= names
    assert {"validation/sources/a", "diagnostics/gate/layer0/mean"} <= names
    assert "step/mfu" not in names, "unknown is no number"
    for name in ("step/loss", "step/tokens"):
        field = name.partition("/")[2]
        expected = {k["step"]: k[field] for k in lines if k["event"] == "step"}
        found = [(event.step, event.value) for event in board.Scalars(name)]
        assert [step for step, _ in found] == [1, 2, 3, 4, 5]
        assert dict(found) == pytest.approx(expected, rel=1e-6)
    (validation,) = board.Scalars("validation/loss")
    expected = [k["loss"] for k in lines if k["event"] == "validation"]
    assert [validation.value] == pytest.approx(expected, rel=1e-6)


def test_without_the_option_nothing_is_written(tmp_path: Path) -> None:
    recipe = small(2)
    assert not dataclasses.asdict(recipe.run)["tensorboard"]
    run(recipe, make_data(tmp_path / "data"), tmp_path / "out")
    assert not (tmp_path / "out/tensorboard").exists()
