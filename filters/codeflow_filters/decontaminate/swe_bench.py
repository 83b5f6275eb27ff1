"""The repositories of SWE-bench (arXiv 2310.06770), by every name they had.

`owners` also serves the rest of the package: how a repository's name is read off a triple.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from codeflow.contracts import Cost, Verdict, drop, keep

if TYPE_CHECKING:
    from codeflow.triple import Triple

SWE_BENCH_REPOS: Final = (
    "astropy/astropy",
    "django/django",
    "matplotlib/matplotlib",
    "mwaskom/seaborn",
    "pallets/flask",
    "psf/requests",
    "pydata/xarray",
    "pylint-dev/pylint",
    "pytest-dev/pytest",
    "scikit-learn/scikit-learn",
    "sphinx-doc/sphinx",
    "sympy/sympy",
)

FORMER_NAMES: Final = {
    "kennethreitz/requests": "psf/requests",
    "requests/requests": "psf/requests",
    "mitsuhiko/flask": "pallets/flask",
    "pycqa/pylint": "pylint-dev/pylint",
}


class RepoName(NamedTuple):
    """What a triple says of its repository: `owner` is None for one that was mined from a path."""

    owner: str | None
    name: str

    def may_be(self, repo: str) -> bool:
        """Whether this is `owner/name` by name. A path has no owner, so its name decides."""
        if self.owner is None:
            return repo.rpartition("/")[2] == self.name
        mine = f"{self.owner}/{self.name}"
        return FORMER_NAMES.get(mine, mine) == FORMER_NAMES.get(repo, repo)


def repo_name(url: str) -> RepoName:
    """Owner and name of a `repo_url`: a URL of any form, or the last part of a path."""
    parts = [part for part in re.split(r"[/:]+", url.strip().lower()) if part]
    name = (parts or [""])[-1].removesuffix(".git")
    return RepoName(parts[-2] if len(parts) > 2 else None, name)


@dataclass(frozen=True)
class SweBenchRepos:
    """Drops every triple of the repositories that SWE-bench takes its tasks from.

    A fork with another owner is not recognised here; `Decontaminator` does, by commits.
    """

    why: ClassVar[str] = "comes from one of the twelve repositories of SWE-bench"
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"repo_url"})

    def __call__(self, triple: Triple) -> Verdict:
        name = repo_name(triple.repo_url)
        repo = next((repo for repo in SWE_BENCH_REPOS if name.may_be(repo)), None)
        return keep() if repo is None else drop("swe-bench-repo", repo)
