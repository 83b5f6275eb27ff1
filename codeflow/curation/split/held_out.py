"""Which triples are held out for validation: whole repositories, or the end of each of them.

A `Cut` says from where on a repository is held out. Positions say what begins behind it, and the
`commits` of a triple say exactly what begins before it and ends behind it. Dates play no part,
because histories have them out of order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from codeflow.errors import DataError
from codeflow.records import CONTAINED
from codeflow.storage import tables

TRAIN: Final = 0
VALIDATION: Final = 1
STRADDLES: Final = 2

PLACE_COLUMNS: Final = ("position", "commits")


class Cut(NamedTuple):
    """What begins at `position` or later is held out.

    What begins before it and has one of the commits `entered` on its way ends behind it.
    """

    position: float
    entered: tuple[str, ...]


WHOLE: Final = Cut(-1.0, ())
"""Holds out all of a repository."""


class Member(NamedTuple):
    """A repository of a family, and the file of its table `codeflow.records.CONTAINED`."""

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
    inside = pc.is_in(commits.values, value_set=pa.array(cut.entered, pa.string()))
    hits = np.flatnonzero(inside.to_numpy(zero_copy_only=False))
    rows = np.searchsorted(bounds, hits, side="right") - 1
    found[rows[(rows >= 0) & (rows < len(table))]] = STRADDLES
    found[table.column("position").to_numpy() >= cut.position] = VALIDATION
    return found


def last_part(
    positions: npt.NDArray[np.float64], firsts: Sequence[str], share: float, least: int = 0
) -> Cut | None:
    """The cut that holds out the last `share` of some triples; None where that is less than one.

    Triples that begin at one position are never parted, so it may hold out more.

    Args:
        firsts: the first commit of each triple after the one it begins at.
        least: how many to hold out at least, as long as others are left.
    """
    number = min(math.ceil(len(positions) * (1 - share)), len(positions) - least)
    if number >= len(positions):
        return None
    position = float(np.sort(positions)[number])
    if least and position == positions.min():
        return None
    return _cut(positions, firsts, position)


def _cut(positions: npt.NDArray[np.float64], firsts: Sequence[str], position: float) -> Cut:
    here = np.flatnonzero(positions == position).tolist()
    return Cut(position, tuple(sorted({firsts[k] for k in here})))


def last_part_of_family(
    folder: Path,
    members: Sequence[Member],
    starts: Mapping[str, tuple[npt.NDArray[np.float64], Sequence[str]]],
    share: float,
    least: int = 0,
) -> dict[str, Cut]:
    """The cuts that hold out the last `share` of the triples of a family of forks, all together.

    Last is what begins at the highest index of its chain: chains of forks have their indices in
    common up to where they part. A share of each instead would hold out far more: of a fork that is
    ahead, all that lies behind the cut of one that stayed behind.

    Args:
        starts: positions and first commits, as for `last_part`, of the members that have triples.

    Raises:
        DataError: a repository was mined without its commits.
    """
    files = {member.repo: member.contained for member in members}
    indices = {
        repo: _Commits(_read_contained(folder, repo, files[repo])).indices(firsts)
        for repo, (_, firsts) in starts.items()
    }
    pooled = np.concatenate(list(indices.values()))
    found = last_part(pooled, [""] * len(pooled), share, least)
    cuts: dict[str, Cut] = {}
    if found is None:
        return cuts
    for repo, (positions, firsts) in starts.items():
        behind = positions[indices[repo] >= found.position]
        if len(behind):
            cuts[repo] = _cut(positions, firsts, float(behind.min()))
    return cuts


def with_forks(
    folder: Path, cuts: Mapping[str, Cut], families: Iterable[Sequence[Member]]
) -> dict[str, Cut]:
    """Cuts, earlier in a fork that holds held-out commits of another repository.

    It may have branched off behind the cut of the other one, or merged it. From there on all its
    snapshots hold steps that are held out, so what begins there is held out, too. Reads the commits
    of one family at a time.

    Args:
        families: repositories that share a root; two or more each.

    Raises:
        DataError: a repository of a family was mined without its commits.
    """
    result = dict(cuts)
    for members in families:
        commits = {repo: _Commits(_read_contained(folder, repo, path)) for repo, path in members}
        for owner in sorted(commits.keys() & cuts.keys()):
            entered = {commit: commits[owner].place(commit) or 0 for commit in cuts[owner].entered}
            held = min(entered, key=entered.__getitem__)
            for repo, other in commits.items():
                place = other.place(held)
                if repo == owner or place is None:
                    continue
                cut = other.cut_at(place)
                known = result.get(repo, cut)
                if cut.position == known.position:
                    cut = Cut(cut.position, tuple(sorted({*cut.entered, *known.entered})))
                if cut.position <= known.position:
                    result[repo] = cut
    return result


class _Commits:
    """The commits that a repository's head reaches, and where its chain comes to contain them."""

    def __init__(self, contained: pa.Table) -> None:
        self._contained = contained
        self._chain = contained.filter(contained.column("on_chain"))

    def place(self, commit: str) -> int | None:
        """Index on the chain of the first commit that contains this one; None if none does."""
        value = pa.scalar(bytes.fromhex(commit), pa.binary(20))
        row = pc.index(self._contained.column("id"), value).as_py()
        return None if row < 0 else int(self._contained.column("index")[row].as_py())

    def indices(self, commits: Sequence[str]) -> npt.NDArray[np.float64]:
        """Indices of commits of the chain on it."""
        ids = pa.array([bytes.fromhex(commit) for commit in commits], pa.binary(20))
        rows = pc.index_in(ids, value_set=self._chain.column("id").combine_chunks())
        found: npt.NDArray[np.float64] = self._chain.column("index").take(rows).to_numpy()
        return found.astype(np.float64)

    def cut_at(self, place: int) -> Cut:
        """Holds out what begins at a commit of the chain or at the same position.

        What ends at that commit is behind the cut as well, as it holds all that the commit does.
        """
        position = self._chain.column("position")[place].as_py()
        first = pc.index(self._chain.column("position"), position).as_py()
        entered = self._chain.column("id")[min(first + 1, place)].as_py()
        return Cut(float(position), (entered.hex(),))


def _read_contained(folder: Path, repo: str, path: str | None) -> pa.Table:
    if path is None:
        raise DataError(
            f"{repo}: mined without its table of commits, which a split by time needs of forks; "
            "mine again into another folder, or split by family"
        )
    return tables.read(folder / path, CONTAINED)


def by_repository(
    tables: Iterable[pa.Table],
) -> Iterator[tuple[str, npt.NDArray[np.float64], list[str]]]:
    """(repo, positions, first commits) of tables in which a repository's rows are neighbours."""
    repo: str | None = None
    positions: list[npt.NDArray[np.float64]] = []
    firsts: list[str] = []
    for table in tables:
        names = table.column("repo").to_pylist()
        start = 0
        for name, rows in groupby(names):
            count = sum(1 for _ in rows)
            if repo is not None and name != repo:
                yield repo, np.concatenate(positions), firsts
                positions, firsts = [], []
            repo = name
            positions.append(table.column("position").to_numpy()[start : start + count])
            firsts += table.column("first").slice(start, count).to_pylist()
            start += count
    if repo is not None:
        yield repo, np.concatenate(positions), firsts
