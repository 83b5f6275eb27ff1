"""A dataset as a program meets it: read, and all that a command does with one.

Reading is `codeflow.dataset.reader`; here is what `codeflow verify`, `checkout` and `report` do
besides, and what a notebook shows. Like a command, each loads what it needs when it is used, so
that opening a dataset to read it costs nothing of this.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from codeflow.dataset import reader
from codeflow.triple import Triple

if TYPE_CHECKING:
    from codeflow.dataset.checkout import Checkout
    from codeflow.dataset.verify_report import Report


class Dataset(reader.Dataset):
    """A published dataset. Made by `codeflow.open`.

    A sequence of its triples in stored order: train, then validation, each by id. One of them
    costs the decoding of a row group, unless it lies beside the one before; to read many, iterate.

    A pickle holds the folder and which state of it was open, and no data: another process, or
    another machine, opens it again at the first use, once for all of its triples.
    """

    def verify(self, *, workers: int | None = 1) -> Report:
        """Replays every triple and checks every hash, without git, as `codeflow verify`.

        Args:
            workers: processes to work in; None for as many as the dataset is worth. The report is
                the same.

        Returns:
            what was looked at, `problems` with file and place, and `ok`.
        """
        from codeflow.dataset.verify import verify

        return verify(self.folder, workers=workers)

    def checkout(self, id: str, side: str, to: str | os.PathLike[str]) -> Checkout:
        """Writes one side of a triple to a new folder, as `codeflow checkout`.

        Args:
            id: of the triple, or the beginning of it.
            side: `old` or `new`: before or after the change.
            to: a folder that is new or empty.

        Raises:
            UsageError: the side does not exist, or the folder is in use.
            DataError: no triple, or more than one; a name may not be written to a disk.
            CodeflowError: the place is full or cannot be written to. Nothing is left behind then.
        """
        from codeflow.dataset.checkout import checkout

        return checkout(self, self.triple(id), side, to)

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Writes the page that shows the dataset and the runs trained on it, as `codeflow report`.

        Args:
            out: the page; by default `report.html` in the folder.

        Returns:
            the path of the page.

        Raises:
            DataError: the dataset is damaged, or the page cannot be written.
            UsageError: a dataset at a URL without `out`.
        """
        from codeflow.terminal.report.writer import write

        return write(self._place.url or self.folder, None if out is None else Path(out))

    def triple_html(self, triple: Triple) -> str:
        """What a notebook shows of one of its triples."""
        from codeflow.terminal.notebook import triple_html

        return triple_html(triple)

    def _repr_html_(self) -> str:
        from codeflow.terminal.notebook import dataset_html

        return dataset_html(self)


def open(path: str | os.PathLike[str]) -> Dataset:
    """Opens a dataset folder for reading; of a dataset at a URL, a copy in the local cache.

    Raises:
        DataError: it is not a dataset, is damaged, or is of another schema version.
    """
    return Dataset.at(path)
