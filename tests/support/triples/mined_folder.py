"""Made-up folders of mined triples, for stages that look at columns only; and their runs."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.contracts import Figures, Flow, Unit
from codeflow.curation import batches as parts
from codeflow.curation import decisions
from codeflow.curation.batches import Part
from codeflow.curation.context import StageContext
from codeflow.execution.driver import drive
from codeflow.execution.pool import Done
from codeflow.execution.units import run_unit
from codeflow.records import CONTAINED, TRIPLES, table_of

_COLUMNS = ["id", "repo", "old_commit", "commits", "patch", "language", "position"]
_SCHEMA = pa.schema([TRIPLES.field(name) for name in _COLUMNS])


def commit(name: str) -> str:
    """A commit id."""
    return hashlib.sha1(name.encode()).hexdigest()


@dataclass(frozen=True)
class Made:
    """A triple from commit `start` to commit `end` of its repository's chain."""

    start: int
    end: int
    language: str | None = "Python"
    patch: str = "x" * 100
    name: str = ""


@dataclass
class Repo:
    """A repository: its chain of commits and its triples, in the order they are stored."""

    name: str
    chain: Sequence[str]
    triples: Sequence[Made]
    group_rows: int = 64
    ties: int = 1  # so many neighbours on the chain share a position
    merged: Mapping[int, Sequence[str]] = field(default_factory=dict)  # what a commit brings in

    def id_of(self, triple: Made) -> str:
        text = f"{self.name} {triple.start} {triple.end} {triple.name}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def position(self, number: int) -> float:
        return number // self.ties / len(self.chain)


@dataclass
class Mined:
    """A folder that was mined from some repositories."""

    folder: Path
    repos: Sequence[Repo]
    parts: Sequence[Part] = field(default_factory=tuple)

    def write(self, chains: bool = True) -> Mined:
        """Writes the tables and cuts them into parts."""
        listed: list[tuple[str, dict[str, list[str]]]] = []
        for repo in self.repos:
            tables = {"triples": [f"mined/{repo.name}/triples.parquet"]}
            path = self.folder / tables["triples"][0]
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                {
                    "id": repo.id_of(t),
                    "repo": f"identity of {repo.name}",
                    "old_commit": repo.chain[t.start],
                    "commits": list(repo.chain[t.start + 1 : t.end + 1]),
                    "patch": t.patch,
                    "language": t.language,
                    "position": repo.position(t.start),
                }
                for t in repo.triples
            ]
            table = pa.Table.from_pylist(rows, schema=_SCHEMA)
            pq.write_table(table, path, row_group_size=repo.group_rows)
            if chains:
                tables["contained"] = [f"mined/{repo.name}/contained.parquet"]
                rows_of = [
                    (bytes.fromhex(each), k, repo.position(k), each == own)
                    for k, own in enumerate(repo.chain)
                    for each in (own, *repo.merged.get(k, ()))
                ]
                contained = table_of(rows_of, CONTAINED)
                pq.write_table(contained, self.folder / tables["contained"][0])
            listed.append((repo.name, tables))
        self.parts = parts.cut(self.folder, listed)
        return self

    def decide(self, stage: str, columns: Mapping[str, Mapping[str, Any]]) -> None:
        """Decisions of an earlier stage: by id, columns; others are kept."""
        for part in self.parts:
            ids = [
                each
                for _, table in parts.read(self.folder, part, ["id"])
                for each in table.column("id").to_pylist()
            ]
            named = [columns.get(each, {}) for each in ids]
            values: dict[str, Any] = {"id": ids, "kept": [row.get("kept", True) for row in named]}
            values["weight"] = [row.get("weight", 1.0) for row in named]
            if stage == "dedup":
                values["cluster"] = [row.get("cluster") for row in named]
            decisions.write(self.folder, stage, part.name, values)

    def context(
        self, stage: str, earlier: tuple[str, ...] = (), shuffled: random.Random | None = None
    ) -> StageContext:
        order = list(self.parts)
        if shuffled is not None:
            shuffled.shuffle(order)
        stamp = "0" if shuffled is None else f"{shuffled.random()}"
        return StageContext(self.folder, stage, stamp, tuple(order), earlier)

    def run(
        self, stage: str, flow: Flow[Figures], chance: random.Random | None = None
    ) -> dict[str, Any]:
        """Runs a flow to its end; with `chance`, units in any order, as many workers would."""
        pool = AnyOrder(self.folder, chance or random.Random(0))
        [(_, outcome)] = drive(iter([(stage, flow)]), pool, self.folder, lambda unit, result: None)
        assert isinstance(outcome, dict), outcome
        return outcome

    def decided(self, stage: str) -> dict[str, dict[str, Any]]:
        """All decisions of a stage, by id."""
        return {
            row["id"]: row
            for part in self.parts
            for row in decisions.read(self.folder, stage, part.name).to_pylist()
        }

    def bytes_of(self, stage: str) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes()
            for path in sorted((self.folder / "decisions" / stage).iterdir())
        }


class AnyOrder:
    """A pool that runs what was submitted in a random order."""

    room = 8
    workers = 1

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._waiting: list[Unit] = []

    def submit(self, unit: Unit) -> None:
        self._waiting.append(unit)

    def next_done(self) -> Done:
        unit = self._waiting.pop(self._chance.randrange(len(self._waiting)))
        return unit, run_unit(unit, self._folder)

    def close(self) -> None:
        self._waiting.clear()
