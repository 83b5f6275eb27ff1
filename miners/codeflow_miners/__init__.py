"""From Git to triples: the built-in miners, and the machinery that all miners share.

`MINERS` is what the entry-point group `codeflow.miners` names: for each kind of triple, what makes
its miner from the parameters of `[mine.miners.KIND]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codeflow.contracts import Miner
from codeflow_miners.kinds.branch import BranchMiner
from codeflow_miners.kinds.commit import CommitMiner
from codeflow_miners.kinds.span.miner import SpanMiner

MINERS: Mapping[str, Callable[..., Miner]] = {
    "branch": BranchMiner,
    "span": SpanMiner,
    "commit": CommitMiner,
}
