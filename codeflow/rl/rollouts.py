"""Rollouts as files: what was sampled for a batch, and what the grader said of it.

    RUN/rollouts/step-00000009.arrow      the batch that step 9 is the first to learn from

Which replies share a batch decides how their log-probabilities round, and a grader may be random:
neither can be made again to the bit. So a run that is resumed reads what it had, and takes the same
steps. A file is complete or not there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from codeflow.errors import DataError
from codeflow.storage.files import replacing
from codeflow.storage.layout import ROLLOUTS

_METADATA: Final = b"codeflow.rollouts"
_VERSION: Final = 1


@dataclass(frozen=True)
class Rollout:
    """One reply: whose it is, its tokens with their chances, which of them are trained, and its
    reward (None: the grader could not tell) before any penalty."""

    group: int
    sample: int
    prompt: int
    seed: int
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logps: tuple[float, ...]
    mask: tuple[bool, ...]
    finish_reason: str
    reward: float | None
    verdict: str


SCHEMA: Final = pa.schema(
    [
        pa.field("group", pa.int32(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("prompt", pa.int64(), nullable=False),
        pa.field("seed", pa.uint64(), nullable=False),
        pa.field("prompt_ids", pa.list_(pa.uint32()), nullable=False),
        pa.field("ids", pa.list_(pa.uint32()), nullable=False),
        pa.field("logps", pa.list_(pa.float32()), nullable=False),
        pa.field("mask", pa.list_(pa.bool_()), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("reward", pa.float64()),
        pa.field("verdict", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Batch:
    """The rollouts of one batch, the prompts taken before and after it, and how long they took."""

    rollouts: tuple[Rollout, ...]
    taken_before: int
    taken_after: int
    sampling_s: float
    grading_s: float


def path_of(run: Path, step: int) -> Path:
    """Of the batch that `step` (1, 2, ...) is the first to learn from."""
    return run / ROLLOUTS / f"step-{step:08}.arrow"


def write(path: Path, batch: Batch) -> None:
    about = {"version": _VERSION, **_about(batch)}
    schema = SCHEMA.with_metadata({_METADATA: json.dumps(about)})
    rows = [asdict(rollout) for rollout in batch.rollouts]
    columns = [pa.array([row[f.name] for row in rows], type=f.type) for f in SCHEMA]
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        writer.write_batch(pa.record_batch(columns, schema=schema))


def read(path: Path) -> Batch:
    """Raises DataError that names a file which is damaged or something else."""
    try:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
            about = json.loads((reader.schema.metadata or {})[_METADATA])
            if about.pop("version") != _VERSION:
                raise ValueError("of another version")
            rows = reader.read_all().to_pylist()
        return Batch(tuple(_rollout(row) for row in rows), **about)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: damaged: {said}; remove it to sample that batch anew") from None


def _about(batch: Batch) -> dict[str, Any]:
    return {k: v for k, v in vars(batch).items() if k != "rollouts"}


def _rollout(row: dict[str, Any]) -> Rollout:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return Rollout(**values)


def by_group(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    """In the order they were sampled."""
    groups: dict[int, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.group, []).append(rollout)
    return list(groups.values())
