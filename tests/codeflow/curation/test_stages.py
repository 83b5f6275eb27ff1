"""The stages after mining, run for real on small histories: what is kept, dropped, and touched."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

import codeflow
import faults
import varied
from codeflow import Triple, Verdict, drop, keep
from codeflow.api import Quiet
from codeflow.config import MineConfig, Window
from codeflow.contracts import CONTENTS, Cost
from codeflow.curation.chain import chain_of
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mined_reader import MinedReader
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.dataset.verify import verify
from codeflow.errors import CodeflowError, UsageError
from codeflow.pipeline.plan import plan_again, stored_config
from codeflow.pipeline.run import Execution, run_again
from codeflow.pipeline.settings import Settings
from small_history import environment, small_history

WHOLE = Settings(mine=MineConfig(window=Window(0.0, 1.0)), split=SplitConfig(validation=0.2))


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return varied.varied(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def everything(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is mined, published. Read only."""
    out = tmp_path_factory.mktemp("everything") / "out"
    codeflow.mine(listing, out, until="mine", config=WHOLE)
    return out


def ledger(out: Path, stage: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / "ledger").to_pylist()
    return [row for row in rows if row["stage"] == stage]


def by_id(out: Path) -> dict[str, Triple]:
    return {triple.id: triple for triple in codeflow.open(out).triples()}


def even(triple: Triple) -> Verdict:
    """Keeps what has an even number of changed lines."""
    lines = triple.additions + triple.deletions
    return keep({"lines": lines}) if lines % 2 == 0 else drop("odd", f"{lines} lines")


# -- filters


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
    """Against a plain walk over both snapshots of every kept triple."""

    def few(triple: Triple) -> Verdict:
        return keep() if triple.id[0] in "01" else drop("others")

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[few], config=WHOLE)
    blobs, trees = set(), set()
    for triple in codeflow.open(out).triples():
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


def test_a_filter_that_fails_quarantines_and_drops_nothing_silently(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    unlucky = sorted(by_id(everything))[:5]

    def clumsy(triple: Triple) -> Verdict:
        if triple.id in unlucky:
            raise ZeroDivisionError("oh no")
        return keep()

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[clumsy], config=WHOLE)
    rows = ledger(out, "filter")
    assert [row["rule"] for row in rows] == ["clumsy/error"] * 5
    assert "oh no" in rows[0]["detail"]
    assert "line" in rows[0]["detail"]
    assert not set(unlucky) & by_id(out).keys()


def test_a_filter_that_hangs_is_ended_and_the_run_goes_on(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    stuck, *others = sorted(by_id(everything))

    def slow(triple: Triple) -> Verdict:
        while triple.id == stuck:
            with contextlib.suppress(Exception):
                re.fullmatch("(a|a)*b", "a" * 24)
        return keep()

    config = replace(WHOLE, filter=FilterConfig(max_seconds=0.3), split=SplitConfig(validation=0.0))
    out = tmp_path / "out"
    before, timed = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    summary = codeflow.mine(listing, out, until="filter", filters=[slow], config=config)
    [row] = ledger(out, "filter")
    assert (row["rule"], row["detail"]) == ("slow/time", "more than 0.3 s")
    assert by_id(out).keys() == set(others)
    assert not summary.deterministic
    assert json.loads((out / "manifest.json").read_bytes())["deterministic"] is False
    assert signal.getsignal(signal.SIGALRM) is before
    after = signal.getitimer(signal.ITIMER_REAL)
    assert (after[0] > 0, after[1]) == (timed[0] > 0, timed[1])  # pytest's own, if it has one


@pytest.mark.parametrize(
    "verdict",
    [
        drop(5),  # type: ignore[arg-type]
        drop("x", detail=5),  # type: ignore[arg-type]
        drop("x", detail="\udcff"),
        keep({5: 1.0}),  # type: ignore[dict-item]
        keep({"x": "many"}),  # type: ignore[dict-item]
        SystemExit(3),
    ],
)
def test_a_verdict_that_cannot_be_written_quarantines(
    verdict: Any, listing: Path, everything: Path, tmp_path: Path
) -> None:
    unlucky = sorted(by_id(everything))[:2]

    def odd(triple: Triple) -> Verdict:
        if triple.id not in unlucky:
            return keep()
        if isinstance(verdict, SystemExit):
            raise verdict
        return verdict  # type: ignore[no-any-return]

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[odd], config=WHOLE)
    assert [row["rule"] for row in ledger(out, "filter")] == ["odd/error"] * 2


def test_a_quarantined_triple_tells_nobody_the_folders_of_this_machine(
    listing: Path, everything: Path, tmp_path: Path
) -> None:
    unlucky = min(by_id(everything))

    def reads(triple: Triple) -> Verdict:
        if triple.id == unlucky:
            (tmp_path / "gone.txt").read_text()
        return keep()

    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[reads], config=WHOLE)
    [row] = ledger(out, "filter")
    assert "gone.txt" in row["detail"]
    assert "test_stages.py" in row["detail"]
    for folder in (tmp_path, Path(__file__).parent, Path(codeflow.__file__).parent):
        assert f"{folder}/" not in row["detail"]


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


