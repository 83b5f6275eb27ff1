"""What became of everything: the stages' figures, the ledger by rule, clusters of near-duplicates.

The figures come from `decisions/STAGE/stage.json`, the rules from the published ledger, so a folder
whose working files are gone still tells what was dropped. Costs a read of the ledger and of three
columns of the deduplication's decisions; memory grows with rules and duplicates, not with triples.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow.dataset import Dataset
from codeflow.errors import DataError
from codeflow.files import read_json
from codeflow.records import LedgerRow
from codeflow.stages.decisions import FOLDER

ORDER = ("filter", "dedup", "mix", "split")
EXAMPLES = 3
_REPOSITORY = ("list", "open", "mine", "families")  # ledger stages whose rows are repositories
_FILE = "left-out"  # and whose rows are files
NEAR = "near"  # what the rule of a near-duplicate has in its name


class Stage(NamedTuple):
    """One stage that is done: how many triples it was given and left."""

    name: str
    given: int
    kept: int
    config: Mapping[str, Any]
    figures: Mapping[str, Any]


@dataclass
class Rule:
    """The ledger rows of one rule of one stage; `examples` are drawn by hash, not by order."""

    stage: str
    rule: str
    reason: str
    rows: int = 0
    examples: list[LedgerRow] = field(default_factory=list)


@dataclass
class Ledger:
    """The ledger, most frequent rules first.

    Attributes:
        triples: rules that dropped triples; a pair that never became one has the stage `mine`.
        files: rules that left files out of snapshots.
        repositories: rows of whole repositories.
        more_repositories: how many such rows there are beyond those.
    """

    triples: list[Rule]
    files: list[Rule]
    repositories: list[LedgerRow]
    more_repositories: int

    def dropped(self, stage: str) -> int:
        return sum(rule.rows for rule in self.triples if rule.stage == stage)


class Duplicates(NamedTuple):
    """Near-duplicates: (ids of the kept and a dropped one) to choose from, and clusters by size."""

    pairs: list[tuple[str, str]]
    sizes: Counter[int]


def read_stages(folder: Path) -> list[Stage]:
    """The stages that are complete, in their order."""
    found = []
    for path in (folder / FOLDER).glob("*/stage.json"):
        values = _json(path)
        if not values.get("complete"):
            continue
        figures = values.get("figures") or {}
        given, kept = figures.get("in"), figures.get("out")
        if isinstance(given, int) and isinstance(kept, int):
            config = values.get("config") or {}
            found.append(Stage(path.parent.name, given, kept, config, figures))
    return sorted(found, key=lambda s: (s.name not in ORDER, _place(s.name), s.name))


def _place(stage: str) -> int:
    return ORDER.index(stage) if stage in ORDER else len(ORDER)


def _json(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; run the stage again") from None
    return values if isinstance(values, dict) else {}


def read_ledger(dataset: Dataset, stages: list[Stage]) -> Ledger:
    """Counts the ledger by rule and draws a few examples of each."""
    names = {*ORDER, *(stage.name for stage in stages)}
    rules: dict[tuple[str, str], Rule] = {}
    drawn: dict[tuple[str, str], list[tuple[int, int, LedgerRow]]] = {}
    repositories: list[LedgerRow] = []
    count = 0
    for row in _ledger_rows(dataset):
        if row.stage in _REPOSITORY and row.new_commit is None:
            count += 1
            repositories.append(row)
            continue
        stage, name = row.stage, row.rule
        if stage not in names and stage != _FILE:  # the ledger's stage is the kind of the pair
            stage, name = "mine", f"{row.rule} ({row.stage})"
        rule = rules.setdefault((stage, name), Rule(stage, name, row.reason))
        rule.rows += 1
        rule.reason = min(rule.reason, row.reason)
        heap = drawn.setdefault((stage, name), [])
        text = "\0".join(map(str, row))
        entry = (-int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"), rule.rows, row)
        (heapq.heappush if len(heap) < EXAMPLES else heapq.heappushpop)(heap, entry)
    for key, rule in rules.items():
        rule.examples = [row for _, _, row in sorted(drawn[key], reverse=True)]
    ordered = sorted(rules.values(), key=lambda r: (-r.rows, r.stage, r.rule))
    repositories.sort(key=lambda row: (row.repo, row.stage, row.rule))
    return Ledger(
        [rule for rule in ordered if rule.stage != _FILE],
        [rule for rule in ordered if rule.stage == _FILE],
        repositories[:50],
        max(0, count - 50),
    )


def _ledger_rows(dataset: Dataset) -> Iterator[LedgerRow]:
    for file in dataset.listed:
        if file.path.startswith("ledger/"):
            with pq.ParquetFile(dataset.folder / file.path) as ledger:
                for batch in ledger.iter_batches(columns=list(LedgerRow._fields)):
                    for row in batch.to_pylist():
                        yield LedgerRow(**row)


def read_duplicates(folder: Path) -> Duplicates:
    """Clusters from the decisions of the deduplication, if they are there."""
    tables = [
        _clustered(path) for path in sorted((folder / FOLDER / "dedup").glob("part-*.parquet"))
    ]
    if not tables:
        return Duplicates([], Counter())
    table = pa.concat_tables(tables)
    sizes = Counter(table.column("cluster").to_pylist())
    kept: dict[str, str] = {}
    for row in table.filter(table.column("kept")).to_pylist():
        kept.setdefault(row["cluster"], row["id"])
    dropped = sorted(
        (row["id"], row["cluster"])
        for row in table.filter(pc.invert(table.column("kept"))).to_pylist()
        if NEAR in (row["rule"] or "") and row["cluster"] in kept
    )
    pairs: dict[str, tuple[str, str]] = {}  # one a cluster
    for id, cluster in dropped:
        pairs.setdefault(cluster, (kept[cluster], id))
    return Duplicates(list(pairs.values()), Counter(n for n in sizes.values() if n > 1))


def _clustered(path: Path) -> pa.Table:
    table = pq.read_table(path, columns=["id", "kept", "rule", "cluster"])
    return table.filter(pc.is_valid(table.column("cluster")))
