"""Validation loss: over all, per language, kind and origin of documents, each a token mean.

The loss of every position is added up by the label of its document, as weighted sums in float64,
over all ranks, and divided once. (A rank that holds a part of the rows adds that part's.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from codeflow.shards.reader import TokenShards
from codeflow.train import recipe as recipes
from codeflow.train.data import MicroBatch, validation_micros
from codeflow.train.state.parallel import World

LABELS: Final = ("languages", "kinds", "origins")
Sums = dict[tuple[str, str], list[float]]  # (what, label) -> [weighted loss, weight]


@torch.no_grad()
def validate(
    model: nn.Module,
    sources: Sequence[TokenShards],
    recipe: recipes.Recipe,
    world: World,
    between: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`{"loss", "sources": {..}, "languages": {..}, "kinds": {..}, "origins": {..}}` in nats a
    token.

    Labels are those of documents with at least one weighted token; padding has none.

    Args:
        between: called before every micro-batch, on all ranks; what it raises ends it.
    """
    sums: Sums = defaultdict(lambda: [0.0, 0.0])
    for source in sources:
        for micro in validation_micros(source, recipe, world):
            between()
            losses = model(*micro.to(world.device)).tokens.cpu()
            weights = micro.weights
            if world.part is not None:
                losses, weights = world.part.spread(losses), world.part.spread(weights)
            _add(sums, source.name, micro, losses.numpy(), weights.numpy())
    total: Sums = defaultdict(lambda: [0.0, 0.0])
    for part in world.gather(dict(sums)):
        for key, (loss, weight) in part.items():
            total[key][0] += loss
            total[key][1] += weight
    out: dict[str, Any] = {"loss": None, "sources": {}, **{what: {} for what in LABELS}}
    for (what, label), (loss, weight) in sorted(total.items()):
        if weight > 0 and what == "loss":
            out["loss"] = loss / weight
        elif weight > 0:
            out[what][label] = loss / weight
    return out


def _add(sums: Sums, source: str, micro: MicroBatch, losses: Any, weights: Any) -> None:
    weights = weights.astype(np.float64)
    weighted = np.where(weights > 0, losses, 0.0) * weights
    for i, row in enumerate(micro.rows):
        starts = np.cumsum([0, *row.doc_lengths[:-1]])
        by_document = np.add.reduceat(weighted[i], starts), np.add.reduceat(weights[i], starts)
        for number, (loss, weight) in enumerate(zip(*by_document, strict=True)):
            keys = [("loss", ""), ("sources", source)]
            for what in LABELS:
                if label := getattr(row, what)[number]:
                    keys.append((what, label))
            for key in keys:
                sums[key][0] += float(loss)
                sums[key][1] += float(weight)