def test_a_filter_that_fails_too_often_stops_the_run_in_one_line(
    listing: Path, tmp_path: Path
) -> None:
    def broken(triple: Triple) -> Any:
        return triple.id < "8"  # no Verdict

    with pytest.raises(UsageError) as caught:
        codeflow.mine(listing, tmp_path / "out", until="filter", filters=[broken], config=WHOLE)
    message = str(caught.value)
    assert "broken" in message
    assert "return keep() or drop" in message
    assert "\n" not in message
    # mended, the same folder goes on
    codeflow.mine(listing, tmp_path / "out", until="filter", filters=[even], config=WHOLE)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["defautl"], "did you mean 'default'"),
        (["no.such.module:x"], "No module named"),
        (["{folder}/mine.py:y"], "no function 'y'"),
        (["{folder}/mine.py"], "name the function in it"),
        (["{folder}/gone.py:x"], "no such file"),
        ([5], "filter 5: give a name"),
    ],
)
def test_a_wrong_name_costs_one_line_before_anything_is_mined(
    filters: list[Any], said: str, listing: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def x(triple):\n    return None\n")
    given = [f.format(folder=tmp_path) if isinstance(f, str) else f for f in filters]
    with pytest.raises(UsageError, match=said):
        codeflow.mine(listing, tmp_path / "out", filters=given)
    assert not (tmp_path / "out").exists()


def test_parameters_come_from_the_configuration_and_unknown_ones_are_errors(
    listing: Path, tmp_path: Path
) -> None:
    file = tmp_path / "codeflow.toml"
    file.write_text('[filter]\nfilters = ["message"]\n[filter.rules.message]\nmin_word = 3\n')
    with pytest.raises(UsageError, match=r"unknown key 'min_word'; did you mean 'min_words'"):
        codeflow.mine(listing, tmp_path / "out", config=file)
    file.write_text('[filter]\nfilters = ["message"]\n[filter.rules.messgae]\nmin_words = 3\n')
    with pytest.raises(UsageError, match="did you mean 'message'"):
        codeflow.mine(listing, tmp_path / "out", config=file)


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


# -- stages again


def snapshot_of(folder: Path, *names: str) -> dict[str, tuple[int, int]]:
    paths = (p for name in names for p in (folder / name).rglob("*") if p.is_file())
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in paths}


@pytest.fixture
def finished(listing: Path, tmp_path: Path) -> Path:
    """A finished run whose sources and clones are gone afterwards."""
    copy = tmp_path / "sources"
    shutil.copytree(listing.parent, copy)
    codeflow.mine(copy / "list.txt", tmp_path / "out", filters=[even], config=WHOLE)
    shutil.rmtree(copy)
    return tmp_path / "out"


def again(out: Path, stage: str, config: Any) -> codeflow.Summary:
    plan = plan_again(out, stage, config)
    return run_again(out, Execution(), Quiet(), plan)


def test_a_stage_again_touches_neither_git_nor_what_came_before(finished: Path) -> None:
    before = snapshot_of(finished, "mined", "decisions/filter", "decisions/dedup")
    mixed = snapshot_of(finished, "decisions/mix")
    count = len(codeflow.open(finished))
    again(finished, "mix", MixConfig(budget_tokens=5_000))
    assert snapshot_of(finished, "mined", "decisions/filter", "decisions/dedup") == before
    assert snapshot_of(finished, "decisions/mix") != mixed
    assert len(codeflow.open(finished)) < count
    assert verify(finished).ok
    again(finished, "mix", MixConfig())
    assert len(codeflow.open(finished)) == count


def test_a_stage_again_comes_to_what_a_run_from_scratch_comes_to(
    finished: Path, listing: Path, tmp_path: Path
) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from codeflow import drop, keep\n"
        "def lower(triple):\n"
        "    return keep() if triple.id < '8' else drop('upper')\n"
    )
    again(finished, "filter", FilterConfig(filters=(f"{file}:lower",)))
    codeflow.mine(listing, tmp_path / "fresh", filters=[f"{file}:lower"], config=WHOLE)
    ours, fresh = faults.published(finished), faults.published(tmp_path / "fresh")
    assert ours == fresh


def test_the_same_again_does_nothing(finished: Path) -> None:
    before = snapshot_of(finished, ".")
    again(finished, "mix", MixConfig())
    changed = {
        path for path, seen in snapshot_of(finished, ".").items() if before.get(path) != seen
    }
    assert {Path(path).name for path in changed} <= {"lock"}


def test_a_rerun_shows_the_repositories_there_are(finished: Path) -> None:
    counts: Counter[str] = Counter()

    class Counting(Quiet):
        def add(self, **added: int) -> None:
            counts.update(added)

    plan = plan_again(finished, "mix", MixConfig(budget_tokens=5_000))
    summary = run_again(finished, Execution(), Counting(), plan)
    assert counts["repositories"] == summary.repositories > 0
    assert counts["repositories_done"] == summary.mined
    assert counts["repositories_failed"] == len(summary.failed)


