"""One stage run again on a finished folder: what it touches, and what it comes to."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import codeflow
import faults
from codeflow.curation.filter.stage import FilterConfig
from codeflow.curation.mix.config import MixConfig
from codeflow.curation.split.stage import SplitConfig
from codeflow.dataset.verify import verify
from codeflow.errors import CodeflowError, UsageError
from codeflow.execution.progress import Quiet
from codeflow.pipeline.asked import chain_of
from codeflow.pipeline.plan import plan_again, stored_config
from codeflow.pipeline.run import run_again
from codeflow.pipeline.session import Execution
from staged import WHOLE, even, ledger


def snapshot_of(folder: Path, *names: str) -> dict[str, tuple[int, int]]:
    paths = (p for name in names for p in (folder / name).rglob("*") if p.is_file())
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in paths}


@pytest.fixture(scope="module")
def made(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose sources are gone afterwards. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    sources = folder / "sources"
    shutil.copytree(listing.parent, sources)
    codeflow.mine(sources / "list.txt", folder / "out", filters=[even], config=WHOLE)
    shutil.rmtree(sources)
    return folder / "out"


@pytest.fixture
def finished(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(made, tmp_path / "out", symlinks=True)


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


def test_a_stage_that_the_last_run_left_out_stays_out(
    made: Path, finished: Path, listing: Path
) -> None:
    with_all = len(codeflow.open(finished))
    again(finished, "mix", MixConfig(budget_tokens=5_000))
    assert len(codeflow.open(finished)) < with_all
    sources = shutil.copytree(listing.parent, made.parent / "sources")  # where they were
    codeflow.mine(sources / "list.txt", finished, until="filter", filters=[even], config=WHOLE)
    shutil.rmtree(sources)
    again(finished, "split", SplitConfig(validation=0.3))
    assert not ledger(finished, "mix")
    assert len(codeflow.open(finished)) >= with_all


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


def test_the_card_says_what_was_kept(finished: Path) -> None:
    text = (finished / "README.md").read_text()
    dropped = sum(row["rule"] == "even/odd" for row in ledger(finished, "filter"))
    assert f"| filter: even/odd | {dropped:,} |" in text
    assert "Filters that ran: even." in text
    licenses = Counter(t.license or "unknown" for t in codeflow.open(finished).triples())
    for name, count in licenses.items():
        assert f"| {name} | {count:,} |" in text
