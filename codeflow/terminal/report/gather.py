"""What was published, counted for the report in one pass over the triples.

Reads every column that is drawn, the patches for their lengths included: about the cost of reading
the folder's `triples/` once. Memory is four small integers a triple and some counters a repository;
no text is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.reader import Dataset

POSITION_BINS = 40
MEASURES = ("files", "lines", "bytes", "commits")
_COLUMNS = (
    "repo kind language license author_kind position window_by additions deletions commits files "
    "patch weight"
)

Ints = npt.NDArray[np.int64]


@dataclass
class Published:
    """Counts of the published triples.

    Attributes:
        window: the part of a project's life that `positions` and `by_repo` are bins of.
        positions: by kind, triples in each of `POSITION_BINS` bins of the window.
        by_repo: the same by repository.
        sizes: by measure and kind, a value a triple.
        authors_of: triples by repository and author kind.
        told: by repository, the beginnings of the ids of the commits that are in some triple.
        weight: sum of the weights.
    """

    window: tuple[float, float]
    window_by: set[str] = field(default_factory=set)
    splits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    repos: Counter[tuple[str, str]] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    licenses_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    authors: Counter[str] = field(default_factory=Counter)
    authors_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    told: dict[str, set[int]] = field(default_factory=dict)
    positions: dict[str, Ints] = field(default_factory=dict)
    by_repo: dict[str, Ints] = field(default_factory=dict)
    sizes: dict[str, dict[str, Ints]] = field(default_factory=dict)
    weight: float = 0.0
    blobs: int = 0
    content_bytes: int = 0
    stored_bytes: int = 0

    @property
    def triples(self) -> int:
        return self.kinds.total()


def gather(dataset: Dataset) -> Published:
    """Counts everything that is published in a folder."""
    found = Published(_window(dataset.manifest))
    sizes: dict[str, dict[str, list[Ints]]] = {name: {} for name in MEASURES}
    for split, shards in dataset.triple_shards.items():
        for group in shards.groups:
            table = shards.read(group, _COLUMNS.split())
            _count(found, split, table)
            for name, values in _sizes(table).items():
                kinds = np.asarray(table.column("kind").to_pylist(), dtype=object)
                for kind in sorted(set(kinds)):
                    sizes[name].setdefault(kind, []).append(values[kinds == kind])
    found.sizes = {
        name: {kind: np.concatenate(parts) for kind, parts in sorted(kinds.items())}
        for name, kinds in sizes.items()
    }
    for group in dataset.blob_shards.groups:
        column = dataset.blob_shards.read(group, ["size_bytes"]).column("size_bytes")
        found.blobs += group.rows
        found.content_bytes += pc.sum(column.cast(pa.int64())).as_py() or 0
    found.stored_bytes = sum(file.bytes for file in dataset.listed)
    return found


def _window(manifest: Mapping[str, Any]) -> tuple[float, float]:
    """The configured window; a folder that does not say has positions all over."""
    try:
        window = manifest["config"]["window"]
        start, stop = float(window["start"]), float(window["stop"])
    except (KeyError, TypeError, ValueError):
        return 0.0, 1.0
    return (start, stop) if 0 <= start < stop <= 1 else (0.0, 1.0)


def _count(found: Published, split: str, table: pa.Table) -> None:
    kinds = table.column("kind").to_pylist()
    repos = table.column("repo").to_pylist()
    licenses = [value or "unknown" for value in table.column("license").to_pylist()]
    found.splits[split] += len(kinds)
    found.kinds.update(kinds)
    found.repos.update(zip(repos, kinds, strict=True))
    found.languages.update(value or "unknown" for value in table.column("language").to_pylist())
    found.licenses.update(licenses)
    found.licenses_of.update(zip(repos, licenses, strict=True))
    authors = table.column("author_kind").to_pylist()
    found.authors.update(authors)
    found.authors_of.update(zip(repos, authors, strict=True))
    for repo, commits in zip(repos, table.column("commits").to_pylist(), strict=True):
        found.told.setdefault(repo, set()).update(int(commit[:15], 16) for commit in commits)
    found.window_by.update(table.column("window_by").to_pylist())
    found.weight += float(pc.sum(table.column("weight").cast(pa.float64())).as_py() or 0.0)
    start, stop = found.window
    share = (table.column("position").to_numpy() - start) / (stop - start)
    bins = np.clip((share * POSITION_BINS).astype(np.int64), 0, POSITION_BINS - 1)
    for names, counted in ((kinds, found.positions), (repos, found.by_repo)):
        named = np.asarray(names, dtype=object)
        for name in sorted(set(names)):
            hits = np.bincount(bins[named == name], minlength=POSITION_BINS)
            counted[name] = counted.get(name, np.zeros(POSITION_BINS, np.int64)) + hits


def _sizes(table: pa.Table) -> dict[str, Ints]:
    columns = {
        "files": pc.list_value_length(table.column("files")),
        "lines": pc.add(table.column("additions"), table.column("deletions")),
        "bytes": pc.binary_length(table.column("patch")),
        "commits": pc.list_value_length(table.column("commits")),
    }
    return {name: column.to_numpy().astype(np.int64) for name, column in columns.items()}
