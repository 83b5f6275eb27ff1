"""What was mined, cut into the pieces that every later stage works on.

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


class Piece(NamedTuple):
    """A stretch of one file of mined triples, and where its repository's contents are.

    Of the file's rows in the order of history, cut into `stretches` of nearly equal length, it is
    number `stretch`, from 0. Paths are relative to the dataset folder; `contained` is the file of
    that table of records, `siblings` are all files of triples of the repository, and `steps` those
    of their steps.
    """

    repo: str
    triples: str
    stretch: int
    stretches: int
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    contained: str | None
    siblings: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


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

    for repo, files in repositories:
        base = Piece(
            repo=repo,
            triples="",
            stretch=0,
            stretches=1,
            blobs=tuple(files.get("blobs", ())),
            trees=tuple(files.get("trees", ())),
            contained=next(iter(files.get("contained", ())), None),
            siblings=tuple(files.get("triples", ())),
            steps=tuple(files.get("steps", ())),
        )
        for path in base.siblings:
            count = tables.rows(folder / path)
            stretches = -(-count // ROWS_WANTED)
            for stretch in range(stretches):
                piece = base._replace(triples=path, stretch=stretch, stretches=stretches)
                pieces.append(piece)
                rows += count // stretches
                if stretches > 1 or rows >= ROWS_WANTED or len(pieces) >= FILES_WANTED:
                    close()
    close()
    return parts


def read(
    folder: Path, part: Part, columns: Sequence[str] | None = None
) -> Iterator[tuple[Piece, pa.Table]]:
    """The triples of a part in order, a piece at a time."""
    wanted = TRIPLES.names if columns is None else list(columns)
    for piece in part.pieces:
        table = tables.read(folder / piece.triples, TRIPLES, sorted({*wanted, *_HISTORY}))
        order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in _HISTORY])
        first, stop = (
            len(table) * k // piece.stretches for k in (piece.stretch, piece.stretch + 1)
        )
        yield piece, table.select(wanted).take(order[first:stop])