def test_without_what_was_mined_a_stage_says_so(finished: Path) -> None:
    shutil.rmtree(finished / "mined")
    with pytest.raises(CodeflowError, match="mine first"):
        again(finished, "mix", MixConfig(sampler="uniform"))
    assert verify(finished).ok  # the dataset does not need it


def test_without_decisions_a_later_stage_does_not_take_all(finished: Path) -> None:
    shutil.rmtree(finished / "decisions")
    with pytest.raises(UsageError, match="run `codeflow filter` first"):
        again(finished, "mix", MixConfig(sampler="uniform"))
    assert verify(finished).ok


def test_a_stage_that_was_refused_is_not_asked_for(listing: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    codeflow.mine(listing, out, until="filter", filters=[even], config=WHOLE)
    shutil.rmtree(out / "decisions" / "filter")  # as a run does that is killed in the next one
    before = chain_of(out)
    with pytest.raises(UsageError, match="run `codeflow filter` first"):
        again(out, "mix", MixConfig())
    assert chain_of(out) == before == {"filter", "split"}


def test_a_stage_that_the_last_run_left_out_stays_out(finished: Path, listing: Path) -> None:
    with_all = len(codeflow.open(finished))
    again(finished, "mix", MixConfig(budget_tokens=5_000))
    assert len(codeflow.open(finished)) < with_all
    copy = finished.parent / "sources"
    shutil.copytree(listing.parent, copy)
    codeflow.mine(copy / "list.txt", finished, until="filter", filters=[even], config=WHOLE)
    again(finished, "split", SplitConfig(validation=0.3))
    assert not ledger(finished, "mix")
    assert len(codeflow.open(finished)) >= with_all


def test_no_validation_data_is_an_error_with_advice(tmp_path: Path) -> None:
    repo = small_history(tmp_path / "small.git")
    split = SplitConfig(by="family")
    with pytest.raises(UsageError, match="--split-by time"):
        codeflow.mine([repo.path], tmp_path / "out", filters=["none"], config=Settings(split=split))


def test_a_rerun_that_failed_leaves_no_settings_behind(finished: Path) -> None:
    """The next one starts from the last settings that worked, and is not taken for done."""
    count = len(codeflow.open(finished))
    with pytest.raises(UsageError, match="--split-by time"):
        again(finished, "split", SplitConfig(by="family", validation=0.999))
    assert not (finished / "manifest.json").exists() or len(codeflow.open(finished)) == count
    again(finished, "mix", MixConfig())
    assert len(codeflow.open(finished)) == count
    config = stored_config(finished, "split")
    assert (config.by, config.validation) == ("auto", 0.2)  # as asked, not as settled


def test_a_report_of_what_was_published_before_goes(finished: Path) -> None:
    (finished / "report.html").write_text("old")
    again(finished, "mix", MixConfig(budget_tokens=5_000))
    assert not (finished / "report.html").exists()


def test_a_small_project_has_validation_at_the_first_try(tmp_path: Path) -> None:
    """Fewer than 20 triples are less than one at the default share."""
    repo = small_history(tmp_path / "small.git")
    codeflow.mine([repo.path], tmp_path / "out", filters=["none"])
    opened = codeflow.open(tmp_path / "out")
    assert 2 <= len(opened) < 20
    late = [t.position for t in opened.triples(split="validation")]
    early = [t.position for t in opened.triples(split="train")]
    assert late
    assert max(early) < min(late)


def test_a_filter_that_fails_on_everything_ends_the_run(tmp_path: Path) -> None:
    def never(triple: Triple) -> Verdict:
        raise ZeroDivisionError

    repo = small_history(tmp_path / "small.git")
    with pytest.raises(UsageError, match="never failed on"):
        codeflow.mine([repo.path], tmp_path / "out", filters=[never])


def test_parameters_of_a_profile_are_refused(listing: Path, tmp_path: Path) -> None:
    file = tmp_path / "codeflow.toml"
    file.write_text('[filter]\nfilters = ["none"]\n[filter.rules.strict]\nmax_files = 3\n')
    with pytest.raises(UsageError, match="strict: it is a profile; name the filters in it"):
        codeflow.mine(listing, tmp_path / "out", config=file)


def test_keys_of_a_filter_that_does_not_run_are_checked(listing: Path, tmp_path: Path) -> None:
    file = tmp_path / "codeflow.toml"
    file.write_text('[filter]\nfilters = ["none"]\n[filter.rules.license]\nalow = ["MIT"]\n')
    with pytest.raises(UsageError, match="did you mean 'allow'"):
        codeflow.mine(listing, tmp_path / "out", config=file)


def test_the_card_says_what_was_kept(finished: Path) -> None:
    text = (finished / "README.md").read_text()
    dropped = sum(row["rule"] == "even/odd" for row in ledger(finished, "filter"))
    assert f"| filter: even/odd | {dropped:,} |" in text
    assert "Filters that ran: even." in text
    licenses = Counter(t.license or "unknown" for t in codeflow.open(finished).triples())
    for name, count in licenses.items():
        assert f"| {name} | {count:,} |" in text


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
