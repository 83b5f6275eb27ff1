"""Which triples are held out for validation: whole repositories, or the end of each of them.

A `Cut` says from where on a repository is held out. Positions say what begins behind it, and
`commits` says exactly what begins before it and ends behind it: such a triple goes past the commit
of the cut. Dates play no part, because histories have them out of order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codeflow.errors import DataError

TRAIN: Final = 0
VALIDATION: Final = 1
STRADDLES: Final = 2

PLACE_COLUMNS: Final = ("position", "commits")


class Cut(NamedTuple):
    """What begins at `position` or later is held out; `commits` are those of that position."""

    position: float
    commits: tuple[str, ...]


WHOLE: Final = Cut(-1.0, ())
"""Holds out all of a repository."""


class Chain(NamedTuple):
    """A repository, and the file of its table `codeflow.records.CONTAINED`."""

    repo: str
    contained: str | None


def places(table: pa.Table, cut: Cut | None) -> npt.NDArray[np.int8]:
    """TRAIN, VALIDATION or STRADDLES for triples of one repository.

    Args:
        table: with `PLACE_COLUMNS`.
        cut: None where nothing is held out.
    """
    found = np.full(len(table), TRAIN, np.int8)
    if cut is None:
        return found
    commits = table.column("commits").combine_chunks()
    bounds = commits.offsets.to_numpy()
    passed = pc.is_in(commits.values, value_set=pa.array(cut.commits, pa.string()))
    hits = np.flatnonzero(passed.to_numpy(zero_copy_only=False))
    rows = np.searchsorted(bounds, hits, side="right") - 1
    inside = (rows >= 0) & (rows < len(table))
    hits, rows = hits[inside], rows[inside]
    found[rows[hits < bounds[rows + 1] - 1]] = STRADDLES  # ends behind it, not at it
    found[table.column("position").to_numpy() >= cut.position] = VALIDATION
    return found


def last_part(
    positions: npt.NDArray[np.float64], commits: Sequence[str], share: float
) -> Cut | None:
    """The cut that holds out the last `share` of some starts; None where that is less than one.

    Starts at one position are never parted, so it may hold out more.
    """
    first = math.ceil(len(positions) * (1 - share))
    if first >= len(positions):
        return None
    position = float(np.sort(positions)[first])
    return Cut(
        position,
        tuple(sorted({commits[k] for k in np.flatnonzero(positions == position).tolist()})),
    )


def with_forks(
    folder: Path, cuts: Mapping[str, Cut], families: Iterable[Sequence[Chain]]
) -> dict[str, Cut]:
    """Cuts, earlier in a fork that branched off behind the cut of another repository.

    All that begins behind that cut in the fork holds the held-out steps of the other one in its
    snapshots. Reads two columns of the chains of a family at a time.

    Args:
        families: repositories that share a root; two or more each.

    Raises:
        DataError: a repository of a family was mined without its chain.
    """
    result = dict(cuts)
    for members in families:
        chains = {repo: _read_chain(folder, repo, path) for repo, path in members}
        for owner in sorted(chains.keys() & cuts.keys()):
            own = chains[owner]
            first = min(own.numbers[commit] for commit in cuts[owner].commits)
            held = own.ids[first + 1]  # where the first held-out step ends
            for repo, other in chains.items():
                if repo == owner or held not in other.numbers:
                    continue
                position = float(other.positions[other.numbers[held] - 1])
                if repo not in result or position < result[repo].position:
                    here = np.flatnonzero(other.positions == position).tolist()
                    result[repo] = Cut(position, tuple(sorted(other.ids[k] for k in here)))
    return result


class _Commits(NamedTuple):
    """A chain as read: ids and positions by number, numbers by id."""

    ids: list[str]
    positions: npt.NDArray[np.float64]
    numbers: dict[str, int]


def _read_chain(folder: Path, repo: str, path: str | None) -> _Commits:
    if path is None:
        raise DataError(
            f"{repo}: mined without its chain of commits, which a split by time needs of forks; "
            "mine again into another folder, or split by family"
        )
    table = pq.read_table(
        folder / path, columns=["id", "position"], filters=pc.field("on_chain"), use_threads=False
    )
    ids = [id.hex() for id in table.column("id").to_pylist()]
    numbers = {commit: number for number, commit in enumerate(ids)}
    return _Commits(ids, table.column("position").to_numpy(), numbers)


def by_repository(
    tables: Iterable[pa.Table],
) -> Iterator[tuple[str, npt.NDArray[np.float64], list[str]]]:
    """(repo, positions, old commits) of tables in which a repository's rows are neighbours."""
    repo: str | None = None
    positions: list[npt.NDArray[np.float64]] = []
    commits: list[str] = []
    for table in tables:
        names = table.column("repo").to_pylist()
        starts = [k for k in range(len(names)) if not k or names[k] != names[k - 1]]
        for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
            if repo is not None and names[start] != repo:
                yield repo, np.concatenate(positions), commits
                positions, commits = [], []
            repo = names[start]
            positions.append(table.column("position").to_numpy()[start:stop])
            commits += table.column("old_commit").slice(start, stop - start).to_pylist()
    if repo is not None:
        yield repo, np.concatenate(positions), commits
