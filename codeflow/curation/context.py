"""What a stage is given: the folder, its parts, its identity, and which stages decided before it.

A stage is a function `flow(context, config) -> Flow`: a generator of units that ends with the
figures of the stage as JSON values, and leaves `decisions/STAGE/part-NNNNN.parquet` behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeflow.contracts import Sink, Unit
from codeflow.curation.batches import Part


@dataclass(frozen=True)
class StageContext:
    """One run of one stage.

    Attributes:
        folder: the dataset folder, absolute.
        stage: its name, as in `decisions/STAGE`.
        stamp: identity of its configuration and of everything before it.
        parts: all of what was mined.
        earlier: the stages that made decisions before this one, in order.
    """

    folder: Path
    stage: str
    stamp: str
    parts: tuple[Part, ...]
    earlier: tuple[str, ...]

    def unit(self, name: str, function: Callable[[Any, Sink], dict[str, Any]], args: Any) -> Unit:
        """A unit of this stage. Its intermediate tables go when the stage is done."""
        return Unit(f"{self.stage}-{self.stamp}/{name}", function, args)
