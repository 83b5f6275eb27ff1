"""The steps of the published triples: each patch once in the dataset.

In `mined/` every step has its patch. Where a triple of kind commit is published that has the same
one, the step gives its id instead; where that triple was dropped, the step keeps its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.contracts import Sink, Unit
from codeflow.publish.shards import sorted_rows, write_sorted
from codeflow.records import STEPS, TRIPLES
from codeflow.storage import layout, tables
from codeflow.storage.layout import INTERMEDIATE, SPLITS

_UNIT_BYTES = 16 << 20
_UNIT_FILES = 256


@dataclass(frozen=True)
class StepsArguments:
    """Mined files of steps, and the files of kept triples that theirs are among, by split; None
    where all triples are kept, in `train`. `target` begins the names of what is written."""

    folder: str
    inputs: tuple[str, ...]
    kept: Mapping[str, tuple[str, ...]] | None
    target: str


def steps_units(
    folder: Path,
    repositories: Iterable[tuple[str, Sequence[str], Mapping[str, Sequence[str]] | None]],
    stamp: str,
) -> list[tuple[Unit, tuple[str, ...]]]:
    """Units that each choose the steps of some repositories, and these.

    Args:
        repositories: each with its mined files of steps and, by split, those of its kept triples.
    """
    units: list[tuple[Unit, tuple[str, ...]]] = []
    inputs: dict[str, str] = {}
    kept: dict[str, dict[str, None]] | None = None
    size = 0

    def close() -> None:
        nonlocal inputs, kept, size
        if inputs:
            files = None if kept is None else {split: tuple(paths) for split, paths in kept.items()}
            target = f"{INTERMEDIATE}/publish-{stamp}/steps-{len(units):05d}"
            arguments = StepsArguments(str(folder), tuple(inputs), files, target)
            unit = Unit(f"publish-{stamp}/steps-{len(units):05d}", choose_steps, arguments)
            units.append((unit, tuple(dict.fromkeys(inputs.values()))))
        inputs, kept, size = {}, None, 0

    for repo, paths, own in repositories:
        for path in paths:
            more = (folder / path).stat().st_size
            if size + more > _UNIT_BYTES or len(inputs) >= _UNIT_FILES:
                close()
            inputs[path] = repo
            size += more
            if own is not None:
                kept = kept or {split: {} for split in SPLITS}
                for split, files in own.items():
                    kept[split].update(dict.fromkeys(files))
    close()
    return units


def choose_steps(arguments: StepsArguments, sink: Sink) -> dict[str, Any]:
    """Writes the steps of the kept triples, a file a split. Returns `files`: paths by split."""
    folder = Path(arguments.folder)
    kept = None
    if arguments.kept is not None:
        kept = {split: _ids(folder, files) for split, files in arguments.kept.items()}
        published = pa.concat_arrays(list(kept.values()))
    written = {}
    for split in SPLITS if kept is not None else SPLITS[:1]:
        parts = []
        for rows in _mined(folder, arguments.inputs):
            if kept is not None:
                rows = rows.filter(pc.is_in(rows.column("triple"), kept[split]))
            known = rows.column("same_as")
            there = pc.is_valid(known) if kept is None else pc.is_in(known, published)
            parts.append(_once(rows, there))
        table = sorted_rows(parts, layout.STEPS)
        if len(table):
            written[split] = f"{arguments.target}-{split}.parquet"
            write_sorted(folder / written[split], table, layout.STEPS)
    return {"files": written}


def _once(rows: pa.Table, there: pa.ChunkedArray) -> pa.Table:
    """The rows with a patch where it is not `there` already, and a reference where it is."""
    for name, wanted in (("patch", pc.invert(there)), ("same_as", there)):
        column = rows.column(name)
        values = pc.if_else(wanted, column, pa.scalar(None, column.type))
        rows = rows.set_column(STEPS.get_field_index(name), STEPS.field(name), values)
    return rows


def _mined(folder: Path, paths: Iterable[str]) -> Iterator[pa.Table]:
    for path in paths:
        yield tables.read(folder / path, STEPS).cast(STEPS)


def _ids(folder: Path, paths: Iterable[str]) -> pa.Array:
    parts = [
        chunk
        for path in paths
        for chunk in tables.read(folder / path, TRIPLES, ["id"]).column("id").chunks
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], pa.string())
