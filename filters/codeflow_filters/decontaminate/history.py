"""Triples that carry a benchmark's future: the new side contains or follows a base commit.

A task starts at its base commit, and its fix came soon after. A snapshot at or after that commit
may hold the fix in any of its files, whatever the patch of the triple is. What *after* means is
read off the first-parent chain; a commit of a branch is contained from its merge on. Which
repositories are meant is decided by commits: one whose chain holds a base commit is the
benchmark's repository or a fork of it, whatever its name is. Names count, too, for base commits
that the head does not reach: there the date of the task decides, and without a date all triples of
the repository go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from codeflow.contracts import Verdict, drop
from codeflow_filters.decontaminate.instances import Instance
from codeflow_filters.decontaminate.swe_bench import repo_name

if TYPE_CHECKING:
    from codeflow.triple import Triple


@dataclass(frozen=True)
class Timeline:
    """What of one repository may not be published.

    Attributes:
        first: the instance whose base commit comes first on the chain, or None.
        since: how many commits after that base commit each commit from there on is.
        placed: the base commits that the head reaches.
        dated: (date, instance), the earliest of those that it does not reach, or None.
        undated: one of those that it does not reach and that have no date, or None.
    """

    first: Instance | None
    since: Mapping[str, int]
    placed: frozenset[str]
    dated: tuple[datetime, Instance] | None
    undated: Instance | None

    def verdict(self, triple: Triple) -> Verdict | None:
        """The drop of a triple of this repository, or None."""
        behind = self.since.get(triple.new_commit)
        if behind is not None:
            what = f"its base commit is {behind} commits before the new side"
            return drop("base-commit", f"{self.first}: {what}")
        if self.dated is not None and triple.committed_at >= self.dated[0]:
            what = f"of {self.dated[0]:%Y-%m-%d}; the head does not reach its base commit"
            return drop("after-instance", f"{self.dated[1]}: {what}")
        if self.undated is not None:
            what = "the head does not reach its base commit, and it has no date"
            return drop("undated-instance", f"{self.undated}: {what}")
        return None


class Histories:
    """The base commits of all instances, and the repositories that were compared with them."""

    def __init__(self, instances: Iterable[Instance]) -> None:
        self._by_base: dict[str, list[Instance]] = defaultdict(list)
        self._by_repo: dict[str, list[Instance]] = defaultdict(list)
        for instance in instances:
            if instance.base_commit is not None:
                self._by_base[instance.base_commit].append(instance)
                if instance.repo is not None:
                    self._by_repo[instance.repo].append(instance)
        self._timelines: dict[str, Timeline] = {}
        self._by_names: dict[str, Timeline] = {}

    def chain(self, repo: str, ids: Sequence[str], merged: Mapping[str, int]) -> None:
        """Tells the first-parent chain of a repository, oldest first.

        Costs a look at every id. Only what comes after a base commit is kept.

        Args:
            merged: for commits beside the chain, the index on it of the merge that brought them in.
        """
        places = [(k, id) for k, id in enumerate(ids) if id in self._by_base]
        places = sorted(places + [(merged[id], id) for id in self._by_base if id in merged])
        here = [instance for _, id in places for instance in self._by_base[id]]
        since = {}
        if places:
            since = {id: k for k, id in enumerate(ids[places[0][0] :])}
        family = {instance.repo for instance in here if instance.repo is not None}
        self._by_names.pop(repo, None)
        self._timelines[repo] = self._timeline(family, {id for _, id in places}, here, since)

    def verdict(self, triple: Triple) -> Verdict | None:
        """The drop of a triple by its place in history, or None."""
        for commit in (triple.old_commit, *triple.commits):
            if commit in self._by_base:
                found = self._by_base[commit][0]
                return drop("base-commit", f"{found}: {commit} is in the triple's own history")
        timeline = self._timelines.get(triple.repo)
        found_here = None if timeline is None else timeline.verdict(triple)
        return found_here or self._by_name(triple, timeline)

    def _by_name(self, triple: Triple, known: Timeline | None) -> Verdict | None:
        """By the name of the repository alone: for base commits that are on no chain."""
        if triple.repo not in self._by_names:
            on_chain = () if known is None else known.placed
            name = repo_name(triple.repo_url)
            family = {repo for repo in self._by_repo if name.may_be(repo)}
            self._by_names[triple.repo] = self._timeline(family, on_chain, [], {})
        return self._by_names[triple.repo].verdict(triple)

    def _timeline(
        self,
        family: Iterable[str],
        on_chain: Iterable[str],
        here: Sequence[Instance],
        since: Mapping[str, int],
    ) -> Timeline:
        placed = set(on_chain)
        lost = [
            instance
            for repo in sorted(family)
            for instance in self._by_repo[repo]
            if instance.base_commit not in placed
        ]
        dates = [(i.created_at, i) for i in lost if i.created_at is not None]
        return Timeline(
            here[0] if here else None,
            since,
            frozenset(placed),
            min(dates, key=lambda pair: pair[0], default=None),
            next((i for i in lost if i.created_at is None), None),
        )
