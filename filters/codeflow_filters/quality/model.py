"""Weights on disk: a logistic regression as JSON that a person can read. No pickle, no code.

The score is 1 / (1 + exp(-(bias + sum of weight * (feature - mean) / scale))).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from codeflow.config import read_text
from codeflow.errors import UsageError

FORMAT: Final = "codeflow-quality-1"


@dataclass(frozen=True)
class Feature:
    """What is known of one feature: its weight, and how it is brought to mean 0 and deviation 1."""

    mean: float
    scale: float
    weight: float


@dataclass(frozen=True)
class Model:
    """Everything that scoring needs, and, in `trained`, where it comes from."""

    bias: float
    features: Mapping[str, Feature]
    trained: Mapping[str, Any]

    def score(self, found: Mapping[str, float]) -> float:
        """How good a triple with these features is, from 0 to 1."""
        total = self.bias
        for name, feature in self.features.items():
            total += feature.weight * (found[name] - feature.mean) / feature.scale
        return 1 / (1 + math.exp(-total)) if total > -700 else 0.0

    def write(self, path: Path) -> None:
        """Writes the model; the same model gives the same bytes."""
        values = {"format": FORMAT, **asdict(self)}
        try:
            path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            if path.is_file():
                path.unlink()  # a part of it
            raise UsageError(
                f"{path}: cannot write the model: {error.strerror}; "
                "free space or give another --out"
            ) from None


def read_model(path: str | Path, known: frozenset[str]) -> Model:
    """Reads a model whose features are all `known`; the last few stay in memory.

    Raises:
        UsageError: there is none, or it is not one that this codeflow can apply.
    """
    try:
        stat = Path(path).stat()
        return _read(Path(path), known, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the model: {error.strerror}") from None


@lru_cache(maxsize=4)
def _read(path: Path, known: frozenset[str], changed_ns: int, size_bytes: int) -> Model:
    text = read_text(path, "model")
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r} instead of {FORMAT!r}")
        features = {name: Feature(**value) for name, value in values["features"].items()}
        model = Model(float(values["bias"]), features, dict(values["trained"]))
        numbers = [model.bias, *(n for f in features.values() for n in asdict(f).values())]
        if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
            raise ValueError("a weight is no finite number")
        if not all(feature.scale > 0 for feature in features.values()):
            raise ValueError("a scale is not above 0")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: not a quality model: {reason}; train it again") from None
    unknown = [name for name in features if name not in known]
    if unknown:
        raise UsageError(f"{path}: feature {unknown[0]!r} is unknown here; train the model again")
    return model
