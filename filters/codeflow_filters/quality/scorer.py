"""The filter that scores triples with a trained model, and drops those below a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from codeflow.contracts import Cost, Verdict, drop, keep
from codeflow.errors import UsageError
from codeflow_filters.quality.features import COLUMNS, features, names
from codeflow_filters.quality.model import Model, read_model

if TYPE_CHECKING:
    from codeflow.triple import Triple


@dataclass(frozen=True)
class Quality:
    """Scores every triple with a model of your own, as `quality`, and drops the poor ones.

    The idea is that of the small proxy classifiers of IQuest-Coder-V1 (arXiv 2603.16733), trained
    from a stronger annotator's labels. `codeflow quality train` makes the model.

    Attributes:
        model: its file. There is none to begin with.
        threshold: triples that score less go; with 0 all stay and have a score.
    """

    why: ClassVar[str] = "scores too low with a quality model trained on your labels"
    cost: ClassVar[Cost] = "patch"
    reads: ClassVar[frozenset[str]] = COLUMNS

    model: str = ""
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError(
                "the quality filter needs a model: label triples, train with `codeflow quality "
                "train DIR --labels FILE --out model.json`, and set model = 'model.json'"
            )
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold = {self.threshold}: give 0 to 1")
        self._read()

    def _read(self) -> Model:
        return read_model(self.model, frozenset(names()))

    def __call__(self, triple: Triple) -> Verdict:
        score = self._read().score(features(triple))
        if score < self.threshold:
            return drop("low-quality", f"{score:.3f}", {"quality": score})
        return keep({"quality": score})
