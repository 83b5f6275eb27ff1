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
from typing import Any, Final

from codeflow.config import MineConfig
from codeflow.contracts import Flow, Miner, Unit
from codeflow.errors import CodeflowError
from codeflow.execution.failures import Failure, Outcome
from codeflow.execution.job import Job
from codeflow.execution.units import forget_failure
from codeflow.mining import index as mined
from codeflow.mining.index import OUTCOME, MinedIndex, MinedRepository
from codeflow.mining.outcomes import (
    families,
    forked_families,
    outcome_of,
    place_in_list,
    record_of,
    require_outcome,
    write_run_ledger,
)
from codeflow.mining.pace import Pace
from codeflow.storage import files
from codeflow.storage.layout import MINED, OPENED, PARTS, outcome_path
from codeflow.text.privacy import without_folders

STEP_S: Final = 5e-3
"""What one process takes for a first-parent step, from reading it to publishing: 3 to 6 ms on eight
histories of 500 to 1,600 steps."""

OPEN_S: Final = 0.2
"""What one process takes to open a repository of ordinary size and read its history."""

_OPENED = ("roots", "starts", "length", "commits", "head")


class Mining:
    """One run's mining; `mine` is all of it.

    Args:
        miners: those of the kinds, by their names.
        cache: where clones are kept.
    """

    def __init__(
        self,
        job: Job,
        sources: Sequence[Any],
        config: MineConfig,
        miners: Mapping[str, Miner],
        cache: Path,
    ) -> None:
        from codeflow_miners.flow import MiningContext

        self._job = job
        self._sources = {source.key: source for source in sources}
        self._context = MiningContext(config, str(cache.expanduser().absolute()), miners)
        self._projection: str = config.projection.identity

    def mine(self, settings: Mapping[str, Any]) -> MinedIndex:
        """Mines what is not mined yet.

        Args:
            settings: the configuration as plain values, for the index.
        """
        found = mined.read(self._job.folder)
        if found is None:
            opened = self.open_all()
            self._expect(opened)
            outcomes = self.mine_all(opened)
            found = self._index(opened, outcomes, settings)
            mined.require(self._job.folder, found)
            mined.write(self._job.folder, found)
            shutil.rmtree(self._job.folder / PARTS, ignore_errors=True)
        else:
            for repository in found.repositories:
                if repository.failure is not None:
                    self._note(repository.key, Failure(**repository.failure))
        return found

    def _expect(self, opened: Mapping[str, dict[str, Any]]) -> None:
        """Says how much there is left to mine; now it is known."""
        left = [
            value["starts"]
            for key, value in opened.items()
            if "failure" not in value and not outcome_path(self._job.folder, key).exists()
        ]
        where = "1 repository" if len(left) == 1 else f"{len(left):,} repositories"
        what = f"{sum(left):,} commits of {where} to mine"
        self._job.expect(what, sum(left) * STEP_S)

    def _index(
        self,
        opened: Mapping[str, dict[str, Any]],
        outcomes: Mapping[str, Outcome],
        settings: Mapping[str, Any],
    ) -> MinedIndex:
        family = {
            key: min(root for other in group for root in opened[other]["roots"])
            for group in families(opened)
            for key in group
        }
        repositories = []
        for key in sorted(outcomes, key=lambda key: str(self._sources[key].repo)):
            source, outcome = self._sources[key], outcomes[key]
            head = opened[key].get("head")
            found = MinedRepository(key, source.repo, source.url, source.ref, head, family.get(key))
            if isinstance(outcome, Failure):
                told = outcome._replace(
                    reason=without_folders(outcome.reason),
                    detail=outcome.detail and without_folders(outcome.detail),
                )
                found = replace(found, failure=told._asdict())
            else:
                found = replace(found, **{name: outcome[name] for name in OUTCOME})
            repositories.append(found)
        ledger = write_run_ledger(self._job.folder, self._sources, outcomes, opened)
        return MinedIndex(dict(settings), self._projection, ledger, tuple(repositories))

    def open_all(self) -> dict[str, dict[str, Any]]:
        """Acquires and reads the history of every source; failures have the key `failure`.

        Heads are pinned by the markers of their units. Until all histories are in, what failed is
        tried again by the next run; afterwards it has no part in this folder.
        """
        from codeflow_miners.flow import open_repository

        path = self._job.folder / OPENED
        known = files.read_json(path)
        for value in (known or {}).values():
            require_outcome(path, value, _OPENED)
        if known is None:
            self._forget_failures()
            self._job.prepare(len(self._sources) * OPEN_S)
            total = len(self._sources)
            self._job.progress.stage("histories", total)
            self._job.progress.add(repositories=total)
            flows = (
                (key, open_repository(source, self._context))
                for key, source in self._sources.items()
            )
            found = {}
            for key, outcome in self._job.drive(flows):
                found[key] = outcome
                self._job.progress.add(units=1)
            known = {key: record_of(outcome) for key, outcome in sorted(found.items())}
            files.write_json(path, known)
        for key, value in known.items():
            if "failure" in value:
                self._job.progress.add(repositories_failed=1)
                self._note(key, Failure(**value["failure"]))
        return known

    def _forget_failures(self) -> None:
        for key in self._sources:
            for unit in ("acquire", "history"):
                forget_failure(f"{key}/{unit}", self._job.folder)

    def _divide(
        self, opened: Mapping[str, dict[str, Any]], lost: Set[str], number: int
    ) -> dict[str, Sequence[int]]:
        """The steps that each opened repository keeps within its family of forks.

        Args:
            lost: keys of those that could not be mined, and keep nothing.
            number: of the round, in which each division has a unit of its own.
        """
        from codeflow_miners.history.families import FamilyArguments, Member, divide

        starts: dict[str, Sequence[int]] = {
            key: range(value["starts"])
            for key, value in opened.items()
            if "failure" not in value and key not in lost
        }

        def flow(members: tuple[Member, ...], unit: str) -> Flow:
            [result] = yield [Unit(unit, divide, FamilyArguments(members))]
            return dict(result.value["starts"])

        flows = []
        for group in forked_families(opened):
            members = tuple(
                Member(
                    key,
                    self._sources[key].repo,
                    opened[key]["length"],
                    self._path(opened[key]["commits"]),
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

    def mine_all(self, opened: Mapping[str, dict[str, Any]]) -> dict[str, Outcome]:
        """Mines every opened repository; the parts of one that is done are removed.

        Goes in rounds, because what fails gives its steps back to the forks that have them, too:
        a damaged copy must not cost the steps of a whole one. A round is finished before the next
        is divided, so that a run that was stopped comes to the same division.
        """
        outcomes: dict[str, Outcome] = {
            key: outcome_of(value) for key, value in opened.items() if "failure" in value
        }
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
        self, opened: Mapping[str, dict[str, Any]], todo: Mapping[str, Sequence[int]], number: int
    ) -> dict[str, Outcome]:
        """Mines some repositories, or finds what an earlier run made of them."""
        from codeflow_miners.acquire.open import find_again
        from codeflow_miners.flow import mine_repository

        self._job.progress.stage("content", sum(len(own) for own in todo.values()))
        pace = Pace({key + _round_suffix(number): len(own) for key, own in todo.items()})
        self._job.pace = pace.ended
        results: dict[str, Outcome] = {}
        flows: list[tuple[str, Flow]] = []
        forks = {key for group in forked_families(opened) for key in group}
        for key, own in todo.items():
            name = key + _round_suffix(number)
            path = outcome_path(self._job.folder, name)
            done = files.read_json(path)
            if done is not None:
                require_outcome(path, done, OUTCOME)
                results[key] = outcome_of(done)
                self._job.progress.add(units=pace.rest(name))
                continue
            here = {
                **opened[key],
                "commits": self._path(opened[key]["commits"]),
                "git_dir": find_again(self._sources[key], opened[key], self._context.cache),
            }
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
                shutil.rmtree(self._job.folder / PARTS / name, ignore_errors=True)
            results[key] = outcome
        self._job.pace = None
        return results


def _round_suffix(number: int) -> str:
    return f".{number}" if number else ""
