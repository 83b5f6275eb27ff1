"""The whole flow on small strange histories: what is published is exact, and is all there is."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import codeflow.dataset.reader
from codeflow.config import Limits, MineConfig, Window
from codeflow.dataset.verify import verify
from codeflow.git.apply import apply_patch
from codeflow.pipeline.run import run
from codeflow.pipeline.session import Execution
from codeflow.terminal.progress import make_progress
from codeflow_miners.acquire.repositories import parse_sources
from codeflow_miners.changes import plan
from edits import Files, commit_files
from gitdag import Entry, Gitlink, Repo
from mining import git_apply, staged
from strange import NAMES, TEXTS, edit

SCRIPT = Path(__file__).parents[3] / "examples" / "check_with_git.py"


def strange_history(folder: Path, seed: int, commits: int = 52) -> Repo:
    """Edits, moves, swaps, rings, changes of type and mode, folders for files, what is left out.

    Three steps in thirteen are one piece of work, so that there are spans to find.
    """
    repo = Repo.create(folder / f"strange-{seed}.git")
    draw = random.Random(seed)
    files: Files = {name: ("100644", draw.choice(TEXTS)) for name in NAMES[:6]}
    files[b"long.c"] = ("100644", b"".join(b"int line_%d;\n" % k for k in range(800)))
    first = commit_files(repo, files)
    for number in range(commits):
        if number % 13 in (6, 7, 8):
            work(files, number // 13, number % 13 - 6)
        else:
            for _ in range(draw.choice([0, 1, 1, 2, 4])):
                edit(draw, files, number)
        for path in sorted(files):
            if any(path.startswith(other + b"/") for other in files):
                del files[path]
        entries = {path: Entry(mode, content) for path, (mode, content) in files.items()}
        if number % 5 == 1:
            entries[b"module"] = Gitlink(first)
        if number % 7 in (2, 3):
            entries |= {b".git/x": Entry("100644", b"only here\n"), b"\xff": Entry("100644", b"x")}
        if number % 11 == 4:
            entries[b"seen/late"] = Entry("100644", b"only here\n")
        repo.commit(entries, snapshot=True)
    return repo


def work(files: Files, feature: int, step: int) -> None:
    """A step of one piece of work: two files, then more of both, then one moves and changes."""
    name, test = b"f%d/parser\xc3\xa9.py" % feature, b"f%d/test_parser.py" % feature
    lines = [b"def parse_%d_%d(token_%d): ..." % (feature, k, feature) for k in range(step * 6 + 6)]
    files[name] = ("100644", b"\n".join(lines) + b"\n")
    files[test] = ("100644", b"\r\n".join(b"check(%s)" % line for line in lines))
    if step == 2:
        files[b"f%d/moved parser.py" % feature] = ("100755", files.pop(name)[1])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3, 31])  # some strange histories have no span
def test_what_is_published_is_exact(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every triple by git apply, our apply, verify and the outside script; no blob more or less."""
    monkeypatch.setattr(plan.plan_units, "__defaults__", (12,))  # many content units
    repo = strange_history(tmp_path, seed)
    config = MineConfig(window=Window(0.0, 1.0), limits=Limits(min_commits=2))
    out = tmp_path / "data"
    sources = parse_sources([repo.path.name], tmp_path)
    progress = make_progress(False, io.StringIO())
    summary = run(sources, out, config, Execution(cache=tmp_path / "cache"), progress)
    progress.close()
    assert not summary.failed
    dataset = codeflow.dataset.reader.open(out)
    triples = list(dataset.triples())
    kinds = {kind: sum(t.kind == kind for t in triples) for kind in ("commit", "span")}
    assert kinds["commit"] > 10
    assert kinds["span"] > 0
    reached: set[str] = set()
    for triple in triples:
        sides = [
            {path: (side.entry(path).mode, side[path]) for path in side}
            for side in (triple.old_repo, triple.new_repo)
        ]
        assert apply_patch(triple.patch.encode(), sides[0]) == sides[1]
        trees = [staged(repo, side) for side in sides]
        assert trees == [triple.old_tree, triple.new_tree]
        applied = git_apply(repo, trees[0], triple.patch.encode())
        assert applied.tree == trees[1], applied.said
        assert "offset" not in applied.said
        for side in (triple.old_repo, triple.new_repo):
            reached |= {side.entry(path).id for path in side}
    blobs = [
        oid
        for path in sorted((out / "blobs").glob("*.parquet"))
        for oid in pq.read_table(path, columns=["id"]).column("id").to_pylist()
    ]
    assert sorted(blobs) == sorted(reached)
    assert verify(out).ok
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(out), str(repo.path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
