"""A third party's package, built and installed for real, adds a miner and a filter."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gitdag import Repo
from small_history import ROOT, codeflow

pytest.importorskip("hatchling")
EXAMPLE = ROOT / "examples" / "release_miner"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]
MINE = ("mine", "--repos", "list.txt", "--workers", "1", "--kinds", "release,commit")
UNTIL = ("--window", "0:1", "--until", "filter", "--validation", "0")
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the example's wheel."""
    folder = tmp_path_factory.mktemp("plugins")
    wheels = folder / "wheels"
    install = ("install", "--no-deps", "--no-index")
    for words in (
        ["wheel", *OFFLINE, "--wheel-dir", wheels, EXAMPLE],
        [*install, "--find-links", wheels, "--target", folder / "site", "codeflow-release-miner"],
    ):
        done = subprocess.run([*PIP, *map(str, words)], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A tag on every fifth commit; every second release adds lines to its change log."""
    folder = tmp_path_factory.mktemp("releases")
    made = Repo.create(folder / "made.git")
    notes = "# Changes\n"
    for k in range(41):
        files = {"src/app.py": f"x = {k}\n"}
        if k % 10 == 0:
            notes += f"- release {k}\n" * (1 + k // 20)
            files["docs/CHANGES.md"] = notes
        made.commit(files, message=f"Change number {k}")
        if k % 5 == 0 and k:
            assert made.tip is not None
            made.tag(f"v{k}", made.tip)
    (folder / "list.txt").write_text("made.git\n")
    return made


@pytest.fixture
def command(repo: Repo, plugins: Path, tmp_path: Path) -> Command:
    (tmp_path / "list.txt").write_text(f"{repo.git_dir}\n")

    def run(*words: str, with_plugin: bool = True) -> subprocess.CompletedProcess[str]:
        return codeflow(*words, cwd=tmp_path, plugins=(plugins,) if with_plugin else ())

    return run


def note_lines(repo: Repo) -> dict[tuple[str, str], int]:
    """Of each pair of neighbouring tags, the lines that git sees added to the change log."""
    tags = [repo.git("rev-parse", f"v{k}").decode().strip() for k in range(5, 41, 5)]
    found = {}
    for old, new in pairwise(tags):
        said = repo.git("diff", "--numstat", old, new, "--", "docs/CHANGES.md").decode()
        found[old, new] = int(said.split("\t")[0]) if said else 0
    return found


def kept(folder: Path) -> tuple[dict[tuple[str, str], dict[str, float]], int]:
    """(scores of the releases by pair, number of other triples) that are published."""
    rows: list[dict[str, Any]] = pq.read_table(folder / "triples").to_pylist()
    releases = {
        (row["old_commit"], row["new_commit"]): {s["key"]: s["value"] for s in row["scores"]}
        for row in rows
        if row["kind"] == "release"
    }
    return releases, len(rows) - len(releases)


def test_its_miner_and_its_filter_are_used_like_ours(
    command: Command, repo: Repo, tmp_path: Path
) -> None:
    done = command(*MINE, *UNTIL, "--out", "all", "--filter", "none")
    assert done.returncode == 0, done.stderr
    expected = note_lines(repo)
    assert set(expected.values()) == {0, 1, 2, 3}, "some have notes, some have not"
    releases, others = kept(tmp_path / "all")
    assert releases.keys() == expected.keys()
    assert others == 40

    done = command(*MINE, *UNTIL, "--out", "data", "--filter", "release-notes")
    assert done.returncode == 0, done.stderr
    assert kept(tmp_path / "data") == (
        {
            pair: {"commits": 5.0, "note_lines": float(lines)}
            for pair, lines in expected.items()
            if lines
        },
        40,
    )
    ledger = pq.read_table(tmp_path / "data" / "ledger").to_pylist()
    dropped = {
        (row["old_commit"], row["new_commit"]): row["detail"]
        for row in ledger
        if row["rule"] == "release-notes/no-notes"
    }
    assert dropped == {pair: "0 lines" for pair, lines in expected.items() if not lines}


def test_its_parameters_come_from_the_configuration(
    command: Command, repo: Repo, tmp_path: Path
) -> None:
    table = "[filter.rules.release-notes]\nmin_lines = 3\n"
    (tmp_path / "codeflow.toml").write_text(table)
    words = (*MINE, *UNTIL, "--filter", "release-notes", "--config", "codeflow.toml")
    done = command(*words, "--out", "data")
    assert done.returncode == 0, done.stderr
    expected = {pair for pair, lines in note_lines(repo).items() if lines >= 3}
    assert kept(tmp_path / "data")[0].keys() == expected

    (tmp_path / "codeflow.toml").write_text(table.replace("min_lines", "min_line"))
    done = command(*words, "--out", "other")
    [line] = done.stderr.splitlines()
    assert done.returncode == 2
    assert "release-notes" in line
    assert "did you mean 'min_lines'?" in line


def test_it_is_listed_beside_ours(command: Command) -> None:
    listed = command("filters").stdout
    assert "release-notes" in listed
    assert "releases that say nothing of what is new in them" in listed
    assert "min_lines = 1" in listed


def test_without_the_package_there_is_neither(command: Command) -> None:
    for words in ((*MINE[:-1], "release"), (*MINE[:-1], "commit", "--filter", "release-notes")):
        done = command(*words, *UNTIL, "--out", "none", with_plugin=False)
        [line] = done.stderr.splitlines()
        assert (done.returncode, "unknown" in line) == (2, True), line
    assert "release-notes" not in command("filters", with_plugin=False).stdout
