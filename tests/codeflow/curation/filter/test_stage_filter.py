"""The filter stage, run for real: what a filter may say, look at and cost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

import codeflow
import faults
from codeflow import Triple, Verdict, drop, keep
from codeflow.contracts import CONTENTS, Cost
from codeflow.curation.mined_reader import MinedReader
from codeflow.dataset.verify import verify
from codeflow.errors import UsageError
from small_history import environment
from staged import WHOLE, by_id, even, ledger


def test_a_function_keeps_and_drops_what_it_says(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = codeflow.mine(listing, out, until="filter", filters=[even], config=WHOLE)
    all_of_it, kept = by_id(everything), by_id(out)
    odd = {id for id, t in all_of_it.items() if (t.additions + t.deletions) % 2}
    rows = ledger(out, "filter")
    assert len(odd) > 10
    assert {row["rule"] for row in rows} == {"even/odd"}
    assert rows[0]["detail"].endswith(" lines")
    assert len(rows) == len(odd)
    straddling = len(ledger(out, "split"))
    assert len(kept) == len(all_of_it) - len(odd) - straddling
    assert not odd & kept.keys()
    for triple in kept.values():
        assert triple.scores["lines"] == triple.additions + triple.deletions
        assert triple.patch == all_of_it[triple.id].patch
    assert summary.stages[0][:] == ("filter", len(all_of_it), len(all_of_it) - len(odd))
    assert verify(out).ok


def test_only_what_published_triples_reach_is_published(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    """Against a plain walk over both snapshots of every kept triple and of its steps."""

    def few(triple: Triple) -> Verdict:
        return keep() if triple.id[0] in "01" else drop("others")

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[few], config=WHOLE)
    blobs, trees = set(), set()
    kept: list[Any] = list(codeflow.open(out).triples())
    kept += [step for triple in kept if triple.kind != "commit" for step in triple.steps]
    for triple in kept:
        for snapshot, root in (
            (triple.old_repo, triple.old_tree),
            (triple.new_repo, triple.new_tree),
        ):
            pending = [root]
            while pending:
                tree = pending.pop()
                trees.add((triple.repo, tree))
                for entry in snapshot.directory(tree):
                    if entry.is_tree:
                        pending.append(entry.id)
                    else:
                        blobs.add((triple.repo, entry.id))
    for name, reached in (("blobs", blobs), ("trees", trees)):
        table = pq.read_table(out / name, columns=["repo", "id"])
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        assert len(rows) == len(set(rows))
        assert set(rows) == reached
        assert len(rows) < pq.read_table(everything / name, columns=["id"]).num_rows


@dataclass(frozen=True)
class Halves:
    """A filter whose two reasons are not equally well explained."""

    why: ClassVar[str] = "one of two halves"
    reasons: ClassVar[dict[str, str]] = {"lower": "its id begins low"}

    def __call__(self, triple: Triple) -> Verdict:
        return drop("lower" if triple.id < "8" else "upper")


def test_each_reason_is_told_in_its_own_words(listing: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = codeflow.mine(listing, out, until="filter", filters=[Halves()], config=WHOLE)
    told = {"Halves/lower": "its id begins low", "Halves/upper": "one of two halves"}
    assert {row["rule"]: row["reason"] for row in ledger(out, "filter")} == told
    assert {row.rule: row.reason for row in summary.left_out if row.stage == "filter"} == told


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"why": None}, "`why` is a line of text"),
        ({"reasons": "lower"}, "`why` is a line of text"),
        ({"reasons": {"lower": 1}}, "`why` is a line of text"),
        ({"reads": 5}, "`reads` is 5; give a set"),
        ({"reads": "patch"}, "`reads` is 'patch'; give a set"),
        ({"reads": {"pach"}}, "reads .*pach.* is none"),
        ({"cost": "free"}, "cost 'free' is none"),
    ],
)
def test_what_is_said_of_a_filter_is_checked(
    listing: Path, tmp_path: Path, wrong: dict[str, object], says: str
) -> None:
    made = type("Silent", (Halves,), wrong)()
    with pytest.raises(UsageError, match=f"filter Silent: {says}"):
        codeflow.mine(listing, tmp_path / "out", filters=[made], config=WHOLE)


@dataclass(frozen=True)
class Watched:
    """Notes what it is given; `reads` and `cost` say what that may be."""

    why: ClassVar[str] = "nothing"
    cost: ClassVar[Cost] = "columns"
    reads: ClassVar[frozenset[str]] = frozenset({"language"})
    seen: ClassVar[list[str]] = []

    def __call__(self, triple: Triple) -> Verdict:
        Watched.seen.append(f"{type(self).__name__} {triple.id}")
        return self.judge(triple)

    def judge(self, triple: Triple) -> Verdict:
        assert triple.language is None or triple.language
        with pytest.raises(AttributeError, match="was not read"):
            _ = triple.patch
        return keep() if triple.id < "8" else drop("upper-half")


class Dear(Watched):
    """Looks at contents, after everything else."""

    cost: ClassVar[Cost] = "contents"
    reads: ClassVar[frozenset[str]] = frozenset({"files", CONTENTS})

    def judge(self, triple: Triple) -> Verdict:
        for change in triple.files:
            old, new = triple.contents(change)
            assert (old is None) == (change.old_blob is None)
            assert (new is None) == (change.new_blob is None)
            if new is not None and change.new_path is not None:
                assert triple.new_repo[change.new_path] == new
        return keep()


def test_cheap_filters_run_before_dear_ones_and_nothing_is_read_for_them(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    Watched.seen.clear()
    codeflow.mine(
        listing, tmp_path / "out", until="filter", filters=[Dear(), Watched()], config=WHOLE
    )
    ids = by_id(everything).keys()
    seen = Counter(line.split()[0] for line in Watched.seen)
    assert seen == {"Watched": len(ids), "Dear": sum(id < "8" for id in ids)}


class Sparing(Dear):
    """Reads all contents, but says so only of the old ones, and fails to say it of some."""

    asked: ClassVar[list[str]] = []

    def wants(self, triple: Triple) -> list[str]:
        Sparing.asked.append(triple.id)
        if triple.id < "2":
            raise ValueError("no idea")
        return [change.old_blob for change in triple.files if change.old_blob is not None]


def test_only_what_is_wanted_is_read_ahead_and_the_rest_all_the_same(
    listing: Path, everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: set[str] = set()
    read = MinedReader._read

    def watched(reader: MinedReader, chunk: list[Triple], wanted: set[str]) -> list[Triple]:
        ahead.update(wanted)
        return read(reader, chunk, wanted)

    monkeypatch.setattr(MinedReader, "_read", watched)
    Watched.seen.clear()
    Sparing.asked.clear()
    codeflow.mine(listing, tmp_path / "out", until="filter", filters=[Sparing()], config=WHOLE)
    triples = by_id(everything)
    assert Counter(line.split()[1] for line in Watched.seen) == Counter(triples.keys())
    assert Counter(Sparing.asked) == Counter(triples.keys())
    expected = {
        id
        for triple in triples.values()
        for change in triple.files
        for id in (change.old_blob, change.new_blob if triple.id < "2" else None)
        if id is not None
    }
    assert ahead == expected
    for name in {triple.repo for triple in triples.values()}:
        mine = [triples[key] for key in Sparing.asked if triples[key].repo == name]
        positions = [(triple.position, triple.id) for triple in mine]
        assert positions == sorted(positions)  # the order of history


def test_a_function_with_another_threshold_is_run_again(listing: Path, tmp_path: Path) -> None:
    class Few:
        """Keeps what changes at most so many files."""

        def __init__(self, most: int) -> None:
            self.most = most

        def __call__(self, triple: Triple) -> Verdict:
            return keep() if len(triple.files) <= self.most else drop("many")

    def kept(most: int) -> int:
        out = tmp_path / "out"
        codeflow.mine(listing, out, until="filter", filters=[Few(most)], config=WHOLE)
        return max(len(triple.files) for triple in codeflow.open(out).triples())

    assert [kept(1), kept(3) > 1, kept(1)] == [1, True, 1]


@pytest.mark.slow
def test_a_filter_from_a_file_runs_on_ray_workers(listing: Path, tmp_path: Path) -> None:
    """Its module is on no path of theirs, and one worker comes to the same."""
    file = tmp_path / "own.py"
    file.write_text(
        "from codeflow import drop, keep\n"
        "LIMIT = 8\n"
        "def lower(triple):\n"
        "    '''Keeps the lower half.'''\n"
        "    return keep() if int(triple.id[0], 16) < LIMIT else drop('upper')\n"
    )
    arguments = ("--filter", f"{file}:lower", "size", "syntax", "--window", "0:1")
    for workers in (1, 2, 4):
        done = faults.mine(listing, tmp_path / f"out{workers}", *arguments, workers=workers)
        assert done.returncode == 1, done.stderr  # one repository is missing
        assert "triples from" in done.stdout, done.stderr
    assert {row["rule"] for row in ledger(tmp_path / "out1", "filter")} >= {"lower/upper"}
    one, two, four = (faults.published(tmp_path / f"out{n}") for n in (1, 2, 4))
    assert one == two == four


@pytest.mark.slow
def test_the_example_filter_runs_from_the_command_line(listing: Path, tmp_path: Path) -> None:
    root = Path(codeflow.__file__).parents[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "codeflow", "mine", "--repos", str(listing)),
            *("--out", str(tmp_path / "out"), "--workers", "1", "--window", "0:1"),
            *("--filter", "none", f"{root}/examples/custom_filter.py:tests_too"),
        ],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    for triple in codeflow.open(tmp_path / "out").triples():
        assert any("test" in file.path for file in triple.files)
        assert triple.scores["test_lines"] >= 0
    assert {row["rule"] for row in ledger(tmp_path / "out", "filter")} == {"tests_too/no-tests"}


def pairs(triple: Triple) -> Verdict:
    """Weighs changes of an even number of lines less."""
    lines = triple.additions + triple.deletions
    return keep(weight=0.5, reason="even") if lines % 2 == 0 else keep()


def low(triple: Triple) -> Verdict:
    """Weighs some by their ids, and gives no reason."""
    return keep(weight=4) if triple.id < "8" else keep()


def test_weights_of_filters_multiply_and_are_told(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = codeflow.mine(listing, out, until="mix", filters=[pairs, low], config=WHOLE)
    kept = by_id(out)
    seen = Counter[str]()
    for id, triple in kept.items():
        is_even, is_low = (triple.additions + triple.deletions) % 2 == 0, id < "8"
        assert triple.weight == (0.5 if is_even else 1) * (4 if is_low else 1)
        told = {name: value for name, value in triple.scores.items() if name.startswith("weight:")}
        expected = {"weight:pairs/even": 0.5} if is_even else {}
        assert told == expected | ({"weight:low": 4.0} if is_low else {})
        seen.update(told)
    assert len(seen) == 2
    decided = pq.read_table(
        next((out / "decisions" / "filter").glob("*.parquet")), columns=["kept", "rule", "scores"]
    )
    assert not decided.column("rule").drop_null().to_pylist()
    counts = Counter(pair["key"] for row in decided["scores"].to_pylist() for pair in row)
    [note] = [note for note in summary.notes if note.startswith("weighed")]
    for rule, n in counts.items():
        assert f"{n:,} by {rule.removeprefix('weight:')}" in note
        assert f"| `{rule.removeprefix('weight:')}` | {n:,} |" in (out / "README.md").read_text()


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1e-9, "2"])
def test_a_weight_that_makes_no_sense_is_the_filter_s_fault(
    listing: Path, tmp_path: Path, weight: float
) -> None:
    def wrong(triple: Triple) -> Verdict:
        return keep(weight=weight)

    with pytest.raises(UsageError, match="filter wrong failed on"):
        codeflow.mine(listing, tmp_path / "out", filters=[wrong], config=WHOLE)
