"""Which triples the report shows in full: published ones, dropped ones, a pair of near-duplicates.

Chosen by id, kind and language, never by order of arrival, so that the same folder shows the same
ones. Dropped triples are looked up in `mined/`; where that folder is gone they have no subject and
no diff. Costs a pass over the published patches, and one over those mined row groups that
hold something wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow.dataset.reader import Dataset
from codeflow.records import TRIPLES, LedgerRow
from codeflow.storage import layout, tables
from codeflow.triple import Triple

SHOWN = 6
FLOWS = 3
_FLOW_STEPS = 8
_READABLE_BYTES = (300, 4000)
_READABLE_FILES = 3
_COLUMNS = (
    "id repo kind old_commit new_commit commits messages language license additions deletions "
    "position committed_at patch scores"
)


class Example(NamedTuple):
    """A triple to show; `row` holds the columns of `records.TRIPLES` that are shown."""

    row: dict[str, Any]

    @property
    def subject(self) -> str:
        """The first line of the first message."""
        messages = self.row["messages"]
        text = messages[0][0] if messages and messages[0] else ""
        return str(text).strip().partition("\n")[0]


class Found(NamedTuple):
    """Mined triples by their commits, and by id."""

    by_commits: dict[tuple[str, str, str], Example]
    by_id: dict[str, Example]


def choose(dataset: Dataset) -> list[Example]:
    """A few published triples short enough to read, of as many kinds and languages as can be."""
    first: dict[tuple[str, str], Example] = {}
    for shards in dataset.triple_shards.values():
        for group in shards.groups:
            table = shards.read(group, [*_COLUMNS.split(), "files"])
            table = table.filter(_readable(table)).drop_columns(["files"])
            names = (table.column(name).to_pylist() for name in ("kind", "language"))
            for row, (kind, language) in enumerate(zip(*names, strict=True)):
                if (kind, language or "") not in first:  # ids ascend within a split
                    [values] = table.slice(row, 1).to_pylist()
                    first[kind, language or ""] = Example(values)
    return _vary(first.values())


def choose_flows(dataset: Dataset) -> list[Triple]:
    """A few published triples of several commits short enough to read, code before other things,
    kinds and repositories in turn."""
    found: list[tuple[bool, str, str, str]] = []
    columns = ["id", "kind", "repo", "commits", "files", "patch"]
    for shards in dataset.triple_shards.values():
        for group in shards.groups:
            table = shards.read(group, columns)
            size = pc.binary_length(table.column("patch"))
            commits = pc.list_value_length(table.column("commits"))
            table = table.filter(
                pc.and_(
                    pc.and_(pc.greater(commits, 1), pc.less_equal(commits, _FLOW_STEPS)),
                    pc.and_(
                        pc.greater_equal(size, _READABLE_BYTES[0]),
                        pc.less_equal(size, 2 * _READABLE_BYTES[1]),
                    ),
                )
            )
            for row in table.drop_columns(["patch"]).to_pylist():
                code = sum(file["file_kind"] in ("source", "test") for file in row["files"])
                other = 2 * code < len(row["files"])
                found.append((other, row["kind"], row["repo"], row["id"]))
    chosen: list[tuple[bool, str, str, str]] = []
    while found and len(chosen) < FLOWS:
        best = min(
            found,
            key=lambda one: (
                one[0],
                sum(other[1] == one[1] for other in chosen),
                sum(other[2] == one[2] for other in chosen),
                one[3],
            ),
        )
        found.remove(best)
        chosen.append(best)
    return [dataset.triple(id) for *_, id in chosen]


def _readable(table: pa.Table) -> pa.ChunkedArray:
    low, high = _READABLE_BYTES
    size = pc.binary_length(table.column("patch"))
    files = pc.list_value_length(table.column("files"))
    short = pc.and_(pc.greater_equal(size, low), pc.less_equal(size, high))
    edits = pc.and_(
        pc.greater(table.column("additions"), 0), pc.greater(table.column("deletions"), 0)
    )
    return pc.and_(pc.and_(short, edits), pc.less_equal(files, _READABLE_FILES))


def _vary(examples: Iterable[Example]) -> list[Example]:
    """Takes the kinds in turn; within a kind, languages that were not shown yet come first."""
    left = sorted(examples, key=lambda e: e.row["id"])
    chosen: list[Example] = []
    while left and len(chosen) < SHOWN:

        def novelty(example: Example) -> tuple[int, int, int, str]:
            seen = [e.row for e in chosen]
            row = example.row
            times = [sum(s[name] == row[name] for s in seen) for name in ("kind", "repo")]
            same = sum(s["language"] == row["language"] for s in seen)
            return times[0], same, times[1], row["id"]

        best = min(left, key=novelty)
        left.remove(best)
        chosen.append(best)
    return chosen


def find(folder: Path, rows: Sequence[LedgerRow], ids: Sequence[str]) -> Found:
    """Looks up dropped triples among the mined ones."""
    found = Found({}, {})
    wanted = {(r.repo, r.old_commit, r.new_commit) for r in rows if r.old_commit and r.new_commit}
    commits = pa.array(sorted({str(key[2]) for key in wanted}), pa.string())
    names = pa.array(sorted(ids), pa.string())
    for file, group in _mined(folder):
        keys = file.read_row_group(group, columns=["id", "new_commit"])
        hits = pc.or_(
            pc.is_in(keys.column("new_commit"), commits), pc.is_in(keys.column("id"), names)
        )
        if not pc.any(hits).as_py():
            continue
        for row in file.read_row_group(group, columns=_COLUMNS.split()).filter(hits).to_pylist():
            example, key = Example(row), (row["repo"], row["old_commit"], row["new_commit"])
            if key in wanted:
                found.by_commits.setdefault(key, example)
            found.by_id[row["id"]] = example
    return found


def _mined(folder: Path) -> Iterator[tuple[pq.ParquetFile, int]]:
    for path in sorted((folder / layout.MINED).glob("*/triples-*.parquet")):
        with tables.opened(path, TRIPLES) as file:
            for number in range(file.metadata.num_row_groups):
                yield file, number


def choose_pair(near: Sequence[LedgerRow], found: Found) -> tuple[Example, Example, str] | None:
    """A kept and a dropped near-duplicate that are good to look at, with what the ledger says.

    Unlike patches of a readable length, of two repositories if there are such.
    """
    known = []
    for row in near:
        kept = found.by_id.get(kept_id(row))
        dropped = found.by_commits.get((row.repo, row.old_commit or "", row.new_commit or ""))
        if kept is not None and dropped is not None:
            known.append((kept, dropped, row.detail or ""))
    low, high = _READABLE_BYTES

    def worth(pair: tuple[Example, Example, str]) -> tuple[bool, bool, bool, str]:
        one, two = pair[0].row, pair[1].row
        readable = all(low <= len(row["patch"]) <= high for row in (one, two))
        return one["patch"] == two["patch"], not readable, one["repo"] == two["repo"], two["id"]

    return min(known, key=worth, default=None)


def kept_id(row: LedgerRow) -> str:
    """The id that the detail of a near-duplicate begins with."""
    return (row.detail or "").partition(" ")[0]
