"""Quality filters for mined triples.

`FILTERS` is what the entry-point group `codeflow.filters` names: each filter's class by its name,
and the profiles, which are lists of filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codeflow.contracts import Filter, Profile
from codeflow_filters.bots import Bots
from codeflow_filters.content import Content
from codeflow_filters.decontaminate.filter import Decontaminate
from codeflow_filters.decontaminate.swe_bench import SweBenchRepos
from codeflow_filters.license import License
from codeflow_filters.message import Message
from codeflow_filters.optout import OptOut
from codeflow_filters.paths import Paths
from codeflow_filters.profiles import DEFAULT, NONE, STRICT
from codeflow_filters.quality.scorer import Quality
from codeflow_filters.reverts import Reverts
from codeflow_filters.secrets import Secrets
from codeflow_filters.size import FileSize, Size
from codeflow_filters.sweeps import Sweeps
from codeflow_filters.syntax import Syntax
from codeflow_filters.trivial import Trivial
from codeflow_filters.worth import Worth

FILTERS: Mapping[str, Callable[..., Filter] | Profile] = {
    "bots": Bots,
    "content": Content,
    "decontaminate": Decontaminate,
    "file-size": FileSize,
    "license": License,
    "message": Message,
    "optout": OptOut,
    "paths": Paths,
    "quality": Quality,
    "reverts": Reverts,
    "secrets": Secrets,
    "size": Size,
    "sweeps": Sweeps,
    "swe-bench-repos": SweBenchRepos,
    "syntax": Syntax,
    "trivial": Trivial,
    "worth": Worth,
    "default": DEFAULT,
    "none": NONE,
    "strict": STRICT,
}
