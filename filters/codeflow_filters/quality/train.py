"""Fits a quality model to labels, and says how well it ranks triples that it has not seen.

Logistic regression with an L2 penalty on standardised features, by Newton's method: convex, so the
same labels give the same weights, and a person can read them. Labels may be 0 or 1, or a score
between; the loss is cross-entropy. Several labels of one triple are averaged.

The reported AUC is of held-out triples only: in each of five folds a model fitted to the others
scores them. Folds keep repositories together when there are enough of them, because triples of one
repository are alike. For the AUC, a label from 0.5 up is good.

Cost: a few Newton steps on (labels, features) for each fold; seconds for 100,000 labels.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from codeflow.config import read_text
from codeflow.errors import UsageError
from codeflow_filters.quality.features import features, names
from codeflow_filters.quality.model import Feature, Model

if TYPE_CHECKING:
    from codeflow.triple import Triple

FOLDS: Final = 5
PENALTY: Final = 1.0
THRESHOLDS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_STEPS: Final = 50

Floats = npt.NDArray[np.float64]


class Trained(NamedTuple):
    """A model and how good it is.

    Attributes:
        auc: of all held-out scores together; 0.5 is chance.
        auc_by_fold: None for a fold that has only good or only poor ones.
        cuts: (threshold, good, poor) that would go: those whose held-out score is below it.
        missing: labels whose triple is not in the dataset.
        folds_by: `repository` or `triple`, what folds keep together.
    """

    model: Model
    auc: float
    auc_by_fold: tuple[float | None, ...]
    good: int
    poor: int
    cuts: tuple[tuple[float, int, int], ...]
    missing: int
    folds_by: str


def train(labels: Path, triples: Iterable[Triple]) -> Trained:
    """Fits a model to the labels of those triples that have one.

    Args:
        labels: JSON lines, each `{"id": id of a triple, "label": 0 to 1}`.
        triples: of a dataset; `id`, `repo` and the columns of `features` are read.

    Raises:
        UsageError: names the line that is wrong, or says what the labels lack.
    """
    wanted = read_labels(labels)
    found = {t.id: (t.repo, list(features(t).values())) for t in triples if t.id in wanted}
    ids = sorted(found)
    y = np.array([wanted[id] for id in ids])
    good = int((y >= 0.5).sum())
    poor = len(ids) - good
    if min(good, poor) < FOLDS:
        raise UsageError(
            f"{labels}: {good} good and {poor} poor triples of this dataset; "
            f"label at least {FOLDS} of each (a label from 0.5 up is good)"
        )
    x = np.array([found[id][1] for id in ids])
    repos = [found[id][0] for id in ids]
    by_repository = len(set(repos)) >= FOLDS
    folds = _folds(repos if by_repository else ids)
    held_out = np.zeros(len(ids))
    by_fold: list[float | None] = []
    for fold in range(FOLDS):
        inside = folds == fold
        if not inside.any() or inside.all():
            by_fold.append(None)
            continue
        held_out[inside] = _Fit(x[~inside], y[~inside]).log_odds(x[inside])
        by_fold.append(auc(y[inside] >= 0.5, held_out[inside]))
    total = auc(y >= 0.5, held_out)
    assert total is not None
    trained = Trained(
        Model(0.0, {}, {}),
        total,
        tuple(by_fold),
        good,
        poor,
        cuts(y >= 0.5, _sigmoid(held_out)),
        len(wanted) - len(ids),
        "repository" if by_repository else "triple",
    )
    about = {
        "labels": len(ids),
        "good": good,
        "held_out_auc": round(total, 4),
        "folds": FOLDS,
        "folds_by": trained.folds_by,
        "penalty": PENALTY,
    }
    return trained._replace(model=_Fit(x, y).model(about))


def read_labels(path: Path) -> dict[str, float]:
    """The label of each triple by id, the mean of several. Raises UsageError with the line."""
    found: dict[str, list[float]] = defaultdict(list)
    for number, line in enumerate(read_text(path, "labels").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            id, label = row["id"], row["label"]
        except (ValueError, KeyError, TypeError, RecursionError):
            wanted = '{"id": "...", "label": 0.5}'
            raise UsageError(f"{path}:{number}: not a label; write it as {wanted}") from None
        if not isinstance(id, str) or not id:
            raise UsageError(f"{path}:{number}: id {id!r}: give the id of a triple, a string")
        if not isinstance(label, int | float) or not 0 <= label <= 1:
            raise UsageError(f"{path}:{number}: label {label!r}: give 0 (poor) to 1 (good)")
        found[id].append(float(label))
    if not found:
        raise UsageError(f"{path}: holds no label; give a JSON line for each labelled triple")
    return {id: sum(values) / len(values) for id, values in found.items()}


def auc(good: npt.NDArray[np.bool_], scores: Floats) -> float | None:
    """The share of (good, poor) pairs that the scores put right, ties half; None without a pair.

    Args:
        good, scores: (N,).
    """
    positives, negatives = int(good.sum()), int((~good).sum())
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    wins = float(ranks[good].sum()) - positives * (positives + 1) / 2
    return wins / (positives * negatives)


def cuts(good: npt.NDArray[np.bool_], scores: Floats) -> tuple[tuple[float, int, int], ...]:
    """For each threshold, how many good and how many poor ones score less.

    Args:
        good, scores: (N,).
    """
    below = [(threshold, scores < threshold) for threshold in THRESHOLDS]
    return tuple((at, int((good & less).sum()), int((~good & less).sum())) for at, less in below)


def _folds(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """The fold of each, so that equal groups share one; by their hashes, in turn."""
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    fold = {group: number % FOLDS for number, group in enumerate(ordered)}
    return np.array([fold[group] for group in groups])


class _Fit:
    """Weights fitted to x (N, F) and y (N,) in [0, 1]."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self.mean = x.mean(axis=0)
        deviation = x.std(axis=0)
        # a feature that does not vary here says nothing, and gets the weight 0
        self.scale = np.where(deviation > 1e-9, deviation, 1.0)
        z = self._design(x)
        penalty = np.full(z.shape[1], PENALTY)
        penalty[0] = 1e-6  # the bias is free
        w = np.zeros(z.shape[1])
        loss = self._loss(z, y, w, penalty)
        for _ in range(_STEPS):
            p = _sigmoid(z @ w)
            gradient = z.T @ (p - y) + penalty * w
            curvature = (z * (p * (1 - p))[:, None]).T @ z + np.diag(penalty)
            step = np.linalg.solve(curvature, gradient)
            size = 1.0
            while size > 1e-6 and self._loss(z, y, w - size * step, penalty) > loss:
                size /= 2
            w = w - size * step
            before, loss = loss, self._loss(z, y, w, penalty)
            if before - loss < 1e-10 * max(1.0, abs(loss)):
                break
        self.weights = w

    def _design(self, x: Floats) -> Floats:
        z: Floats = np.column_stack([np.ones(len(x)), (x - self.mean) / self.scale])
        return z

    @staticmethod
    def _loss(z: Floats, y: Floats, w: Floats, penalty: Floats) -> float:
        odds = z @ w
        return float((np.logaddexp(0, odds) - y * odds).sum() + (penalty * w * w).sum() / 2)

    def log_odds(self, x: Floats) -> Floats:
        """What the model says of x (N, F), before the sigmoid."""
        odds: Floats = self._design(x) @ self.weights
        return odds

    def model(self, about: dict[str, object]) -> Model:
        """The fit as it is stored."""
        columns = zip(names(), self.mean, self.scale, self.weights[1:], strict=True)
        stored = {name: Feature(float(m), float(s), float(w)) for name, m, s, w in columns}
        return Model(float(self.weights[0]), stored, about)


def _sigmoid(odds: Floats) -> Floats:
    p: Floats = np.exp(-np.logaddexp(0, -odds))
    return p
