"""Where a run starts: the weights of its parent, a run, a Hugging Face folder or one of torch's.

A folder may be what `codeflow export` wrote, a released checkpoint, or what transformers saved. Its
weights may be in another dtype; they are converted to the run's. It has no optimiser's state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from codeflow.errors import DataError, UsageError
from codeflow.loopcoder import hf, hf_reader
from codeflow.loopcoder.model import LoopCoder
from codeflow.storage.layout import TOKENIZER
from codeflow.tokens.tokenizer import Encoder
from codeflow.train.recipe import Parent
from codeflow.train.state import checkpoint, dcp
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World, place
from codeflow.train.state.trained import described

GATES: Final = ("gate_projections",)
"""What a loop has and a dense parent has not."""
_KEPT: Final = ("name", "about", "step", "tokens", "recipe_hash", "data_hash", "data", "parent")
"""What of a parent's description its children keep."""
_SHAPED: Final = ("initializer_range", "loop_num", "max_position_embeddings")
"""What tensors tell, or no forward pass asks."""


def is_there(root: Path) -> bool:
    """Whether a parent can be read at a path."""
    folder = (root / hf_reader.CONFIG).is_file() or (root / dcp.MARK).is_file()
    return folder or checkpoint.latest(root / "checkpoints") is not None


def take(
    wanted: Parent,
    root: Path,
    tokenizer: str,
    model: LoopCoder,
    optimizer: Optimizer,
    world: World,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Fills the model with a parent's weights, and gives its description.

    Args:
        root: a run, whose last checkpoint it is, or a Hugging Face folder.
        tokenizer: the hash of the one that the shards were made with.
        say: told in which numbers a folder's configuration differs from the recipe's.

    Raises:
        UsageError: nothing is there, another tokenizer, or moments are wanted of a folder.
        DataError: a file is damaged, or the tensors are another model's.
    """
    if world.gather((root / dcp.MARK).is_file())[0]:
        return _of_torch(wanted, root, tokenizer, model)
    if world.gather((root / hf_reader.CONFIG).is_file())[0]:
        return _of_folder(wanted, root, tokenizer, model, say)
    path = world.gather(checkpoint.latest(root / "checkpoints"))[0]
    if path is None:
        raise UsageError(
            f"{root}: parent.run has no complete checkpoint; train it first, or name a "
            "Hugging Face folder (config.json)"
        )
    meta = checkpoint.read_meta(path)
    _require_tokenizer(path, meta["tokenizer"], tokenizer)
    checkpoint.check_files(path, meta, world)
    with checkpoint.opened(path, meta) as reader:
        checkpoint.load_model(reader, model, optional=GATES if wanted.fold else ())
        if wanted.optimizer:
            checkpoint.load_optimizer(reader, optimizer)
    return {"checkpoint": path.name, **{key: meta[key] for key in _KEPT}}


def _of_folder(
    wanted: Parent, root: Path, tokenizer: str, model: LoopCoder, say: Callable[[str], None]
) -> dict[str, Any]:
    if wanted.optimizer:
        raise UsageError(f"{root}: a Hugging Face folder has no moments; drop parent.optimizer")
    about = described(root / hf.ABOUT)
    _require_tokenizer(root, _tokenizer(root, about), tokenizer)
    theirs, own = hf_reader.read_config(root), model.config
    for field in dataclasses.fields(own):
        said, meant = getattr(theirs, field.name), getattr(own, field.name)
        window = field.name == "loop_window_size" and theirs.loop_num == 1
        if said != meant and field.name not in _SHAPED and not window:
            say(f"{root}: {field.name} = {said}; the recipe's {meant} is used")
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    optional = GATES if wanted.fold else ()
    with hf_reader.Weights.opened(root) as weights:
        weights.require(expected, optional, "the recipe")
        checkpoint.load_model(weights, model, optional, prefix="")
    known: dict[str, Any] = {key: about[key] for key in _KEPT if key in about}
    return {"checkpoint": root.resolve().name, "parent": {}, **known}


def _of_torch(wanted: Parent, root: Path, tokenizer: str, model: LoopCoder) -> dict[str, Any]:
    """Of `torch.distributed.checkpoint`'s format, read whole by every rank."""
    if wanted.optimizer:
        raise UsageError(f"{root}: only weights are read of such a folder; drop parent.optimizer")
    about = described(root / hf.ABOUT)
    _require_tokenizer(root, _tokenizer(root, about), tokenizer)
    state = dcp.load(root, about).state_dict()
    for name, parameter in model.named_parameters():
        if name not in state and wanted.fold and any(part in name for part in GATES):
            continue
        if name not in state or state[name].shape != parameter.shape:
            there = tuple(state[name].shape) if name in state else "missing"
            raise DataError(f"{root}: {name} is {there}, the recipe's is {tuple(parameter.shape)}")
        place(parameter, state[name])
    known: dict[str, Any] = {key: about[key] for key in _KEPT if key in about}
    return {"checkpoint": root.resolve().name, "parent": {}, **known}


def _tokenizer(root: Path, about: Mapping[str, Any]) -> str:
    """The hash of a folder's tokenizer: what it was trained with, or the file that is there."""
    if "tokenizer" in about:
        return str(about["tokenizer"])
    path = root / TOKENIZER
    if not path.is_file():
        raise UsageError(
            f"{root}: no {TOKENIZER}, which would say whether the shards have its tokens; put it "
            "there, and tokenize with it"
        )
    return Encoder.open(path, fast=False).hash


def _require_tokenizer(path: Path, theirs: str, ours: str) -> None:
    if theirs != ours:
        raise UsageError(
            f"{path}: trained with tokenizer {theirs}, the shards have {ours}: "
            "tokenize again with the parent's"
        )
