"""The weights that a run starts from: another run's, or any model's that can be read here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from codeflow.errors import DataError, UsageError
from codeflow.loopcoder.model import LoopCoder
from codeflow.train import recipe as recipes
from codeflow.train.state import checkpoint, trained
from codeflow.train.state.optim import Optimizer
from codeflow.train.state.parallel import World, place

GATES: Final = ("gate_projections",)
"""What a loop has and a dense parent has not."""
_KEPT: Final = ("name", "about", "step", "tokens", "recipe_hash", "data_hash", "data", "parent")


def take(
    wanted: recipes.Parent,
    root: Path,
    model: LoopCoder,
    optimizer: Optimizer,
    tokenizer: str,
    world: World,
) -> dict[str, Any]:
    """Fills the model from what lies at `root`; the parent's description.

    Raises:
        UsageError: there is none, or it knows another tokenizer.
        DataError: a damaged checkpoint, or one of another shape.
    """
    path = world.gather(checkpoint.latest(root / "checkpoints"))[0]
    if path is None and ((root / "checkpoints").is_dir() or not root.is_dir()):
        raise UsageError(f"{root}: parent.run has no complete checkpoint; train it first")
    optional = GATES if wanted.fold else ()
    if path is None:
        return _take_model(wanted, root, model, tokenizer, optional)
    meta = checkpoint.read_meta(path)
    _same_tokenizer(path, meta["tokenizer"], tokenizer)
    checkpoint.check_files(path, meta, world)
    with checkpoint.opened(path, meta) as reader:
        checkpoint.load_model(reader, model, optional=optional)
        if wanted.optimizer:
            checkpoint.load_optimizer(reader, optimizer)
    return {"checkpoint": path.name, **{key: meta[key] for key in _KEPT}}


def _take_model(
    wanted: recipes.Parent,
    root: Path,
    model: LoopCoder,
    tokenizer: str,
    optional: tuple[str, ...],
) -> dict[str, Any]:
    """From a folder of Hugging Face's or torch's format, read whole by every rank."""
    if wanted.optimizer:
        raise UsageError(f"{root}: parent.optimizer needs a run; this folder has weights alone")
    found = trained.find(root)
    _same_tokenizer(root, str(found.about.get("tokenizer", tokenizer)), tokenizer)
    state = found.model().state_dict()
    for name, parameter in model.named_parameters():
        if name not in state and any(part in name for part in optional):
            continue
        if name not in state or state[name].shape != parameter.shape:
            there = tuple(state[name].shape) if name in state else "missing"
            raise DataError(
                f"{root}: {name} is {there}, the recipe's model has {tuple(parameter.shape)}: it "
                "is another model"
            )
        place(parameter, state[name])
    kept = {key: found.about[key] for key in _KEPT if key in found.about}
    return {"checkpoint": root.name, **kept}


def _same_tokenizer(path: Path, has: str, wanted: str) -> None:
    if has != wanted:
        raise UsageError(
            f"{path}: trained with tokenizer {has}, the shards have {wanted}: tokenize again with "
            "the parent's"
        )
