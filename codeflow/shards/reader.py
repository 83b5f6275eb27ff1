"""Token shards, read: files that stay on disk and are mapped, one row at a time.

Reading knows the format and not the writer's stage, so that training needs no mining. Opening a
folder reads the footers and the batches' outlines; a row costs some array views, and the operating
system reads its pages when they are used.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeflow.errors import DataError, UsageError
from codeflow.shards.format import Row, described

_LABELS: Final = ("triple_ids", "languages", "kinds", "origins")


class _File:
    """One mapped file; the record batches in use are kept open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = []
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate()
                rows.append(batch.num_rows)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path}: truncated or damaged shard ({reason}); run codeflow tokenize again"
            ) from None
        try:
            self.description = described(reader.schema)
        except ValueError as error:
            raise DataError(f"{path}: {error}; run codeflow tokenize again") from None
        self.starts = [0, *itertools.accumulate(rows)]  # first row of each batch, then the end
        self.batch = functools.lru_cache(maxsize=8)(reader.get_batch)

    @property
    def rows(self) -> int:
        return int(self.starts[-1])

    def row(self, index: int) -> Row:
        number = bisect.bisect_right(self.starts, index) - 1
        batch, i = self.batch(number), index - self.starts[number]
        width = self.description.length
        ids = batch.column("input_ids")
        tokens = ids.values.to_numpy()[(ids.offset + i) * width : (ids.offset + i + 1) * width]
        documents, lengths, weights = (
            batch.column(name)[i].values.to_numpy()
            for name in ("doc_lengths", "run_lengths", "run_weights")
        )
        if documents.sum() != width or lengths.sum() != width or len(lengths) != len(weights):
            raise DataError(f"{self.path}: row {index}: documents or runs do not add up to {width}")
        labels = [tuple(batch.column(name)[i].as_py()) for name in _LABELS]
        if any(len(label) != len(documents) for label in labels):
            raise DataError(f"{self.path}: row {index}: not one label for each document")
        return Row(tokens, documents, lengths, weights, *labels)

    def difficulties(self) -> npt.NDArray[np.float64]:
        return np.concatenate(
            [np.zeros(0), *(_difficulties(self.batch(n)) for n in range(len(self.starts) - 1))]
        )


def _difficulties(batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """By row, the mean length of the runs of tokens that are to be learnt; 0 without any."""
    runs = batch.column("run_lengths")
    lengths = runs.flatten().to_numpy()
    rows = np.repeat(np.arange(len(batch)), runs.value_lengths().to_numpy())
    learnt = batch.column("run_weights").flatten().to_numpy() > 0
    tokens = np.bincount(rows[learnt], lengths[learnt], minlength=len(batch))
    return tokens / np.maximum(np.bincount(rows[learnt], minlength=len(batch)), 1)


class TokenShards(Sequence[Row]):
    """The rows of one split of a token folder, by number.

    Views of the mapped files; to be used by several threads. Sent to another process, it maps the
    files there.

    Attributes:
        path, name: the folder, and its name.
        description: what the files have in common.
    """

    def __init__(self, path: Path | str, split: str = "train") -> None:
        """Maps the files.

        Raises:
            UsageError: the folder has no such split, or no rows in it.
            DataError: a file is damaged or unlike the others.
        """
        self.path, self.split = Path(path), split
        self.name = self.path.name
        paths = sorted(self.path.glob(f"{split}-*.arrow"))
        if not paths:
            remedy = "run codeflow tokenize first"
            if split == "validation" and any(self.path.glob("*.arrow")):
                remedy = "give `codeflow tokenize` a --validation, or the recipe every_steps = 0"
            raise UsageError(f"{self.path}: no {split}-*.arrow in it; {remedy}")
        self._files = [_File(path) for path in paths]
        self._starts = [0, *itertools.accumulate(file.rows for file in self._files)]
        self.description = self._files[0].description
        ours = self.description._asdict()
        for file in self._files:
            for name, value in file.description._asdict().items():
                if value != ours[name]:
                    raise DataError(
                        f"{file.path}: {name} {value}, but {paths[0].name} has {ours[name]}: "
                        "shards of two makings in one folder"
                    )
        if not len(self):
            raise UsageError(f"{self.path}: its {split} shards hold no rows")

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """The row of this number. Raises DataError when its parts do not add up."""
        number = range(len(self))[index]
        if isinstance(number, range):
            return [self[k] for k in number]
        at = bisect.bisect_right(self._starts, number) - 1
        return self._files[at].row(number - self._starts[at])

    def __reduce__(self) -> tuple[type[TokenShards], tuple[Path, str]]:
        return TokenShards, (self.path, self.split)

    def easiest_first(self) -> npt.NDArray[np.int64]:
        """Row numbers by how much is to be written at a stretch: the mean length of their runs of
        weighted tokens, of which every document has at least one. Reads the runs of all rows."""
        hard = np.concatenate([file.difficulties() for file in self._files])
        return np.argsort(hard, kind="stable")

    def path_of(self, index: int) -> Path:
        """The file that holds a row, for messages."""
        return self._files[bisect.bisect_right(self._starts, index) - 1].path

    def describe(self) -> dict[str, Any]:
        """What identifies this data: its rows by file, tokenizer, rendering, dataset."""
        return {
            "files": [[file.path.name, file.rows] for file in self._files],
            "tokenizer": self.description.tokenizer,
            "rendering": self.description.rendering,
            "dataset": self.description.dataset,
        }
