"""What became of everything: the figures of the stages, and the ledger by rule.

Both come from what is published, the manifest and the ledger, so a folder whose working files are
gone still tells what was dropped. Costs a read of the ledger; memory grows with rules, not rows.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from codeflow.dataset.reader import Dataset
from codeflow.records import LEDGER, LedgerRow
from codeflow.storage import layout, tables

EXAMPLES = 3
PAIRS = 40  # near-duplicates to choose a pair from
_REPOSITORY = ("list", "open", "mine", "families")  # ledger stages whose rows are repositories
_FILE = "left-out"  # and whose rows are files
_NEAR = ("dedup", "near")  # stage and rule of a near-duplicate; its detail begins with the kept id


class StageShown(NamedTuple):
    """One stage: how many triples it was given and left, where it says so."""

    name: str
    given: int | None
    kept: int | None
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]


@dataclass
class Rule:
    """The ledger rows of one rule of one stage; `examples` are drawn by hash, not by order."""

    stage: str
    rule: str
    reason: str
    rows: int = 0
    examples: list[LedgerRow] = field(default_factory=list)

    @property
    def name(self) -> str:
        """FILTER/REASON, or STAGE/RULE."""
        return self.rule if self.stage == "filter" else f"{self.stage}/{self.rule}"


@dataclass
class Ledger:
    """The ledger, most frequent rules first.

    Attributes:
        triples: rules that dropped triples; a pair that never became one has the stage `mine`.
        files: rules that left files out of snapshots.
        repositories: rows of whole repositories.
        more_repositories: how many such rows there are beyond those.
        near: some rows of near-duplicates.
    """

    triples: list[Rule]
    files: list[Rule]
    repositories: list[LedgerRow]
    more_repositories: int
    near: list[LedgerRow]

    def dropped(self, stage: str) -> int:
        return sum(rule.rows for rule in self.triples if rule.stage == stage)


def read_stages(manifest: Mapping[str, Any]) -> list[StageShown]:
    """The stages behind what is published, in order; none for a folder that was only mined."""
    found = []
    for record in manifest.get("stages") or ():
        figures, settings = record.get("figures") or {}, record.get("settings") or {}
        counts = figures.get("in"), figures.get("out")
        found.append(StageShown(str(record.get("stage")), *counts, settings, figures))
    return found


def read_ledger(dataset: Dataset, stages: list[StageShown]) -> Ledger:
    """Counts the ledger by rule and draws a few examples of each."""
    names = {*layout.STAGES, *(stage.name for stage in stages)}
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
        most = PAIRS if (stage, name) == _NEAR else EXAMPLES
        (heapq.heappush if len(heap) < most else heapq.heappushpop)(heap, entry)
    samples = {
        key: [row for _, _, row in sorted(heap, reverse=True)] for key, heap in drawn.items()
    }
    for key, rule in rules.items():
        rule.examples = samples[key][:EXAMPLES]
    ordered = sorted(rules.values(), key=lambda r: (-r.rows, r.stage, r.rule))
    repositories.sort(key=lambda row: (row.repo, row.stage, row.rule))
    return Ledger(
        [rule for rule in ordered if rule.stage != _FILE],
        [rule for rule in ordered if rule.stage == _FILE],
        repositories[:50],
        max(0, count - 50),
        samples.get(_NEAR, []),
    )


def _ledger_rows(dataset: Dataset) -> Iterator[LedgerRow]:
    for file in dataset.listed:
        if file.path.startswith(f"{layout.LEDGER}/"):
            with tables.opened(dataset.folder / file.path, LEDGER) as ledger:
                for batch in ledger.iter_batches(columns=list(LedgerRow._fields)):
                    for row in batch.to_pylist():
                        yield LedgerRow(**row)
