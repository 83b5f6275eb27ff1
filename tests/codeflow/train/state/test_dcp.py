"""Models in torch's checkpoint format, written and read by torch itself on the other side."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict_loader import load as read_by_torch
from torch.distributed.checkpoint.state_dict_saver import save as write_by_torch

from codeflow.errors import DataError, UsageError
from codeflow.loopcoder import hf
from codeflow.loopcoder.config import Compute
from codeflow.train import recipe as recipes
from codeflow.train.state import dcp
from codeflow.train.state.parallel import World, make_model, unwrapped
from codeflow.train.state.trained import find
from loopcoder_models import SMALL, random_ids, random_model
from ranks import on_ranks

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def test_torch_reads_what_is_written(tmp_path: Path) -> None:
    model = random_model()
    dcp.write(model, tmp_path / "out", {"name": "x"}, None)
    expected = model.state_dict()
    found = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    read_by_torch(found, checkpoint_id=tmp_path / "out", no_dist=True)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_what_torch_writes_is_read(tmp_path: Path, prefix: str) -> None:
    """With an optimiser and objects beside the weights, in bfloat16, and a config.json."""
    model = random_model().bfloat16()
    state: dict[str, Any] = {prefix + n: t for n, t in model.state_dict().items()}
    state |= {"optimizer": {"step": torch.tensor(3.0), "lr": 0.1}, "trainer": {"seen": [1, 2]}}
    write_by_torch(state, checkpoint_id=tmp_path / "in", no_dist=True)
    hf.export(model, tmp_path / "hf")
    with pytest.raises(UsageError, match=r"config\.json"):
        find(tmp_path / "in").model()
    (tmp_path / "in/config.json").write_bytes((tmp_path / "hf/config.json").read_bytes())
    read = find(tmp_path / "in").model()
    for name, tensor in read.state_dict().items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, model.state_dict()[name]), name


def save_spread(world: World, folder: str) -> torch.Tensor:
    model = make_model(SMALL, Compute(), world, seed=3)
    write_by_torch(unwrapped(model).state_dict(), checkpoint_id=folder)
    ids = random_ids(1, 20)
    with torch.no_grad():
        logits: torch.Tensor = model(ids)
        return logits


@pytest.mark.slow
def test_what_two_ranks_write_is_read_by_one(tmp_path: Path) -> None:
    logits = on_ranks(2, recipes.Parallel("fsdp2", 2, 60), save_spread, str(tmp_path / "in"))
    about = {"model": vars(SMALL)}
    model = dcp.load(tmp_path / "in", about)
    assert len(list((tmp_path / "in").glob("*.distcp"))) == 2
    assert torch.allclose(model(random_ids(1, 20)), logits[0], atol=1e-6)


class Runs:
    """What a stranger's pickle may ask for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_something_is_refused(tmp_path: Path) -> None:
    model, made = random_model(), tmp_path / "made"
    dcp.write(model, tmp_path / "out", {}, None)
    (tmp_path / "out/.metadata").write_bytes(pickle.dumps(Runs(made)))
    with pytest.raises(DataError, match="which has no place in a checkpoint"):
        find(tmp_path / "out").model()
    assert not made.exists()


def test_places_outside_the_folder_are_refused(tmp_path: Path) -> None:
    dcp.write(random_model(), tmp_path / "out", {}, None)
    file = tmp_path / "out/.metadata"
    metadata = pickle.loads(file.read_bytes())
    for place in metadata.storage_data.values():
        place.relative_path = "../other.distcp"
    file.write_bytes(pickle.dumps(metadata))
    with pytest.raises(DataError, match="is not a file of this folder"):
        find(tmp_path / "out").model()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda out: (out / ".metadata").write_bytes(b"\x80\x04no"), "damaged"),
        (lambda out: (out / ".metadata").write_bytes(pickle.dumps([1])), "not the metadata"),
        (lambda out: (out / "__0_0.distcp").unlink(), "damaged"),
        (lambda out: (out / "__0_0.distcp").write_bytes(b"x" * 100), "damaged"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, damage: Any, said: str) -> None:
    dcp.write(random_model(), tmp_path / "out", {}, None)
    damage(tmp_path / "out")
    with pytest.raises(DataError, match=said) as caught:
        find(tmp_path / "out").model()
    assert "\n" not in str(caught.value)


def test_another_shape_names_the_tensor(tmp_path: Path) -> None:
    dcp.write(random_model(), tmp_path / "out", {}, None)
    for wrong, said in (
        ({"vocab_size": 62}, "embed_tokens.weight is"),
        ({"num_hidden_layers": 3}, "no tensor model.layers.2"),
    ):
        with pytest.raises(DataError, match=said):
            dcp.load(tmp_path / "out", {"model": {**vars(SMALL), **wrong}})


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        dcp.write(random_model(), tmp_path / "out", {}, None)
