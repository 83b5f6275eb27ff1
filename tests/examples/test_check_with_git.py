"""The sceptic's script passes for a good dataset and fails for every wrong one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tiny_dataset import (
    SNAPSHOTS,
    Files,
    Git,
    build,
    contents,
    history,
    project,
    triple_row,
    write_dataset,
)
from tiny_steps import step_rows

SCRIPT = Path(__file__).parents[2] / "examples" / "check_with_git.py"
BINARY: Files = {
    "binary": ("100644", b"a\0b"),
    "latin": ("100644", b"\xe9\n"),
    "large": ("100644", b"x" * ((1 << 20) + 1)),
    "dir/only-binary": ("100644", b"\0"),
}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Git, list[str]]:
    """A history with files that are left out, old modes, a submodule, and `.git` in a tree."""
    git = Git(tmp_path_factory.mktemp("source") / "r.git")
    chain = history(git, [{**files, **BINARY} for files in SNAPSHOTS])
    blob = git.blob(b"x\n")
    rows = (
        b"100664 blob %s\told-mode\0" % blob.encode()
        + b"100644 blob %s\t.git\0" % blob.encode()
        + b"100644 blob %s\tnot-\xff-utf8\0" % blob.encode()
        + b"160000 commit %s\tmodule\0" % (b"1" * 40)
        + b"120000 blob %s\t.gitmodules\0" % blob.encode()
    )
    odd = git.run("mktree", "-z", "--missing", stdin=rows).decode().strip()
    chain.append(git.commit(odd, chain[-1], chain[0]))
    return git, chain


def test_passes_for_every_triple(source: tuple[Git, list[str]], tmp_path: Path) -> None:
    git, chain = source
    for row in git.run("ls-tree", "-z", chain[-1]).split(b"\0")[:-1]:
        assert row
    done = run(build(tmp_path / "data", {"r": (git, chain[:-1])}), git.folder)
    assert "r: 6 steps of 2 triples\n" in done.stdout
    assert done.stdout.split("\n")[-2] == "r: 6 triples (4 commit, 2 span), 0 faults"
    assert done.returncode == 0, done.stderr


def test_odd_trees_may_leave_out_what_the_index_refuses(
    source: tuple[Git, list[str]], tmp_path: Path
) -> None:
    git, chain = source
    row = triple_row(git, "r", chain, 0, 1)
    when = int(git.run("show", "-s", "--format=%at", chain[-1]))
    row.update(new_commit=chain[-1], commits=chain[1:], messages=[["x"]] * len(chain[1:]))
    row.update(authored_at=datetime.fromtimestamp(when, UTC), is_merge=True)
    row["new_tree"] = git.stage([("100644", git.blob(b"x\n"), "old-mode")])
    row["patch"] = git.patch(row["old_tree"], row["new_tree"]).decode()
    row["kind"] = "span"
    good = write(git, row, chain, tmp_path / "good")
    assert run(good, git.folder).stdout.split("\n")[-2] == "r: 1 triples (1 span), 0 faults"
    row["commits"] = [chain[-1]]
    wrong = write(git, row, chain, tmp_path / "wrong")
    assert "first parent" in run(wrong, git.folder).stdout


def write(git: Git, row: dict[str, Any], chain: list[str], folder: Path) -> Path:
    steps = step_rows(git, row)
    blobs, trees = contents(git, "r", [row], steps)
    tables = {"train": [row], "steps": steps, "blobs": blobs, "trees": trees}
    return write_dataset(folder, tables, {"r": chain[-1]})


def other_mode(git: Git, row: dict[str, Any]) -> None:
    entries = [(m, b, p) for p, (m, b) in git.listing(row["new_tree"]).items()]
    entries[0] = ("100755", *entries[0][1:])
    move_to(git, row, git.stage(entries))


def left_out(git: Git, row: dict[str, Any]) -> None:
    entries = [(m, b, p) for p, (m, b) in git.listing(row["new_tree"]).items()]
    move_to(git, row, git.stage(entries[1:]))


def made_up(git: Git, row: dict[str, Any]) -> None:
    entries = [(m, b, p) for p, (m, b) in git.listing(row["new_tree"]).items()]
    move_to(git, row, git.stage([*entries, ("100644", git.blob(b"!"), "invented")]))


def move_to(git: Git, row: dict[str, Any], tree: str) -> None:
    row["new_tree"] = tree
    row["patch"] = git.patch(row["old_tree"], tree).decode()


def wrong_patch(git: Git, row: dict[str, Any]) -> None:
    row["patch"] = row["patch"].replace("\n+two", "\n+!two")


def no_patch(git: Git, row: dict[str, Any]) -> None:
    row["patch"] = ""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_mode, "in the source, not"),
        (left_out, "is left out, but is text"),
        (made_up, "the source does not have"),
        (wrong_patch, "the patch gives"),
        (no_patch, "git apply"),
    ],
)
def test_fails_for_a_wrong_triple(
    source: tuple[Git, list[str]],
    tmp_path: Path,
    damage: Callable[[Git, dict[str, Any]], None],
    message: str,
) -> None:
    git, chain = source
    row = triple_row(git, "r", chain, 0, 1)
    damage(git, row)
    done = run(write(git, row, chain, tmp_path / "data"), git.folder)
    assert message in done.stdout, done.stderr
    assert done.returncode == 1


Steps = list[dict[str, Any]]


def wrong_step(git: Git, steps: Steps) -> None:
    steps[0]["patch"] = steps[0]["patch"].replace("\n+two", "\n+!two")


def one_step_less(git: Git, steps: Steps) -> None:
    steps.pop(1)


def steps_swapped(git: Git, steps: Steps) -> None:
    for name in ("patch", "tree", "commit"):
        steps[0][name], steps[1][name] = steps[1][name], steps[0][name]


def no_end(git: Git, steps: Steps) -> None:
    steps[-1].update(patch="", tree=steps[-2]["tree"])


def another_way(git: Git, steps: Steps) -> None:
    """Both steps are exact, but the source never was where the first one leads."""
    before, after = steps[0]["tree"], steps[1]["tree"]
    entries = [(m, b, p) for p, (m, b) in git.listing(before).items()]
    middle = git.stage([*entries, ("100644", git.blob(b"!"), "invented")])
    start = git.run("rev-parse", steps[0]["commit"] + "~1").decode().strip()
    steps[0].update(tree=middle, patch=git.patch(project(git, start), middle).decode())
    steps[1].update(patch=git.patch(middle, after).decode())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wrong_step, "the patch gives"),
        (one_step_less, "3 commits, but 2 steps"),
        (steps_swapped, "or other ones"),
        (no_end, "the last step does not end where the triple does"),
        (another_way, "the source does not have"),
    ],
)
def test_fails_for_a_wrong_step(
    source: tuple[Git, list[str]],
    tmp_path: Path,
    damage: Callable[[Git, Steps], None],
    message: str,
) -> None:
    git, chain = source
    row = triple_row(git, "r", chain, 0, 3)
    steps = step_rows(git, row)
    damage(git, steps)
    blobs, trees = contents(git, "r", [row], steps)
    tables = {"train": [row], "steps": steps, "blobs": blobs, "trees": trees}
    done = run(write_dataset(tmp_path / "data", tables, {"r": chain[-1]}), git.folder)
    assert message in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1


def test_fails_for_a_wrong_content(source: tuple[Git, list[str]], tmp_path: Path) -> None:
    git, chain = source
    row = triple_row(git, "r", chain, 0, 1)
    blobs, trees = contents(git, "r", [row])
    blobs[0]["content"] += "x"
    tables = {"train": [row], "blobs": blobs, "trees": trees}
    done = run(write_dataset(tmp_path / "data", tables, {"r": chain[-1]}), git.folder)
    assert f"blob {blobs[0]['id']}: git says" in done.stdout
    assert done.returncode == 1
