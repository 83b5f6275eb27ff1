"""What all renderings are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codeflow.errors import UsageError
from codeflow.triple import Triple

LOSSES = "patch, all, or a number from 0 to 1"


def _may(triple: Triple, path: str) -> bool:
    return True


@dataclass(frozen=True)
class Options:
    """
    Attributes:
        length: tokens of a row. A character budget can be made from it: source has 2 to 5
            characters a token.
        rest: weight of the loss outside of what the model is to write: 0 for loss on the patch
            only, 1 for loss on everything.
        may_repeat: whether a triple may write the whole text of a path of its new side, of which
            others of its triples write other versions.
    """

    length: int
    rest: float
    may_repeat: Callable[[Triple, str], bool] = _may


def is_loss(loss: str) -> bool:
    """Whether `rest_weight` takes it."""
    try:
        rest_weight(loss)
    except UsageError:
        return False
    return True


def rest_weight(loss: str) -> float:
    """`Options.rest` for a `--loss`. Raises UsageError."""
    if loss in ("patch", "all"):
        return float(loss == "all")
    try:
        weight = float(loss)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1:
        raise UsageError(f"loss {loss!r}: give {LOSSES}")
    return weight
