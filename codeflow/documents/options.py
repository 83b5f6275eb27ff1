"""What all renderings are told."""

from __future__ import annotations

from dataclasses import dataclass

from codeflow.errors import UsageError

LOSSES = "patch, all, or a number from 0 to 1"


@dataclass(frozen=True)
class Options:
    """
    Attributes:
        length: tokens of a row. A character budget can be made from it: source has 2 to 5
            characters a token.
        rest: weight of the loss outside of what the model is to write: 0 for loss on the patch
            only, 1 for loss on everything.
    """

    length: int
    rest: float


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
