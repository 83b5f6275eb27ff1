"""Branches through the whole flow, on strange histories of merges: exact, and always the same."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import codeflow
import faults
from codeflow.config import Limits, MineConfig, Window
from codeflow.dataset.verify import verify
from codeflow.pipeline.run import run
from codeflow.pipeline.session import Execution
from codeflow.terminal.progress import make_progress
from codeflow.triple import Snapshot
from codeflow_miners import flow
from codeflow_miners.acquire.repositories import parse_sources
from codeflow_miners.changes import plan
from codeflow_miners.history.branches import NO_BRANCH
from gitdag import Repo
from strange import branched

ALL = Window(0.0, 1.0)
SPANS = """
[mine]
kinds = ["branch", "span", "commit"]
window = { start = 0.0, stop = 1.0 }
[mine.miners.span]
tau = 0.01
least = 0.0
"""
FILTER = """
from codeflow import drop, keep

def judge(triple):
    if triple.kind != "commit" or {name!r} == "all":
        return keep()
    return drop("commit") if {name!r} == "none" or int(triple.id, 16) % 2 else keep()
"""
SCRIPT = Path(__file__).parents[3] / "examples" / "check_with_git.py"


def mined(repo: Repo, out: Path, *kinds: str, window: Window = ALL) -> None:
    config = MineConfig(kinds=kinds, window=window, limits=Limits(min_commits=2))
    sources = parse_sources([repo.path.name], repo.path.parent)
    progress = make_progress(False, io.StringIO())
    summary = run(sources, out, config, Execution(cache=out.parent / "cache"), progress)
    progress.close()
    assert not summary.failed


def same_to_git(out: Path, repo: Repo) -> None:
    """By verify, and by the script that knows nothing of codeflow."""
    report = verify(out)
    assert report.ok, report.problems
    command = [sys.executable, str(SCRIPT), str(out), str(repo.path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def same_steps_to_git(dataset: codeflow.Dataset, repo: Repo) -> None:
    """Every triple has a step a commit, and each changes what git says that the commit changes."""
    patches = {t.new_commit: t.patch for t in dataset.triples(kind="commit")}
    for triple in dataset.triples():
        steps = triple.steps
        assert [step.commit for step in steps] == list(triple.commits)
        assert (steps[0].old_tree, steps[-1].new_tree) == (triple.old_tree, triple.new_tree)
        for step in steps:
            old, new = ({p: (e.mode, e.id) for p, e in side.entries()} for side in sides(step))
            raw = repo.git("diff-tree", "-r", "-z", "--name-only", f"{step.commit}^1", step.commit)
            changed = {path.decode("utf-8", "replace") for path in raw.split(b"\0")[:-1]}
            paths = {path for path in old | new if old.get(path) != new.get(path)}
            assert paths <= changed
            assert paths == {p for f in step.files for p in (f.old_path, f.new_path) if p}
            if triple.kind == "span" and step.commit in patches:
                assert step.patch == patches[step.commit]


def sides(step: codeflow.Step) -> tuple[Snapshot, Snapshot]:
    return step.old_repo, step.new_repo


def test_a_step_keeps_the_patch_of_a_commit_that_is_not_published(tmp_path: Path) -> None:
    """With some commits of spans dropped, all of them, or none, the steps say the same."""
    repo = branched(tmp_path, 1)
    listing = tmp_path / "list.txt"
    listing.write_text(f"{repo.path.name}\n")
    told: list[dict[str, list[str]]] = []
    for name in ("even", "none", "all"):
        code = tmp_path / f"{name}.py"
        code.write_text(FILTER.format(name=name))
        (tmp_path / "spans.toml").write_text(SPANS)
        arguments = ("--config", str(tmp_path / "spans.toml"), "--filter", f"{code}:judge")
        out = tmp_path / f"data-{name}"
        done = faults.mine(listing, out, *arguments, "--until", "filter")
        assert done.returncode == 0, done.stderr
        assert verify(out).problems == []
        dataset = codeflow.open(out)
        several = [t for t in dataset.triples() if t.kind != "commit"]
        assert {t.kind for t in several} == {"span", "branch"}
        told.append({t.id: [step.patch for step in t.steps] for t in several})
        rows = [
            row
            for path in (out / "steps").glob("*.parquet")
            for row in pq.read_table(path).to_pylist()
        ]
        own = {t.new_commit for t in dataset.triples(kind="commit")}
        spans = {t.id for t in several if t.kind == "span"}
        for row in rows:
            there = row["triple"] in spans and row["commit"] in own and bool(row["files"])
            assert (row["patch"] is None) == (row["same_as"] is not None) == there
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kinds", "window"),
    [
        (("branch", "span", "commit"), ALL),
        (("branch",), Window(0.4, 0.9)),
    ],
)
def test_branches_are_exact(
    tmp_path: Path,
    seed: int,
    kinds: tuple[str, ...],
    window: Window,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan.plan_units, "__defaults__", (12,))  # many content units
    repo = branched(tmp_path, seed)
    mined(repo, tmp_path / "data", *kinds, window=window)
    dataset = codeflow.open(tmp_path / "data")
    branches = list(dataset.triples(kind="branch"))
    assert branches
    same_to_git(tmp_path / "data", repo)
    same_steps_to_git(dataset, repo)
    for triple in branches:
        for commit, messages in zip(triple.commits, triple.messages, strict=True):
            subject = repo.git("log", "-1", "--format=%s", commit).decode().strip()
            assert messages[0] == subject
    if "commit" in kinds:
        other = tmp_path / "without"
        mined(repo, other, "span", "commit")
        plain = {t.id: t.patch for t in codeflow.open(other).triples()}
        assert {t.id: t.patch for t in dataset.triples() if t.kind != "branch"} == plain


def test_units_of_branches_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = branched(tmp_path, 1)
    files = []
    for size in (1, 7, 64):
        monkeypatch.setattr(flow, "BRANCHES_PER_UNIT", size)
        mined(repo, tmp_path / f"{size}", "branch", "commit")
        files.append(faults.published(tmp_path / f"{size}"))
    assert files[0] == files[1] == files[2]


@pytest.mark.slow
def test_workers_and_kills_leave_no_trace(tmp_path: Path) -> None:
    """Two workers, and a run that was killed at every fifth touch of the disk until it ended."""
    branched(tmp_path, 2)
    listing = tmp_path / "list.txt"
    listing.write_text("branched-2.git\n")
    arguments = ("--window", "0:1", "--kinds", "branch,span,commit", "--until", "mine")
    done = faults.mine(listing, tmp_path / "one", *arguments)
    assert done.returncode == 0, done.stderr
    done = faults.mine(listing, tmp_path / "two", *arguments, workers=2)
    assert done.returncode == 0, done.stderr
    for at in range(3, 200, 12):
        done = faults.hurt(9, at, listing, tmp_path / "killed", *arguments)
        if done.returncode == 0:
            break
    done = faults.mine(listing, tmp_path / "killed", *arguments)
    assert done.returncode == 0, done.stderr
    expected = faults.published(tmp_path / "one")
    assert faults.published(tmp_path / "two") == expected
    assert faults.published(tmp_path / "killed") == expected


def test_what_is_left_out_is_in_the_ledger(tmp_path: Path) -> None:
    """Every merge that brings in 2 to 32 commits is a branch or has a row that says why not."""
    repo = branched(tmp_path, 3)
    mined(repo, tmp_path / "data", "branch", "commit")
    chain = repo.rev_list("--first-parent", "HEAD")[::-1]
    lines: list[set[str]] = []
    for old, new in itertools.pairwise(chain):
        inner = set(repo.rev_list(new, f"^{old}")) - {new}
        if len(inner & set(repo.rev_list("--no-merges", new))) >= 2:
            parents = repo.git("rev-list", "--parents", "-1", new).decode().split()[2:]
            heads = [parent for parent in dict.fromkeys(parents) if parent in inner]
            if len(heads) == 1:
                lines.append(inner & set(repo.rev_list("--first-parent", heads[0])))
    rows = [
        row
        for path in (tmp_path / "data" / "ledger").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
        if row["stage"] == "branch"
    ]
    triples = list(codeflow.open(tmp_path / "data").triples(kind="branch"))
    told = {row["new_commit"] for row in rows} | {triple.new_commit for triple in triples}
    assert len(lines) > 10
    assert all(line & told for line in lines)
    assert {"release", "crosses-projection"} <= {row["rule"] for row in rows}
    for row in rows:
        assert row["rule"] not in NO_BRANCH or row["reason"] == NO_BRANCH[row["rule"]]
