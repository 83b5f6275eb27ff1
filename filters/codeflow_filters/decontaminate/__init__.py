"""Decontamination: what would teach a model the answers of a benchmark goes.

`instances` reads benchmark files; `history`, `gold` and `ngrams` are the three ways of matching
them; `decontaminator` puts them behind one filter. `swe_bench` drops whole repositories instead.
"""

from codeflow_filters.decontaminate.decontaminator import Decontaminator
from codeflow_filters.decontaminate.swe_bench import SWE_BENCH_REPOS, SweBenchRepos

__all__ = ["SWE_BENCH_REPOS", "Decontaminator", "SweBenchRepos"]
