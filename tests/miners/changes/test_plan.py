"""Content units: every row once, renames never cut, every blob written by exactly one unit."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeflow.config import MineConfig
from codeflow.storage import files as storage
from codeflow_miners import tables
from codeflow_miners.changes.plan import foreign_blobs, plan_units
from codeflow_miners.changes.renames import FileRow
from codeflow_miners.changes.treediff import Side
from codeflow_miners.contents.unit import ContentArguments, read_content
from codeflow_miners.tables import CHANGES, FOREIGN, STEPS, Change
from gitdag import Repo
from mining import MemorySink

PATHS = st.integers(0, 9).map(lambda n: b"p%d" % n)
SIDES = st.integers(0, 5).map(lambda n: Side(b"100644", b"%020d" % n))


@st.composite
def rows(draw: st.DrawFn) -> list[Change]:
    found = []
    for step in range(-1, draw(st.integers(0, 6))):
        for _ in range(draw(st.integers(0, 6))):
            old, new = draw(SIDES), draw(SIDES)
            a, b = draw(PATHS), draw(PATHS)
            kind = draw(st.sampled_from("AADMR")) if step >= 0 else "A"
            row = {
                "A": FileRow(None, None, b, new),
                "D": FileRow(a, old, None, None),
                "M": FileRow(a, old, a, new),
                "R": FileRow(a, old, b, new),
            }[kind]
            found.append(Change(step, row))
    return found


def path_of(row: FileRow) -> bytes:
    path = row.new_path if row.new_path is not None else row.old_path
    assert path is not None
    return path


@settings(deadline=None)
@given(rows(), st.integers(1, 8))
def test_units_part_the_rows(changes: list[Change], rows_per_unit: int) -> None:
    units = list(plan_units(tables.changes_table(changes), rows_per_unit))
    contents = [list(tables.changes(unit)) for unit in units]
    assert Counter(row for unit in contents for row in unit) == Counter(changes)
    where: dict[bytes, set[int]] = {}
    for number, unit in enumerate(contents):
        for change in unit:
            for path in (change.row.old_path, change.row.new_path):
                if path is not None:
                    where.setdefault(path, set()).add(number)
        newest: dict[bytes, int] = {}
        for change in unit:  # versions of a path come newest first
            assert change.change <= newest.get(path_of(change.row), change.change)
            newest[path_of(change.row)] = change.change
    assert all(len(numbers) == 1 for numbers in where.values()), "a lineage was cut"
    # a unit is closed by the group that fills it, at its even share of all rows
    most = -(-len(changes) // rows_per_unit)
    assert len(units) <= most
    for unit in contents[:-1]:
        assert len(unit) * most >= len(changes)


def test_units_are_much_of_a_length() -> None:
    """Cut whenever a unit is full, the last one would have a tenth of the others' rows."""
    blob = Side(b"100644", b"0" * 20)
    changes = [Change(0, FileRow(None, None, b"p%05d" % k, blob)) for k in range(410)]
    sizes = [len(unit) for unit in plan_units(tables.changes_table(changes), 100)]
    assert sizes == [82] * 5


@given(rows(), st.integers(1, 8))
def test_every_blob_is_one_units_own(changes: list[Change], rows_per_unit: int) -> None:
    units = list(plan_units(tables.changes_table(changes), rows_per_unit))
    owners: Counter[bytes] = Counter()
    for unit, foreign in zip(units, foreign_blobs(units), strict=True):
        blobs = {
            side.blob
            for _, row in tables.changes(unit)
            for side in (row.old, row.new)
            if side is not None
        }
        assert set(foreign.to_pylist()) <= blobs
        owners.update(blobs - set(foreign.to_pylist()))
    every = {s.blob for _, row in changes for s in (row.old, row.new) if s is not None}
    assert owners == Counter(dict.fromkeys(every, 1))


def test_a_wrong_key_cuts_a_lineage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property above can fail: grouped by path alone, a renamed file lies in two units."""
    side = Side(b"100644", b"x" * 20)
    changes = [
        Change(-1, FileRow(None, None, b"a", side)),
        Change(1, FileRow(b"a", side, b"b", side)),
    ]
    monkeypatch.setattr("codeflow_miners.changes.plan.lineages", lambda rows: {})
    with pytest.raises(AssertionError, match="cut"):
        test_units_part_the_rows.hypothesis.inner_test(changes, 1)  # type: ignore[attr-defined]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"b", b".git/c", b"d/.GIT", b"\xff", b"z"]),
            st.sampled_from([b"", b"one\n", b"two\n", b"\0", b"\xff\n", b"x" * 40]),
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda file: file[0],
    )
)
def test_units_write_every_text_once(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[bytes, bytes]]
) -> None:
    """Also when the unit that owns a blob meets it only at a path that the projection refuses."""
    folder = tmp_path_factory.mktemp("units")
    repo = Repo.create(folder / "r.git")
    changes = [
        Change(-1, FileRow(None, None, path, Side(b"100644", bytes.fromhex(repo.blob(content)))))
        for path, content in files
    ]
    units = list(plan_units(tables.changes_table(changes), 1))
    written: Counter[bytes] = Counter()
    for number, (unit, foreign) in enumerate(zip(units, foreign_blobs(units), strict=True)):
        with storage.ipc(folder / f"c{number}", CHANGES) as writer:
            writer.write(unit)
        with storage.ipc(folder / f"f{number}", FOREIGN) as writer:
            writer.write(pa.table([foreign], schema=FOREIGN))
        sink = MemorySink()
        arguments = ContentArguments(
            repo="r",
            git_dir=str(repo.git_dir),
            changes=str(folder / f"c{number}"),
            foreign=str(folder / f"f{number}"),
            source=STEPS,
            pairs=None,
            branches=None,
            headers="C",
            write_blobs=True,
            features=False,
            beside=1,
            config=MineConfig(),
        )
        read_content(arguments, sink)
        written.update(text.encode() for text in sink.tables["blobs"].column("content").to_pylist())
    wanted = {c for p, c in files if p in (b"a", b"b", b"z") and c not in (b"\0", b"\xff\n")}
    texts = {c for _, c in files if c not in (b"\0", b"\xff\n")}
    assert wanted <= set(written) <= texts
    assert set(written.values()) <= {1}
