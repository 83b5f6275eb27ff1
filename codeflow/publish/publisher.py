"""The last step: what was mined and decided becomes the dataset folder.

Triples are selected part by part, what they reach is found repository by repository, and shards are
written as units of `codeflow.publish.shards`. The manifest goes first when something else was
published here before, and comes last.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from codeflow.config import stage_hash
from codeflow.contracts import Figures, Flow, Unit
from codeflow.curation.batches import Part
from codeflow.curation.chain import Record
from codeflow.errors import CodeflowError, DataError
from codeflow.execution.failures import Failure
from codeflow.execution.job import Job
from codeflow.execution.units import forget_failure
from codeflow.mining import index as mined
from codeflow.mining.index import MinedIndex, MinedRepository
from codeflow.publish import card
from codeflow.publish.reachable import ReachArguments, reach
from codeflow.publish.select import SelectArguments, select
from codeflow.publish.shards import (
    MinedFile,
    describe,
    gather_units,
    plan_shards,
    sorted_units,
)
from codeflow.publish.steps import steps_units
from codeflow.publish.summary import Summary, deterministic, summarise
from codeflow.records import SCHEMA_VERSION, TRIPLES
from codeflow.storage import files, layout, manifest, tables
from codeflow.storage.damage import FRESH
from codeflow.storage.layout import DONE, INTERMEDIATE, SPLITS
from codeflow.version import __version__

_FAULTS_SHOWN = 10


def publish_stamp(parent: str) -> str:
    """The identity of what is published of the decisions with this identity."""
    return stage_hash({"publish": SCHEMA_VERSION}, parent)


class _Chosen(NamedTuple):
    """What is to be published.

    Attributes:
        triples, steps: files by split.
        ledgers: of what was dropped.
        kinds: triples by (repo, kind).
        reached: by repo, files of the ids of what it reaches, where that is less than was mined.
    """

    triples: dict[str, list[MinedFile]]
    steps: dict[str, list[MinedFile]]
    ledgers: list[MinedFile]
    kinds: dict[tuple[str, str], int]
    reached: dict[str, Mapping[str, str]]


class Publishing:
    """One run's publishing; `publish` is all of it.

    Args:
        records: the stages that decided, in order; none publishes all of what was mined.
    """

    def __init__(
        self, job: Job, index: MinedIndex, parts: Sequence[Part], records: Sequence[Record]
    ) -> None:
        self._job = job
        self._index = index
        self._parts = parts
        self._records = records
        self.stamp = publish_stamp(records[-1].stamp if records else index.stamp)

    def publish(
        self, started: float, places: Mapping[str, tuple[int, str]], hashed: bool = False
    ) -> Summary:
        """Writes the shards, the ledger, the card, and the manifest last.

        Args:
            started: on the monotonic clock, when the run began.
            places: as `summarise`.
            hashed: whether to compare all bytes of what is published already.

        Raises:
            DataError: what was mined is damaged.
        """
        folder = self._job.folder
        values, fault = manifest.sealed(folder)
        faults = [fault] if fault is not None else []
        if values is not None and values.get("publish_hash") == self.stamp:
            faults = manifest.faults(folder, values, hashed)
        if faults:
            mined.require(folder, self._index, contents=True)
            self._require_other_files(faults)
            for fault in faults[:_FAULTS_SHOWN]:
                self._job.progress.note(f"{fault}; made again from mined/")
            shutil.rmtree(folder / DONE / f"publish-{self.stamp}", ignore_errors=True)
        if faults or values is None or values.get("publish_hash") != self.stamp:
            self._forget()
            with self._job.trusting(f"publish-{self.stamp}"):
                values = self._write()
        elapsed_s = time.monotonic() - started
        lines, counts = values["files"], values["triples"]
        summary = summarise(folder, self._index, self._records, lines, counts, elapsed_s, places)
        for place in (DONE, INTERMEDIATE):  # markers first: they name files in parts
            shutil.rmtree(folder / place / f"publish-{self.stamp}", ignore_errors=True)
        shutil.rmtree(folder / INTERMEDIATE, ignore_errors=True)
        files.make_room(folder / layout.SUMMARY)
        files.write_json(folder / layout.SUMMARY, asdict(summary))
        return summary

    def _require_other_files(self, faults: Sequence[manifest.Fault]) -> None:
        """Looks whether a damaged shard is the mined file itself, under another name.

        Raises:
            DataError: it is, so it cannot be made again from that.
        """
        folder = self._job.folder
        names = [n for r in self._index.good for files in r.tables.values() for n in files]
        own = {_identity(folder / name): name for name in names}
        for path, what in faults:
            if path.is_file() and (name := own.get(_identity(path))) is not None:
                raise DataError(f"{path}: {what}, and is one file with {name}; {FRESH}")

    def _forget(self) -> None:
        """What was published before goes, its manifest first; what of this one is done stays."""
        folder = self._job.folder
        if (folder / layout.REPORT).exists():
            self._job.progress.note(
                f"removes {layout.REPORT}, which shows what was published before; "
                f"`codeflow report {folder}` writes it again"
            )
        for name in (layout.MANIFEST, layout.SUMMARY, layout.REPORT):
            files.remove(folder / name)
        files.make_room(folder / layout.CARD)
        for table in layout.TABLES:
            files.make_room(folder / table, folder=True)
            for path in (folder / table).glob("*"):
                files.make_room(path)
        for place in (folder / DONE).glob("publish-*"):
            if place.name != f"publish-{self.stamp}":
                shutil.rmtree(place)

    def _write(self) -> dict[str, Any]:
        """Writes everything; the values of the manifest, which is the last of it."""
        folder = self._job.folder
        chosen = self._chosen()
        ledgers, kinds, reached = chosen.ledgers, chosen.kinds, chosen.reached
        units: list[Unit] = []
        for table, by_split in ((layout.TRIPLES, chosen.triples), (layout.STEPS, chosen.steps)):
            for split, paths in by_split.items():
                gathered = self._gathered(table, split, paths)
                units += sorted_units(folder, table, gathered, self.stamp, split)
        for name in ("blobs", "trees"):
            units += plan_shards(folder, name, self._tables(name, reached), self.stamp)
        ledgers = self._tables("ledger", {}) + ledgers
        units += plan_shards(folder, "ledger", ledgers, self.stamp)
        self._job.progress.stage("publish", len(units))
        lines = self._job.run_units("publish", units)
        good = [{"repo": r.repo, "url": r.url, "head": r.head} for r in self._index.good]
        counts: dict[str, int] = {}
        for (_, kind), count in kinds.items():
            counts[kind] = counts.get(kind, 0) + count
        licenses = _licenses(folder, lines)
        has = card.filled(lines)
        text = card.render(good, counts, self._index.config, has, licenses, self._records)
        files.write_bytes(folder / layout.CARD, text.encode())
        lines.append(describe(folder, layout.CARD))
        manifest.remove_unlisted(folder, {str(line["path"]) for line in lines})
        lines = sorted(lines, key=lambda line: str(line["path"]))
        values = self._manifest(lines, kinds, counts)
        files.write_bytes(folder / layout.MANIFEST, manifest.seal(values))
        return values

    def _chosen(self) -> _Chosen:
        if not self._records:
            kinds = {
                (r.repo, kind): count for r in self._index.good for kind, count in r.kinds.items()
            }
            lacking = {r.repo for r in self._index.good if r.unreached}
            triples = {SPLITS[0]: self._tables("triples", {})}
            by_repo = {r.repo: list(r.tables.get("triples", ())) for r in self._index.good}
            steps, steps_of = self._steps(None)
            reached = self._reach(lacking, by_repo, steps_of)
            return _Chosen(triples, steps, [], kinds, reached)
        stages = tuple(record.name for record in self._records)
        target = f"{INTERMEDIATE}/publish-{self.stamp}"
        units = [
            Unit(
                f"publish-{self.stamp}/select-{part.number:05d}",
                select,
                SelectArguments(str(self._job.folder), part, stages, target),
            )
            for part in self._parts
        ]
        self._job.progress.stage("select", len(units))
        values = self._job.run_units("select", units)
        triples = {split: [] for split in SPLITS}
        files_of: dict[str, dict[str, list[str]]] = {}
        ledgers, kinds, by_repo = [], {}, {}
        lacking = {r.repo for r in self._index.good if r.unreached}
        for value in values:
            for split, path in value["files"].items():
                triples[split].append(self._file(path))
            if value["ledger"]:
                ledgers.append(self._file(value["ledger"]))
            for repo, kind, count in value["kept"]:
                kinds[repo, kind] = kinds.get((repo, kind), 0) + count
                by_repo.setdefault(repo, []).extend(value["files"].values())
                for split, path in value["files"].items():
                    files_of.setdefault(repo, {}).setdefault(split, []).append(path)
            lacking.update(value["dropped"])
        steps, steps_of = self._steps(files_of)
        reached = self._reach(lacking, by_repo, steps_of)
        return _Chosen(triples, steps, ledgers, kinds, reached)

    def _steps(
        self, kept: Mapping[str, Mapping[str, Sequence[str]]] | None
    ) -> tuple[dict[str, list[MinedFile]], dict[str, list[str]]]:
        """Files of the steps of the kept triples, by split and by repository.

        Args:
            kept: files of kept triples by repository and split; None where all are kept.
        """
        repositories = [
            (r.repo, r.tables["steps"], None if kept is None else kept.get(r.repo, {}))
            for r in self._index.good
            if "steps" in r.tables
        ]
        units = steps_units(self._job.folder, repositories, self.stamp)
        self._job.progress.stage("steps", len(units))
        values = self._job.run_units("steps", [unit for unit, _ in units])
        by_split: dict[str, list[MinedFile]] = {split: [] for split in SPLITS}
        by_repo: dict[str, list[str]] = {}
        for (_, repos), value in zip(units, values, strict=True):
            for split, path in value["files"].items():
                by_split[split].append(self._file(path))
                for repo in repos:
                    by_repo.setdefault(repo, []).append(path)
        return by_split, by_repo

    def _reach(
        self,
        lacking: set[str],
        triples: Mapping[str, Sequence[str]],
        steps: Mapping[str, Sequence[str]],
    ) -> dict[str, Mapping[str, str]]:
        """Files of the reached ids, for the repositories that reach less than was mined."""

        def flow(unit: Unit) -> Flow[Figures]:
            [result] = yield [unit]
            return dict(result.tables)

        folder = self._job.folder
        flows = []
        for r in self._index.good:
            if r.repo in lacking:
                arguments = ReachArguments(
                    str(folder),
                    r.repo,
                    tuple(dict.fromkeys(triples.get(r.repo, ()))),
                    tuple(steps.get(r.repo, ())),
                    tuple(r.tables.get("trees", ())),
                )
                unit = Unit(f"publish-{self.stamp}/reach-{r.key}", reach, arguments)
                flows.append((r.repo, flow(unit)))
        found: dict[str, Mapping[str, str]] = {}
        self._job.progress.stage("reach", len(flows))
        keys = {r.repo: f"publish-{self.stamp}/reach-{r.key}" for r in self._index.good}
        for repo, outcome in self._job.drive(iter(flows)):
            if isinstance(outcome, Failure):
                forget_failure(keys[repo], folder)
                raise CodeflowError(f"publish: {repo}: {outcome.reason}")
            found[repo] = outcome
        return found

    def _tables(self, name: str, reached: Mapping[str, Mapping[str, str]]) -> list[MinedFile]:
        found = []
        for r in self._index.good:
            ids = reached.get(r.repo, {}).get(name)
            for path in r.tables.get(name, ()):
                found.append(self._file(path)._replace(reached=ids))
        if name == "ledger":
            found.append(self._file(self._index.ledger))
        return found

    def _file(self, path: str) -> MinedFile:
        return MinedFile(path, (self._job.folder / path).stat().st_size)

    def _gathered(self, table: str, split: str, paths: list[MinedFile]) -> list[MinedFile]:
        """The files of a split's triples or steps, joined until there are few enough to merge."""
        level = 0
        folder = self._job.folder
        while gather := gather_units(folder, table, paths, self.stamp, f"{split}-{level}"):
            lines = self._job.run_units("gather", gather)
            paths = [MinedFile(line["path"], line["bytes"]) for line in lines]
            level += 1
        return paths

    def _manifest(
        self,
        lines: Sequence[Mapping[str, Any]],
        kinds: Mapping[tuple[str, str], int],
        counts: Mapping[str, int],
    ) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "created_by": f"codeflow {__version__}",
            "config": self._index.config,
            "config_hash": stage_hash(self._index.config),
            "publish_hash": self.stamp,
            "projection": self._index.projection,
            "deterministic": deterministic(self._index, self._records),
            "stages": [
                {"stage": r.name, "hash": r.stamp, "settings": r.settings, "figures": r.figures}
                for r in self._records
            ],
            "repositories": [_described(r, kinds) for r in self._index.repositories],
            "triples": dict(counts),
            "files": list(lines),
        }


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _licenses(folder: Path, lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Published triples by licence."""
    counts: Counter[str] = Counter()
    for line in lines:
        if str(line["path"]).startswith(f"{layout.TRIPLES}/"):
            column = tables.read(folder / line["path"], TRIPLES, ["license"]).column(0)
            for row in pc.value_counts(column).to_pylist():
                counts[row["values"] or "unknown"] += row["counts"]
    return dict(counts)


def _described(r: MinedRepository, kinds: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    triples = {kind: count for (repo, kind), count in kinds.items() if repo == r.repo}
    return {"repo": r.repo, "url": r.url, "ref": r.ref, "head": r.head, "triples": triples}
