"""The span: a start in the window and the endpoint that makes it one piece of development."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codeflow.contracts import History, Pair
from codeflow_miners.kinds.span.chores import chores
from codeflow_miners.kinds.span.net import Net, net_sizes
from codeflow_miners.kinds.span.score import combine, components
from codeflow_miners.kinds.span.select import select
from codeflow_miners.kinds.span.steps import read_steps


@dataclass(frozen=True)
class SpanMiner:
    """Chooses spans of 2 to `max_commits` steps that hang together, end where the subject changes,
    and keep what they wrote. Definition and evidence: docs/spans.md.

    `least` is how strongly each step must be tied to the others, by common subject; `tau` is the
    score a span must exceed; neither is lowered to fill a quota. Sizes are net of what
    is undone inside the span, estimated from hashes of lines. Weights are relative.
    """

    tau: float = 0.8
    density: int = 1
    least: float = 0.15
    max_commits: int = 32
    max_files: int = 50
    max_lines: int = 2_000
    max_patch_bytes: int = 256 << 10
    contrast: float = 0.5
    joint: float = 0.15
    retention: float = 0.2

    @property
    def why(self) -> str:
        return "a run of commits that is one piece of work, found by searching forward"

    @property
    def lookahead(self) -> int:
        return self.max_commits

    @property
    def wants_features(self) -> bool:
        return True

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each component of the score."""
        return {
            "contrast": self.contrast,
            "joint": self.joint,
            "retention": self.retention,
        }

    def pairs(self, history: History) -> Iterator[Pair]:
        """Yields the chosen spans, ascending; scores hold every component and their `score`."""
        if len(history.commits) < 3 or not len(history.starts):
            return
        steps = read_steps(history)
        net = net_sizes(steps, self.max_commits)
        upkeep = chores(history.commits, steps)
        parts = components(steps, net, upkeep, self.max_commits)
        score = combine(parts, self.weights)
        allowed = self._allowed(net, history) & (parts["tie"] >= self.least)
        for old, new in select(score, allowed, self.tau, self.density):
            cell = (old, new - old)
            scores = {name: float(table[cell]) for name, table in parts.items()}
            yield Pair(old, new, {"score": float(score[cell]), **scores})

    def _allowed(self, net: Net, history: History) -> npt.NDArray[np.bool_]:
        """(N, M + 1): which spans lie within the limits and start where they may."""
        count, longest = net.lines.shape
        allowed = np.zeros((count, longest + 1), dtype=bool)
        allowed[:, 1:] = (
            (net.lines <= self.max_lines)
            & (net.files <= self.max_files)
            & (net.patch_bytes <= self.max_patch_bytes)
        )
        allowed[:, :2] = False
        allowed[np.arange(count)[:, None] + np.arange(longest + 1)[None, :] > count] = False
        owned = np.zeros(count, dtype=bool)
        owned[[start for start in history.starts if start < count]] = True
        return allowed & owned[:, None]
