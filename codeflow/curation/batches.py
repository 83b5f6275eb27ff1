"""What was mined, cut into the parts that every later stage works on.

A *part* holds the triples of some small repositories, or a stretch of the history of a large one,
in the order of history: neighbours change the same files, so that a stage which goes through them
in order meets a content again soon. The cut depends on what was mined alone, so part k of one
stage's decisions has the same rows in the same order as part k of every other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.records import TRIPLES
from codeflow.storage import tables

ROWS_WANTED = 2048
FILES_WANTED = 256
_HISTORY = ("position", "id")


class Stretch(NamedTuple):
    """A stretch of one file of mined triples, and where its repository's contents are.

    The file's rows, in the order of history, are cut into stretches of nearly equal length: this is
    number `number` of `of`, from 0. Paths are relative to the dataset folder; `contained` is the
    file of that table of records, `siblings` are all files of triples of the repository, and
    `steps` those of their steps.
    """

    repo: str
    triples: str
    number: int
    of: int
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    contained: str | None
    siblings: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """What one unit of a stage works on; `name` is that of its file of decisions."""

    number: int
    stretches: tuple[Stretch, ...]

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}"


def cut(
    folder: Path, repositories: Iterable[tuple[str, Mapping[str, Sequence[str]]]]
) -> list[Part]:
    """Cuts the mined triples of some repositories into parts.

    Args:
        repositories: (repo, its mined files by table) in the order of the dataset.
    """
    parts: list[Part] = []
    stretches: list[Stretch] = []
    rows = 0

    def close() -> None:
        nonlocal stretches, rows
        if stretches:
            parts.append(Part(len(parts), tuple(stretches)))
        stretches, rows = [], 0

    for repo, files in repositories:
        base = Stretch(
            repo=repo,
            triples="",
            number=0,
            of=1,
            blobs=tuple(files.get("blobs", ())),
            trees=tuple(files.get("trees", ())),
            contained=next(iter(files.get("contained", ())), None),
            siblings=tuple(files.get("triples", ())),
            steps=tuple(files.get("steps", ())),
        )
        for path in base.siblings:
            file_rows = tables.rows(folder / path)
            count = -(-file_rows // ROWS_WANTED)
            for number in range(count):
                stretches.append(base._replace(triples=path, number=number, of=count))
                rows += file_rows // count
                if count > 1 or rows >= ROWS_WANTED or len(stretches) >= FILES_WANTED:
                    close()
    close()
    return parts


def read(
    folder: Path, part: Part, columns: Sequence[str] | None = None
) -> Iterator[tuple[Stretch, pa.Table]]:
    """The triples of a part in order, a stretch at a time."""
    wanted = TRIPLES.names if columns is None else list(columns)
    for stretch in part.stretches:
        table = tables.read(folder / stretch.triples, TRIPLES, sorted({*wanted, *_HISTORY}))
        order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in _HISTORY])
        first, stop = (len(table) * k // stretch.of for k in (stretch.number, stretch.number + 1))
        yield stretch, table.select(wanted).take(order[first:stop])
