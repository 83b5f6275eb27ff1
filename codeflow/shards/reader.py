"""Token shards, read: Arrow IPC files that stay on disk and are mapped, one row at a time.

A row is one packed sequence of exactly T tokens. A file's schema metadata holds one JSON object,
`codeflow.tokens`: `version`, `length` (T), the `tokenizer`'s hash, `vocab_size`, `rendering` and
`dataset`. This reader knows the format and not its writer, so that training needs no mining.
Opening a folder reads the footers alone; a row costs one copy of its T tokens.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from codeflow.errors import DataError, UsageError
from codeflow.storage.layout import TOKENS

METADATA: Final = b"codeflow.tokens"
VERSION: Final = 1
_KEYS: Final = ("length", "tokenizer", "vocab_size", "rendering", "dataset")
REQUIRED: Final = ("input_ids", "doc_lengths", "run_lengths", "run_weights")


@dataclass(frozen=True)
class Row:
    """One packed sequence. `weights` is what each token counts as a target, (T,) float32."""

    input_ids: npt.NDArray[np.int64]
    doc_lengths: tuple[int, ...]
    weights: npt.NDArray[np.float32]
    languages: tuple[str, ...]
    kinds: tuple[str, ...]


class _File:
    """One mapped file; the record batches in use are kept open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            rows = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        except FileNotFoundError:
            raise DataError(f"{path}: no such shard") from None
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path}: truncated or damaged shard ({reason}); write it again"
            ) from None
        names = reader.schema.names
        absent = [name for name in REQUIRED if name not in names]
        if absent:
            raise DataError(f"{path}: no column {absent[0]!r}; not a shard of packed tokens")
        try:
            metadata = json.loads((reader.schema.metadata or {})[METADATA])
            self.metadata = {key: metadata[key] for key in _KEYS}
            version = metadata["version"]
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"{path}: no codeflow.tokens metadata; not a shard of packed tokens"
            ) from None
        if version != VERSION:
            raise DataError(f"{path}: format {version!r}, this version reads {VERSION}")
        self.labels = tuple(name in names for name in ("languages", "kinds"))
        self.starts = [0, *itertools.accumulate(rows)]  # first row of each batch, then the end
        self.batch = functools.lru_cache(maxsize=8)(reader.get_batch)

    @property
    def rows(self) -> int:
        return int(self.starts[-1])

    def row(self, index: int) -> Row:
        number = bisect.bisect_right(self.starts, index) - 1
        batch = self.batch(number)
        i = index - self.starts[number]
        ids = batch.column("input_ids")
        width = ids.type.list_size
        tokens = ids.values.to_numpy()[(ids.offset + i) * width : (ids.offset + i + 1) * width]
        documents = tuple(batch.column("doc_lengths")[i].values.to_pylist())
        lengths = batch.column("run_lengths")[i].values.to_numpy()
        weights = batch.column("run_weights")[i].values.to_numpy()
        if sum(documents) != width or lengths.sum() != width or len(lengths) != len(weights):
            raise DataError(f"{self.path}: row {index}: documents or runs do not add up to {width}")
        languages, kinds = (
            tuple(label or "" for label in batch.column(name)[i].as_py() or ()) if there else ()
            for name, there in zip(("languages", "kinds"), self.labels, strict=True)
        )
        per_token = np.repeat(weights.astype(np.float32), lengths)
        return Row(tokens.astype(np.int64), documents, per_token, languages, kinds)

    def difficulties(self) -> npt.NDArray[np.float64]:
        return np.concatenate([_difficulties(self.batch(n)) for n in range(len(self.starts) - 1)])


def _difficulties(batch: pa.RecordBatch) -> npt.NDArray[np.float64]:
    """By row, the mean length of the runs of tokens that are to be learnt; 0 without any."""
    runs = batch.column("run_lengths")
    lengths = runs.flatten().to_numpy()
    rows = np.repeat(np.arange(len(batch)), runs.value_lengths().to_numpy())
    learnt = batch.column("run_weights").flatten().to_numpy() > 0
    tokens = np.bincount(rows[learnt], lengths[learnt], minlength=len(batch))
    return tokens / np.maximum(np.bincount(rows[learnt], minlength=len(batch)), 1)


