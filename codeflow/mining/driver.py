"""Mining a list: histories, forks, contents; ends with `mined/` and its index.

Histories of all repositories are read first, because forks are settled by ids before any content is
read; then every repository is mined on its own. Each step leaves markers, so that the same command
goes on where a run stopped. The driver holds ids and counts.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from codeflow.config import MineConfig
from codeflow.contracts import Flow, Miner, Unit
from codeflow.errors import CodeflowError
from codeflow.execution.failures import Failure
from codeflow.execution.job import Job
from codeflow.execution.units import forget_failure
from codeflow.mining import growth
from codeflow.mining import index as mined
from codeflow.mining.growth import may_pass
from codeflow.mining.index import MinedIndex, MinedRepository
from codeflow.mining.outcomes import (
    outcome_of,
    place_in_list,
    published,
    record_of,
    write_run_ledger,
)
from codeflow.mining.pace import Pace
from codeflow.storage import files
from codeflow.storage.layout import INTERMEDIATE, MINED, OPENED, outcome_path

if TYPE_CHECKING:
    from codeflow_miners.acquire.open import Opened
    from codeflow_miners.acquire.repositories import Source
    from codeflow_miners.flow import Mined

STEP_S: Final = 5e-3
"""What one process takes for a first-parent step, from reading it to publishing: 3 to 6 ms on eight
histories of 500 to 1,600 steps."""

OPEN_S: Final = 0.2
"""What one process takes to open a repository of ordinary size and read its history."""


class Mining:
    """One run's mining; `mine` is all of it.

    Args:
        miners: those of the kinds, by their names.
        cache: where clones are kept.
    """

    def __init__(
        self,
        job: Job,
        sources: Sequence[Source],
        config: MineConfig,
        miners: Mapping[str, Miner],
        cache: Path,
    ) -> None:
        from codeflow_miners.flow import MiningContext

        self._job = job
        self._sources = {source.key: source for source in sources}
        self._context = MiningContext(config, str(cache.expanduser().absolute()), miners)
        self._projection: str = config.projection.identity

    def mine(self, settings: Mapping[str, Any], update: bool = False) -> MinedIndex:
        """Mines what is not mined yet.

        Args:
            settings: the configuration as plain values, for the index.
            update: whether to move heads to where they are now, if mining has not ended.
        """
        found = mined.read(self._job.folder)
        if found is None:
            known = self.open_all(update)
            opened = {key: value for key, value in known.items() if not isinstance(value, Failure)}
            failed = {key: value for key, value in known.items() if isinstance(value, Failure)}
            self._expect(opened)
            outcomes = {**failed, **self.mine_all(opened)}
            found = self._index(opened, outcomes, settings)
            mined.require(self._job.folder, found)
            mined.write(self._job.folder, found)
            shutil.rmtree(self._job.folder / INTERMEDIATE, ignore_errors=True)
        else:
            for repository in found.repositories:
                if repository.failure is not None:
                    self._note(repository.key, Failure(**repository.failure))
        return found

    def _expect(self, opened: Mapping[str, Opened]) -> None:
        """Says how much there is left to mine; now it is known."""
        left = [
            value.starts
            for key, value in opened.items()
            if not outcome_path(self._job.folder, key).exists()
        ]
        where = "1 repository" if len(left) == 1 else f"{len(left):,} repositories"
        what = f"{sum(left):,} commits of {where} to mine"
        self._job.expect(what, sum(left) * STEP_S)

    def _index(
        self,
        opened: Mapping[str, Opened],
        outcomes: Mapping[str, Mined | Failure],
        settings: Mapping[str, Any],
    ) -> MinedIndex:
        family = {
            key: min(root for other in group for root in opened[other].roots)
            for group in _families(opened)
            for key in group
        }
        repositories = []
        for key in sorted(outcomes, key=lambda key: self._sources[key].repo):
            source, outcome = self._sources[key], outcomes[key]
            head = opened[key].head if key in opened else None
            found = MinedRepository(key, source.repo, source.url, source.ref, head, family.get(key))
            if isinstance(outcome, Failure):
                found = replace(found, failure=published(outcome)._asdict())
            else:
                found = replace(
                    found,
                    tables=outcome.tables,
                    kinds=outcome.kinds,
                    unreached=outcome.unreached,
                    steps=outcome.steps,
                    bytes=outcome.bytes,
                )
            repositories.append(found)
        ledger = write_run_ledger(self._job.folder, self._sources, opened, outcomes)
        return MinedIndex(dict(settings), self._projection, ledger, tuple(repositories))

    def open_all(self, update: bool = False) -> dict[str, Opened | Failure]:
        """Acquires and reads the history of every source that is new, or failed for a while.

        Heads are pinned by the markers of their units; `update` moves them. Relatives of what
        comes, moves or goes are read again (`codeflow.mining.growth`).
        """
        from codeflow_miners.acquire.open import Opened

        folder = self._job.folder
        stored = files.read_json(folder / OPENED) or {}
        known = {key: outcome_of(folder / OPENED, one, Opened) for key, one in stored.items()}
        here = {key: value for key, value in known.items() if key in self._sources}
        self._job.progress.add(repositories=len(self._sources))
        moved = self._moved(here) if update else growth.pin_all(folder, here)
        todo = {key for key in self._sources if may_pass(here.get(key))} | moved
        gone = known.keys() - here.keys()
        if todo or gone:
            # This may be stopped anywhere: what is to be redone is unknown before it goes.
            again = growth.relatives(todo | gone, known) & here.keys()
            growth.remove(folder, gone)
            here = self._keep(here, moved | again)
            here |= self._open("histories", todo | again)
            more = growth.relatives(todo, here) - again
            here = self._keep(here, more, todo | again) | {k: here[k] for k in todo | again}
            here |= self._open("relatives", more)
            if known:
                self._tell(todo - known.keys(), moved, again | more, gone)
            here = dict(sorted(here.items()))
            self._write(here)
        for key, outcome in here.items():
            if isinstance(outcome, Failure):
                self._job.progress.add(repositories_failed=1)
                self._note(key, outcome)
        return here

    def _keep(
        self,
        here: Mapping[str, Opened | Failure],
        less: Set[str],
        unwritten: Set[str] = frozenset(),
    ) -> dict[str, Opened | Failure]:
        """Those that stay as they are; of the rest nothing is known from here on.

        Args:
            unwritten: further ones that are not written down yet.
        """
        kept = {key: value for key, value in here.items() if key not in less | unwritten}
        if less:
            self._write(kept)
            growth.forget(self._job.folder, less)
        return kept

    def _write(self, opened: Mapping[str, Opened | Failure]) -> None:
        values = {key: record_of(value) for key, value in opened.items()}
        files.write_json(self._job.folder / OPENED, values)

    def _open(self, stage: str, keys: Set[str]) -> dict[str, Opened | Failure]:
        """Opens some repositories; what failed in an earlier run is tried again."""
        from codeflow_miners.flow import open_repository

        found: dict[str, Opened | Failure] = {}
        if not keys:
            return found
        for key in keys:
            for unit in ("acquire", "history"):
                forget_failure(f"{key}/{unit}", self._job.folder)
        self._job.prepare(len(keys) * OPEN_S)
        self._job.progress.stage(stage, len(keys))
        flows = (
            (key, open_repository(source, self._context))
            for key, source in self._sources.items()
            if key in keys
        )
        for key, outcome in self._job.drive(flows):
            found[key] = outcome
            self._job.progress.add(units=1)
        return found

    def _moved(self, known: Mapping[str, Opened | Failure]) -> set[str]:
        """Of those that are known, which have another head or other tags now, or may open now.

        One that cannot be asked keeps what it has, with a note.
        """
        from codeflow_miners.flow import acquire_again

        moved = {key for key, value in known.items() if isinstance(value, Failure)}
        asked = sorted(known.keys() - moved)
        if not asked:
            return moved
        self._job.progress.stage("heads", len(asked))
        before = {key: growth.unpin(self._job.folder, key) for key in asked}
        flows = ((key, acquire_again(self._sources[key], self._context)) for key in asked)
        for key, outcome in self._job.drive(flows):
            self._job.progress.add(units=1)
            if isinstance(outcome, Failure):
                self._note(key, outcome)
                self._job.progress.note(f"{self._sources[key].repo}: stays as it was")
                growth.pin(self._job.folder, key)
            elif growth.same_head(before[key], outcome):
                growth.pin(self._job.folder, key)
            else:
                moved.add(key)
        return moved

    def _tell(self, added: Set[str], moved: Set[str], again: Set[str], gone: Set[str]) -> None:
        """Says what changes in a folder that was mined before."""
        parts = [
            f"{len(keys):,} {what}"
            for keys, what in (
                (added, "added"),
                (moved, "changed"),
                (again, "mined again with their relatives"),
                (gone, "gone"),
            )
            if keys
        ]
        if parts:
            self._job.progress.note(f"repositories: {', '.join(parts)}")

    def _divide(
        self, opened: Mapping[str, Opened], lost: Set[str], number: int
    ) -> dict[str, Sequence[int]]:
        """The steps that each opened repository keeps within its family of forks.

        Args:
            lost: keys of those that could not be mined, and keep nothing.
            number: of the round, in which each division has a unit of its own.
        """
        from codeflow_miners.history.families import FamilyArguments, Member, divide

        starts: dict[str, Sequence[int]] = {
            key: range(value.starts) for key, value in opened.items() if key not in lost
        }

        def flow(members: tuple[Member, ...], unit: str) -> Flow[Mapping[str, Sequence[int]]]:
            [result] = yield [Unit(unit, divide, FamilyArguments(members))]
            own: Mapping[str, Sequence[int]] = result.value["starts"]
            return own

        flows = []
        for group in _forked_families(opened):
            members = tuple(
                Member(
                    key,
                    self._sources[key].repo,
                    opened[key].length,
                    self._path(opened[key].commits),
                    tuple(starts[key]),
                )
                for key in group
                if key in starts
            )
            unit = f"families/{group[0]}{_round_suffix(number)}"
            flows.append((unit, flow(members, unit)))
        for unit, outcome in self._job.drive(iter(flows)):
            if isinstance(outcome, Failure):
                forget_failure(unit, self._job.folder)
                raise CodeflowError(f"{unit}: {outcome.rule}: {outcome.reason}")
            starts.update(outcome)
        return starts

    def _note(self, key: str, failure: Failure) -> None:
        """Says which line of the list failed."""
        source = self._sources[key]
        where = place_in_list(source.repo, source.line, source.spec)
        self._job.progress.note(f"{where}: {failure.rule}: {failure.reason}")

    def _path(self, name: str) -> str:
        return str(self._job.folder / name)

    def mine_all(self, opened: Mapping[str, Opened]) -> dict[str, Mined | Failure]:
        """Mines every opened repository; the parts of one that is done are removed.

        Goes in rounds, because what fails gives its steps back to the forks that have them, too:
        a damaged copy must not cost the steps of a whole one. A round is finished before the next
        is divided, so that a run that was stopped comes to the same division.
        """
        outcomes: dict[str, Mined | Failure] = {}
        taken: dict[str, Sequence[int]] = {}
        lost: set[str] = set()
        replaced: list[str] = []
        for number in range(len(opened)):
            starts = self._divide(opened, lost, number)
            todo = {key: own for key, own in starts.items() if taken.get(key) != own}
            replaced += [key + _round_suffix(n) for key in todo for n in range(number)]
            results = self._mine_round(opened, todo, number)
            outcomes.update(results)
            taken.update(todo)
            failed = {key for key, result in results.items() if isinstance(result, Failure)}
            lost |= failed
            if not failed:
                break
        for key in replaced:
            shutil.rmtree(self._job.folder / MINED / key, ignore_errors=True)
        return outcomes

    def _mine_round(
        self, opened: Mapping[str, Opened], todo: Mapping[str, Sequence[int]], number: int
    ) -> dict[str, Mined | Failure]:
        """Mines some repositories, or finds what an earlier run made of them."""
        from codeflow_miners.acquire.open import find_again
        from codeflow_miners.flow import Mined, mine_repository

        self._job.progress.stage("content", sum(len(own) for own in todo.values()))
        pace = Pace({key + _round_suffix(number): len(own) for key, own in todo.items()})
        self._job.pace = pace.ended
        results: dict[str, Mined | Failure] = {}
        flows: list[tuple[str, Flow[Mined]]] = []
        forks = {key for group in _forked_families(opened) for key in group}
        for key, own in todo.items():
            name = key + _round_suffix(number)
            path = outcome_path(self._job.folder, name)
            done = files.read_json(path)
            if done is not None:
                results[key] = outcome_of(path, done, Mined)
                found_good = not number and not isinstance(results[key], Failure)
                self._job.progress.add(units=pace.rest(name), repositories_done=found_good)
                continue
            here = replace(
                opened[key],
                commits=self._path(opened[key].commits),
                git_dir=find_again(
                    self._sources[key], opened[key].git_dir, opened[key].head, self._context.cache
                ),
            )
            flow = mine_repository(self._sources[key], here, own, self._context, name)
            flows.append((key, flow))
        for key, outcome in self._job.drive(iter(flows)):
            name = key + _round_suffix(number)
            if isinstance(outcome, Failure):
                self._job.progress.add(repositories_failed=1)
                self._note(key, outcome)
                shutil.rmtree(self._job.folder / MINED / name, ignore_errors=True)
            elif not number:
                self._job.progress.add(repositories_done=1)
            self._job.progress.add(units=pace.rest(name))
            files.write_json(outcome_path(self._job.folder, name), record_of(outcome))
            if key not in forks:  # a further round reads the commits of those
                shutil.rmtree(self._job.folder / INTERMEDIATE / name, ignore_errors=True)
            results[key] = outcome
        self._job.pace = None
        return results


def _families(opened: Mapping[str, Opened]) -> list[tuple[str, ...]]:
    """Keys of opened repositories, those that share a root together."""
    from codeflow_miners.history.families import families

    return families({key: value.roots for key, value in opened.items()})


def _forked_families(opened: Mapping[str, Opened]) -> list[tuple[str, ...]]:
    """The families of two or more."""
    return [group for group in _families(opened) if len(group) > 1]


def _round_suffix(number: int) -> str:
    return f".{number}" if number else ""
