"""codeflow: exact triples (old repository, patch, new repository) from Git histories.

Names load what they need when they are first used: `import codeflow` alone takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from codeflow.version import __version__

if TYPE_CHECKING:
    from codeflow.api.dataset import Dataset, open
    from codeflow.api.mine import mine
    from codeflow.api.stages import dedup, filter, mix, republish
    from codeflow.api.tokens import tokenize
    from codeflow.config import MineConfig
    from codeflow.contracts import Verdict, drop, keep
    from codeflow.errors import CodeflowError
    from codeflow.publish.summary import Summary
    from codeflow.triple import Step, Triple

__all__ = [
    "CodeflowError",
    "Dataset",
    "MineConfig",
    "Step",
    "Summary",
    "Triple",
    "Verdict",
    "__version__",
    "dedup",
    "drop",
    "filter",
    "keep",
    "mine",
    "mix",
    "open",
    "republish",
    "tokenize",
]

_HOMES = {
    "CodeflowError": "codeflow.errors",
    "Dataset": "codeflow.api.dataset",
    "MineConfig": "codeflow.config",
    "Step": "codeflow.triple",
    "Summary": "codeflow.publish.summary",
    "Triple": "codeflow.triple",
    "Verdict": "codeflow.contracts",
    "dedup": "codeflow.api.stages",
    "drop": "codeflow.contracts",
    "filter": "codeflow.api.stages",
    "keep": "codeflow.contracts",
    "mine": "codeflow.api.mine",
    "mix": "codeflow.api.stages",
    "open": "codeflow.api.dataset",
    "republish": "codeflow.api.stages",
    "tokenize": "codeflow.api.tokens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'codeflow' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
