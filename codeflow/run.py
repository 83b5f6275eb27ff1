"""The mining run: list in, dataset folder out.

Histories of all repositories are read first, because forks are settled by ids before any content is
read; then every repository is mined on its own; then what came of it is published. Each step leaves
markers, so that the same command goes on where a run stopped. The driver holds ids and counts.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeflow import __version__, card, files, manifest, workdir
from codeflow.account import (
    forked_families,
    good_repositories,
    outcome_of,
    record_of,
    stored_summary,
    summarise,
    write_run_ledger,
)
from codeflow.config import MineConfig, as_mapping, stage_hash
from codeflow.contracts import Flow, Unit, UnitResult
from codeflow.drive import Outcome, drive
from codeflow.errors import CodeflowError, UsageError
from codeflow.plugins import load_miners
from codeflow.pools import Pool, make_pool
from codeflow.process import stopped_by_sigterm
from codeflow.progress import Progress
from codeflow.publish import (
    MinedFile,
    describe,
    gather_units,
    plan_shards,
    remove_unlisted,
    triples_units,
)
from codeflow.records import SCHEMA_VERSION
from codeflow.summary import Summary
from codeflow.units import DONE, MINED, PARTS, Failure, disk_error, forget_failure


@dataclass(frozen=True)
class Execution:
    """How a run is carried out; nothing in here changes a published byte."""

    workers: int = 1
    ray_address: str | None = None
    cache: Path = Path("~/.cache/codeflow/repositories")
    fresh: bool = False


def run(
    sources: Sequence[Any], out: Path, config: MineConfig, execution: Execution, progress: Progress
) -> Summary:
    """Mines sources into `out`, or goes on with it, and publishes.

    Raises:
        UsageError: the folder belongs to another run or question; Ray does not answer.
        CodeflowError: the disk is full. KeyboardInterrupt: stopped; the folder can be resumed.
    """
    try:
        with stopped_by_sigterm():
            return _run(sources, out, config, execution, progress)
    except BrokenPipeError:  # of the display
        raise
    except OSError as error:
        raise disk_error(error, out) from error


def _run(
    sources: Sequence[Any], out: Path, config: MineConfig, execution: Execution, progress: Progress
) -> Summary:
    started = time.monotonic()
    miners = load_miners(config.kinds, config.miners)
    from codeflow_miners.flow import MiningContext

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; give another folder") from None
    with workdir.locked(out):
        settings = as_mapping(config)
        listed = [{"repo": s.repo, "location": s.location, "ref": s.ref} for s in sources]
        workdir.begin(out, settings, listed, execution.fresh)
        summary = files.read_json(out / workdir.SUMMARY)
        if summary is not None and (out / manifest.NAME).exists():
            progress.note(f"{out} is complete; nothing to do (--fresh mines again)")
            return stored_summary(summary, out)
        workdir.remove_leftovers(out)
        cache = str(execution.cache.expanduser().absolute())
        context = MiningContext(config, cache, miners)
        with _pool(out, execution, progress) as pool:
            job = _Run(sources, out, context, pool, progress)
            opened = job.open_all()
            outcomes = job.mine_all(opened)
            return job.publish(opened, outcomes, settings, started)


@contextmanager
def _pool(out: Path, execution: Execution, progress: Progress) -> Iterator[Pool]:
    if execution.workers > 1 or execution.ray_address:
        begun = time.monotonic()
        pool = make_pool(out.absolute(), execution.workers, execution.ray_address)
        progress.note(f"Ray is up after {time.monotonic() - begun:.1f} s")
    else:
        pool = make_pool(out.absolute(), 1, None)
    try:
        yield pool
    finally:
        pool.close()


class _Run:
    """One run's steps; each takes what the one before gave."""

    def __init__(
        self, sources: Sequence[Any], out: Path, context: Any, pool: Pool, progress: Progress
    ) -> None:
        self._sources = {source.key: source for source in sources}
        self._out = out.absolute()
        self._context = context
        self._pool = pool
        self._progress = progress

    def _drive(self, flows: Iterator[tuple[str, Flow]]) -> Iterator[tuple[str, Outcome]]:
        return drive(flows, self._pool, self._out, self._on_unit)

    def _on_unit(self, unit: Unit, result: UnitResult | Failure) -> None:
        if isinstance(result, UnitResult):
            value = result.value
            self._progress.add(
                units=self._weight(unit),
                commits=value.get("steps", 0),
                triples=sum(value.get("kinds", {}).values()),
                bytes=value.get("bytes", 0),
            )

    def _weight(self, unit: Unit) -> int:
        """What a unit counts for in the stage's total: a repository counts once, at its end."""
        return int(unit.key.startswith("publish-"))

    def open_all(self) -> dict[str, dict[str, Any]]:
        """Acquires and reads the history of every source; failures have the key `failure`.

        Heads are pinned by the markers of their units. Until all histories are in, what failed is
        tried again by the next run; afterwards it has no part in this folder.
        """
        from codeflow_miners.flow import open_repository

        known: dict[str, dict[str, Any]] | None = files.read_json(self._out / workdir.OPENED)
        if known is None:
            self._forget_failures()
            total = len(self._sources)
            self._progress.stage("histories", total)
            self._progress.add(repositories=total)
            flows = (
                (key, open_repository(source, self._context))
                for key, source in self._sources.items()
            )
            found = {}
            for key, outcome in self._drive(flows):
                found[key] = outcome
                self._progress.add(units=1)
            known = {key: record_of(outcome) for key, outcome in sorted(found.items())}
            files.write_json(self._out / workdir.OPENED, known)
        for key, value in known.items():
            if "failure" in value:
                failure = value["failure"]
                self._progress.add(repositories_failed=1)
                self._progress.note(
                    f"{self._sources[key].repo}: {failure['rule']}: {failure['reason']}"
                )
        return known

    def _forget_failures(self) -> None:
        for key in self._sources:
            for unit in ("acquire", "history"):
                forget_failure(f"{key}/{unit}", self._out)

    def _divide(
        self, opened: Mapping[str, dict[str, Any]], lost: Set[str], number: int
    ) -> dict[str, Sequence[int]]:
        """The steps that each opened repository keeps within its family of forks.

        Args:
            lost: keys of those that could not be mined, and keep nothing.
            number: of the round, in which each division has a unit of its own.
        """
        from codeflow_miners.families import FamilyArguments, Member, divide

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
        for unit, outcome in self._drive(iter(flows)):
            if isinstance(outcome, Failure):
                forget_failure(unit, self._out)
                raise CodeflowError(f"{unit}: {outcome.rule}: {outcome.reason}")
            starts.update(outcome)
        return starts

    def _path(self, name: str) -> str:
        return str(self._out / name)

    def mine_all(self, opened: Mapping[str, dict[str, Any]]) -> dict[str, Outcome]:
        """Mines every opened repository; the parts of one that is done are removed.

        Goes in rounds, because what fails gives its steps back to the forks that have them, too:
        a damaged copy must not cost the steps of a whole one. A round is finished before the next
        is divided, so that a run that was stopped comes to the same division.
        """
        stored = files.read_json(self._out / workdir.MINED_INDEX)
        if stored is not None:
            return {key: outcome_of(value) for key, value in stored.items()}
        outcomes: dict[str, Outcome] = {
            key: outcome_of(value) for key, value in opened.items() if "failure" in value
        }
        mined: dict[str, Sequence[int]] = {}
        lost: set[str] = set()
        replaced: list[str] = []
        for number in range(len(opened)):
            starts = self._divide(opened, lost, number)
            todo = {key: own for key, own in starts.items() if mined.get(key) != own}
            replaced += [key + _round_suffix(n) for key in todo for n in range(number)]
            results = self._mine_round(opened, todo, number)
            outcomes.update(results)
            mined.update(todo)
            failed = {key for key, result in results.items() if isinstance(result, Failure)}
            lost |= failed
            if not failed:
                break
        for key in replaced:
            shutil.rmtree(self._out / MINED / key, ignore_errors=True)
        ordered = dict(sorted(outcomes.items(), key=lambda item: self._sources[item[0]].repo))
        files.write_json(
            self._out / workdir.MINED_INDEX, {key: record_of(o) for key, o in ordered.items()}
        )
        shutil.rmtree(self._out / PARTS, ignore_errors=True)
        return ordered

    def _mine_round(
        self, opened: Mapping[str, dict[str, Any]], todo: Mapping[str, Sequence[int]], number: int
    ) -> dict[str, Outcome]:
        """Mines some repositories, or finds what an earlier run made of them."""
        from codeflow_miners.flow import mine_repository
        from codeflow_miners.open import find_again

        self._progress.stage("content", sum(len(own) for own in todo.values()))
        results: dict[str, Outcome] = {}
        flows: list[tuple[str, Flow]] = []
        forks = {key for group in forked_families(opened) for key in group}
        for key, own in todo.items():
            name = key + _round_suffix(number)
            done = files.read_json(self._out / DONE / name / "outcome.json")
            if done is not None:
                results[key] = outcome_of(done)
                continue
            here = {
                **opened[key],
                "commits": self._path(opened[key]["commits"]),
                "git_dir": find_again(self._sources[key], opened[key], self._context.cache),
            }
            flow = mine_repository(self._sources[key], here, own, self._context, name)
            flows.append((key, flow))
        for key, outcome in self._drive(iter(flows)):
            name = key + _round_suffix(number)
            if isinstance(outcome, Failure):
                self._progress.add(repositories_failed=1)
                repo = self._sources[key].repo
                self._progress.note(f"{repo}: {outcome.rule}: {outcome.reason}")
                shutil.rmtree(self._out / MINED / name, ignore_errors=True)
            elif not number:
                self._progress.add(repositories_done=1)
            self._progress.add(units=len(todo[key]))
            files.write_json(self._out / DONE / name / "outcome.json", record_of(outcome))
            if key not in forks:  # a further round reads the commits of those
                shutil.rmtree(self._out / PARTS / name, ignore_errors=True)
            results[key] = outcome
        return results

    def publish(
        self,
        opened: Mapping[str, dict[str, Any]],
        outcomes: Mapping[str, Outcome],
        settings: Mapping[str, Any],
        started: float,
    ) -> Summary:
        """Writes the shards, the ledger, the card, and the manifest last."""
        keys = sorted(outcomes, key=lambda key: self._sources[key].repo)
        good = {k: o for k in keys if not isinstance(o := outcomes[k], Failure)}
        stamp = stage_hash(settings)
        run_ledger = write_run_ledger(self._out, self._sources, outcomes, opened)
        tables = {name: self._mined(good, name) for name in ("triples", "blobs", "trees", "ledger")}
        tables["ledger"].append(run_ledger)
        triples = tables.pop("triples")
        level = 0
        while gather := gather_units(self._out, triples, stamp, level):
            lines = self._run_units("gather", gather)
            triples = [MinedFile(line["path"], line["bytes"]) for line in lines]
            level += 1
        units = triples_units(self._out, triples, stamp, "train")
        for name, inputs in tables.items():
            units += plan_shards(self._out, name, inputs, stamp)
        self._progress.stage("publish", len(units))
        lines = self._run_units("publish", units)
        kinds: dict[str, int] = {}
        for outcome in good.values():
            for kind, count in outcome["kinds"].items():
                kinds[kind] = kinds.get(kind, 0) + count
        deterministic = all(o.deterministic for o in outcomes.values() if isinstance(o, Failure))
        repositories = good_repositories(self._sources, good, opened)
        text = card.render(repositories, kinds, settings, *card.filled(lines))
        files.write_bytes(self._out / "README.md", text.encode())
        lines.append(describe(self._out, "README.md"))
        remove_unlisted(self._out, {str(line["path"]) for line in lines})
        values = {
            "schema_version": SCHEMA_VERSION,
            "created_by": f"codeflow {__version__}",
            "config": settings,
            "config_hash": stamp,
            "projection": self._context.config.projection.identity,
            "deterministic": deterministic,
            "repositories": [
                {
                    "repo": self._sources[key].repo,
                    "url": self._sources[key].url,
                    "ref": self._sources[key].ref,
                    "head": opened[key].get("head"),
                    "triples": good[key]["kinds"] if key in good else {},
                }
                for key in keys
            ],
            "triples": kinds,
            "files": sorted(lines, key=lambda line: str(line["path"])),
        }
        files.write_bytes(self._out / manifest.NAME, manifest.seal(values))
        elapsed_s = time.monotonic() - started
        summary = summarise(
            self._out, self._sources, outcomes, lines, kinds, deterministic, elapsed_s
        )
        shutil.rmtree(self._out / PARTS, ignore_errors=True)
        files.write_json(self._out / workdir.SUMMARY, asdict(summary))
        return summary

    def _run_units(self, name: str, units: Sequence[Unit]) -> list[dict[str, Any]]:
        def flow(unit: Unit) -> Flow:
            [result] = yield [unit]
            return dict(result.value)

        lines: dict[str, dict[str, Any]] = {}
        for key, outcome in self._drive((unit.key, flow(unit)) for unit in units):
            if isinstance(outcome, Failure):
                forget_failure(key, self._out)
                raise CodeflowError(f"{name}: {key}: {outcome.reason}")
            lines[key] = outcome
        return [lines[unit.key] for unit in units]

    def _mined(self, good: Mapping[str, dict[str, Any]], name: str) -> list[MinedFile]:
        found = []
        for outcome in good.values():
            unreached = tuple(outcome["unreached"]) if name == "blobs" else ()
            for path in outcome["mined"].get(name, []):
                found.append(MinedFile(path, (self._out / path).stat().st_size, unreached))
        return found


def _round_suffix(number: int) -> str:
    return f".{number}" if number else ""
