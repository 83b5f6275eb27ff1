"""Finding the steps of a triple among the row groups of `steps`, which are sorted by triple.

A lookup decodes one row group, or nothing while that is among the last decoded ones. Patches that
stand with a triple of kind commit are put back in their places by whoever owns the triples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeflow.dataset.contents import Shards
from codeflow.errors import DataError

_DECODED_GROUPS = 8


class StepStore:
    """Rows of `steps` by triple."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._decoded: OrderedDict[int, pa.Table] = OrderedDict()

    def rows(self, triple: str) -> list[dict[str, Any]]:
        """The rows of one triple, in order; none where it is not there."""
        found: list[dict[str, Any]] = []
        for number, group in enumerate(self._shards.groups):
            if group.may_hold(triple, triple):
                table = self._table(number)
                found += table.filter(pc.equal(table.column("triple"), triple)).to_pylist()
        return found

    def _table(self, number: int) -> pa.Table:
        if number not in self._decoded:
            self._decoded[number] = self._shards.read(self._shards.groups[number])
            if len(self._decoded) > _DECODED_GROUPS:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(number)
        return self._decoded[number]


def column_of(
    shards: Iterable[Shards], ids: Iterable[str], column: str
) -> Iterator[tuple[str, Any]]:
    """(id, value of a column) of some triples, each row group that may hold any decoded once."""
    wanted = sorted(ids)
    for one in shards:
        for group in one.groups:
            inside = [id for id in wanted if group.may_hold(id, id)]
            if inside:
                table = one.read(group, ["id", column])
                table = table.filter(pc.is_in(table.column("id"), pa.array(inside)))
                yield from zip(*(table.column(n).to_pylist() for n in ("id", column)), strict=True)


def with_patches(rows: list[dict[str, Any]], patches: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of steps with the patches that stand elsewhere.

    Raises:
        DataError: one is not there.
    """
    for row in rows:
        if row["patch"] is None:
            if row["same_as"] not in patches:
                where = f"step {row['index']} of triple {row['triple']}"
                raise DataError(f"{where}: its patch is that of {row['same_as']}, which is missing")
            row["patch"] = patches[row["same_as"]]
    return rows
