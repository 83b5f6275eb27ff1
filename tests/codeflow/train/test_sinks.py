"""What TensorBoard, Weights & Biases and trackio are given, read back from their own files.

None of them is a dependency: a test runs where its package is installed.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codeflow.errors import UsageError
from codeflow.train.dry_run import dry_run
from codeflow.train.watch import sinks
from training_runs import make_data, run, small


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_tensorboard_has_the_scalars_of_the_metrics_and_none_twice(tmp_path: Path) -> None:
    """Also over a resume: what was logged behind the checkpoint is purged."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = make_data(tmp_path / "data")
    recipe = small(
        5,
        run={"sinks": ("tensorboard",), "checkpoint_every_steps": 2, "diagnose_every_steps": 2},
        validation={"every_steps": 5},
    )
    run(recipe, folder, tmp_path / "out", stop_after=3)
    (tmp_path / "out/checkpoints/step-00000003/meta.json").unlink()  # resumed from step 2
    run(recipe, folder, tmp_path / "out")
    lines = logged(tmp_path / "out")
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
    losses = [k["loss"] for k in lines if k["event"] == "validation"]
    assert [validation.value] == pytest.approx(losses, rel=1e-6)


def records(path: Path) -> Iterator[Any]:
    """Of a file of Weights & Biases: LevelDB's log format (blocks of 32 KB, a record's parts each
    behind its sum, length and kind), after a head of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def test_weights_and_biases_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the run's id, so that two starts are one run; the recipe is its configuration; a name has
    its numbers by step. (One start here: wandb's folders have names of seconds.)"""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    recipe = small(4, run={"sinks": ("wandb",)}, validation={"every_steps": 4})
    folder, out = make_data(tmp_path / "data"), tmp_path / "out"
    run(recipe, folder, out)
    files = sorted((out / "wandb").glob("offline-run-*/run-*.wandb"))
    assert {file.stem for file in files} == {f"run-{(out / 'run.id').read_text().strip()}"}
    found = [record for file in files for record in records(file)]
    started = [r.run for r in found if r.WhichOneof("record_type") == "run"]
    assert {each.display_name for each in started} == {recipe.name}
    settings = {item.key: json.loads(item.value_json) for item in started[0].config.update}
    assert settings["optimizer"]["lr"] == recipe.optimizer.lr
    rows = [
        {(i.key or i.nested_key[0]): json.loads(i.value_json) for i in r.history.item}
        for r in found
        if r.WhichOneof("record_type") == "history"
    ]
    losses = {row["step"]: row["step/loss"] for row in rows if "step/loss" in row}
    expected = {k["step"]: k["loss"] for k in logged(out) if k["event"] == "step"}
    assert list(losses) == [1, 2, 3, 4]
    assert losses == pytest.approx(expected)
    (validation,) = [row for row in rows if "validation/sources/a" in row]
    assert validation["step"] == 4
    axes = [r.metric.step_metric for r in found if r.WhichOneof("record_type") == "metric"]
    assert set(axes) == {"step"}


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Its own database; two starts are one run; nothing is printed where results are."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    recipe = small(4, run={"sinks": ("trackio",)})
    folder, out = make_data(tmp_path / "data"), tmp_path / "out"
    run(recipe, folder, out, stop_after=2)
    run(recipe, folder, out)
    assert capsys.readouterr().out == ""
    name = f"{recipe.name}-{(out / 'run.id').read_text().strip()}"
    rows = SQLiteStorage.get_logs("codeflow", name)
    expected = [(k["step"], k["loss"]) for k in logged(out) if k["event"] == "step"]
    assert [(row["step"], row["step/loss"]) for row in rows] == expected


def test_every_sink_gets_the_numbers_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[Any]] = {"a": [], "b": []}

    @dataclasses.dataclass
    class Kept:
        name: str

        def write(self, step: int, values: Any) -> None:
            given[self.name].append((step, dict(values)))

        def close(self) -> None:
            given[self.name].append("closed")

    starts: list[sinks.About] = []

    def made(name: str) -> Any:
        def start(about: Any) -> Any:
            starts.append(about)
            return Kept(name)

        return start

    monkeypatch.setattr(sinks, "SINKS", {"a": made("a"), "b": made("b")})
    monkeypatch.setattr(sinks, "require", lambda names: None)
    recipe = small(3, run={"checkpoint_every_steps": 2})
    object.__setattr__(recipe.run, "sinks", ("a", "b"))
    folder, out = make_data(tmp_path / "data"), tmp_path / "out"
    run(recipe, folder, out, stop_after=2)
    run(recipe, folder, out)
    assert [about.resumed_step for about in starts] == [0, 0, 2, 2]
    assert len({about.id for about in starts}) == 1
    assert given["a"] == given["b"]
    *first, end = given["a"][:3]
    assert end == "closed"
    assert [step for step, _ in first] == [1, 2]
    for line, (_, values) in zip(logged(out), first, strict=False):
        assert values["step/loss"] == line["loss"]
        assert "step/mfu" not in values  # unknown is no number


def test_a_sink_that_is_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is written, and in the dry run."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(sinks, "find_spec", lambda name: None)
    recipe = small(2, run={"sinks": ("wandb",)})
    folder, out = make_data(tmp_path / "data"), tmp_path / "out"
    said = "run.sinks: wandb is not installed: pip install wandb"
    with pytest.raises(UsageError, match=said):
        run(recipe, folder, out)
    assert not (out / "recipe.json").exists()
    assert any(said in problem for problem in dry_run(recipe, folder, out).problems)


def test_without_sinks_nothing_is_written(tmp_path: Path) -> None:
    run(small(2), make_data(tmp_path / "data"), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"recipe.json", "metrics.jsonl", "checkpoints", ".lock"}