class Source:
    """All files of one split in one `tokens/NAME` folder, as one sequence of rows.

    Raises:
        UsageError: no such folder or split, or rows of another length than asked for.
        DataError: a file is damaged, or two files disagree on their tokenizer.
    """

    def __init__(self, folder: Path, split: str, sequence_tokens: int) -> None:
        self.name = folder.name
        self.folder = folder
        paths = sorted(folder.glob(f"{split}-*.arrow"))
        if not paths:
            raise UsageError(f"{folder}: no {split}-*.arrow in it; run codeflow tokenize first")
        self.files = [_File(path) for path in paths]
        self.starts = [0, *itertools.accumulate(file.rows for file in self.files)]
        self.tokenizer = self.files[0].metadata["tokenizer"]
        for file in self.files:
            if file.metadata["tokenizer"] != self.tokenizer:
                raise DataError(
                    f"{file.path}: tokenizer {file.metadata['tokenizer']}, but {paths[0].name} "
                    f"has {self.tokenizer}: shards of two tokenizers in one folder"
                )
            if file.metadata["length"] != sequence_tokens:
                raise UsageError(
                    f"{file.path}: rows of {file.metadata['length']} tokens, the recipe's "
                    f"batch.sequence_tokens is {sequence_tokens}"
                )
        if not len(self):
            raise UsageError(f"{folder}: its {split} shards hold no rows")

    def __len__(self) -> int:
        return self.starts[-1]

    def row(self, index: int) -> Row:
        number = bisect.bisect_right(self.starts, index) - 1
        return self.files[number].row(index - self.starts[number])

    def easiest_first(self) -> npt.NDArray[np.int64]:
        """Row numbers by how much is to be written at a stretch: the mean length of their runs of
        weighted tokens, of which every document has at least one. Reads the runs of all rows."""
        hard = np.concatenate([file.difficulties() for file in self.files])
        return np.argsort(hard, kind="stable")

    def path_of(self, index: int) -> Path:
        """The file that holds a row, for messages."""
        return self.files[bisect.bisect_right(self.starts, index) - 1].path

    def describe(self) -> dict[str, Any]:
        """What identifies this data: its rows by file, tokenizer, rendering, dataset."""
        first = self.files[0].metadata
        return {
            "files": [[file.path.name, file.rows] for file in self.files],
            "tokenizer": self.tokenizer,
            "rendering": first["rendering"],
            "dataset": first["dataset"],
        }


def open_sources(
    data: Path, names: tuple[str, ...], split: str, sequence_tokens: int, tokenizer: str
) -> tuple[Source, ...]:
    """The named folders below `data/tokens`, all of one tokenizer.

    Args:
        tokenizer: the hash they must have, or empty for whichever they share.
    """
    absent = missing(data, names)
    if absent:
        raise UsageError(f"{data}: no token folders {', '.join(absent)} in {data / 'tokens'}")
    sources = tuple(Source(data / TOKENS / name, split, sequence_tokens) for name in names)
    wanted = tokenizer or sources[0].tokenizer
    for source in sources:
        if source.tokenizer != wanted:
            raise UsageError(
                f"{source.folder}: made with tokenizer {source.tokenizer}, this run needs {wanted}"
            )
    return sources


def check_vocabulary(sources: tuple[Source, ...], vocab_size: int) -> None:
    """Raises UsageError when a tokenizer has more tokens than the model has."""
    for source in sources:
        has = max(file.metadata["vocab_size"] for file in source.files)
        if has > vocab_size:
            raise UsageError(
                f"{source.folder}: its tokenizer has {has:,} tokens, the recipe's model "
                f"{vocab_size:,}: set model.overrides.vocab_size = {has}, or run codeflow tokenize "
                "with a smaller tokenizer"
            )


def missing(data: Path, names: tuple[str, ...]) -> list[str]:
    """Those of the named token folders that are not there."""
    return [name for name in names if not (data / TOKENS / name).is_dir()]


def data_hash(sources: tuple[Source, ...]) -> str:
    """Identity of the rows that a run reads, by order and number."""
    text = json.dumps({source.name: source.describe() for source in sources}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
