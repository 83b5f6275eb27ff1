"""A run starts from a Hugging Face folder: ours, or one that says nothing of its training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.loopcoder import export, load
from codeflow.loopcoder.config import preset
from codeflow.train.dry_run import dry_run
from codeflow.train.state import checkpoint
from codeflow.train.state.parallel import World
from codeflow.train.state.trained import find
from codeflow.train.trainer import Training
from training_runs import SHAPE, losses, make_data, run, small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense run of three steps and its export, side by side."""
    root = tmp_path_factory.mktemp("trained")
    run(small(3, model={"overrides": {**SHAPE, "loop_num": 1}}), folder, root / "dense")
    found = find(root / "dense")
    export(found.model(), root / "hf", about=found.about, shard_bytes=9_000)
    return root


def test_a_child_of_an_export_is_the_child_of_its_run(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    """The same losses to the bit, folded or not, since the export lost nothing."""
    dense = {"overrides": {**SHAPE, "loop_num": 1}}
    for name, changed in (("same", {"model": dense}), ("loop", {})):
        fold = name == "loop"
        for parent in ("dense", "hf"):
            recipe = small(2, parent={"run": str(trained / parent), "fold": fold}, **changed)
            run(recipe, folder, tmp_path / f"{name}-{parent}")
        seen = losses(tmp_path / f"{name}-hf")
        assert seen == losses(tmp_path / f"{name}-dense")
        metas = [
            checkpoint.read_meta(tmp_path / f"{name}-{parent}/checkpoints/step-00000002")["parent"]
            for parent in ("dense", "hf")
        ]
        assert metas[0].pop("checkpoint") == "step-00000003"
        assert metas[1].pop("checkpoint") == "hf"
        assert metas[0] == metas[1]
    # and what is there is seen by the plan
    for where, problems in ((str(trained / "hf"), 0), ("nowhere", 1)):
        recipe = small(2, model=dense, parent={"run": where})
        found = dry_run(recipe, folder, tmp_path / "out").problems
        assert len([line for line in found if "parent run" in line]) == problems


def test_a_folder_in_bfloat16_with_other_numbers_is_taken_and_told(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    model = load(trained / "hf")
    about = {"tokenizer": "t0"}
    export(model, tmp_path / "half", about=about, dtype=torch.bfloat16)
    config = json.loads((tmp_path / "half/config.json").read_text())
    config["rope_theta"] = 10000.0
    (tmp_path / "half/config.json").write_text(json.dumps(config))
    lines: list[str] = []
    recipe = small(2, model={"overrides": {**SHAPE, "loop_num": 1}}, parent={"run": "half"})
    training = Training(recipe, folder, tmp_path / "child", World(), lines.append)
    for name, parameter in training.model.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, model.state_dict()[name].bfloat16().float()), name
    training.close()
    assert len(lines) == 1
    assert "half: rope_theta = 10000.0; the recipe's 500000.0 is used" in lines[0]


def test_what_a_folder_cannot_give_is_one_line(folder: Path, trained: Path, tmp_path: Path) -> None:
    dense = {"overrides": {**SHAPE, "loop_num": 1}}
    hf = str(trained / "hf")
    bare = export(load(hf), tmp_path / "bare")
    other = export(load(hf), tmp_path / "other", about={"tokenizer": "t9"})
    wide = dataclasses.replace(preset("tiny", SHAPE), hidden_size=40)
    cases: list[tuple[dict[str, Any], dict[str, Any], type[CodeflowError], str]] = [
        ({"run": hf, "optimizer": True}, dense, UsageError, "has no moments"),
        ({"run": str(bare)}, dense, UsageError, "no tokenizer.json, which would say"),
        ({"run": str(other)}, dense, UsageError, "trained with tokenizer t9, the shards have t0"),
        ({"run": hf}, {}, DataError, "4 tensors are missing, among them .*gate_projections"),
        (
            {"run": hf},
            {"overrides": {**SHAPE, "hidden_size": wide.hidden_size, "loop_num": 1}},
            DataError,
            r"embed_tokens.weight is \(32, 32\), the recipe asks for",
        ),
        ({"run": str(tmp_path)}, dense, UsageError, "no complete checkpoint"),
    ]
    for number, (parent, model, error, message) in enumerate(cases):
        recipe = small(2, parent=parent, **({"model": model} if model else {}))
        with pytest.raises(error, match=message) as caught:
            run(recipe, folder, tmp_path / str(number))
        assert "\n" not in str(caught.value)
