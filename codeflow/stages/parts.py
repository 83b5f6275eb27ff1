"""What was mined, cut into the pieces that every later stage works on.

A *part* is a run of row groups of mined triples: small repositories share one, a large one has
several. The cut depends on what was mined alone, so part k of one stage's decisions has the same
rows in the same order as part k of every other's, and of the triples themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.records import TRIPLES

ROWS_WANTED = 2048
FILES_WANTED = 256


class Piece(NamedTuple):
    """Some row groups of one file of mined triples, and where its repository's contents are.

    Paths are relative to the dataset folder; `contained` is the file of that table of records, and
    `siblings` are all files of triples of the repository.
    """

    repo: str
    triples: str
    groups: tuple[int, ...]
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    contained: str | None
    siblings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One piece of work of a stage; `name` is that of its file of decisions."""

    number: int
    pieces: tuple[Piece, ...]

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
    pieces: list[Piece] = []
    rows = 0

    def close() -> None:
        nonlocal pieces, rows
        if pieces:
            parts.append(Part(len(parts), tuple(pieces)))
        pieces, rows = [], 0

    for repo, tables in repositories:
        base = Piece(
            repo=repo,
            triples="",
            groups=(),
            blobs=tuple(tables.get("blobs", ())),
            trees=tuple(tables.get("trees", ())),
            contained=next(iter(tables.get("contained", ())), None),
            siblings=tuple(tables.get("triples", ())),
        )
        for path in base.siblings:
            metadata = pq.read_metadata(folder / path)
            groups: list[int] = []
            for number in range(metadata.num_row_groups):
                groups.append(number)
                rows += metadata.row_group(number).num_rows
                if rows >= ROWS_WANTED:
                    pieces.append(base._replace(triples=path, groups=tuple(groups)))
                    groups = []
                    close()
            if groups:
                pieces.append(base._replace(triples=path, groups=tuple(groups)))
            if len(pieces) >= FILES_WANTED:
                close()
    close()
    return parts


def read(
    folder: Path, part: Part, columns: Sequence[str] | None = None
) -> Iterator[tuple[Piece, pa.Table]]:
    """The triples of a part in order, a row group at a time."""
    for piece in part.pieces:
        with pq.ParquetFile(folder / piece.triples) as file:
            for number in piece.groups:
                table = file.read_row_group(
                    number, columns=None if columns is None else list(columns), use_threads=False
                )
                names = TRIPLES.names if columns is None else list(columns)
                yield piece, table.select(names)
