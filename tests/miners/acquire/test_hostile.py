"""Every hostile repository mined in one list beside a healthy one, as a user would do it."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest

import faults
from codeflow.dataset.verify import verify
from codeflow_miners.acquire.repositories import read_list
from hostile import HOSTILE, HostileCase, history

pytestmark = pytest.mark.slow  # one run of all; test_preflight.py tries each by itself

SCRIPT = Path(__file__).parents[3] / "examples" / "check_with_git.py"
MEMORY_BYTES = 1 << 30
MEASURED = (
    "import resource, subprocess, sys;"
    "status = subprocess.run([sys.executable, '-m', 'codeflow', *sys.argv[1:]]).returncode;"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True);"
    "sys.exit(status)"
)
LIMIT_S = 150  # about 8 s where nothing hangs


class Mined(NamedTuple):
    """The run. `repos` gives each case its `repo`; `triples` and `rules` are by that."""

    out: Path
    cases: dict[str, HostileCase]
    repos: dict[str, str]
    status: int
    stderr: str
    triples: dict[str, list[dict[str, Any]]]
    rules: dict[str, list[dict[str, Any]]]
    peak_bytes: int


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Mined:
    folder = tmp_path_factory.mktemp("hostile")
    cases = {name: build(folder) for name, build in HOSTILE.items()}
    cases["healthy"] = HostileCase(str(history(folder / "healthy")[0].path))
    listing, out = folder / "list.txt", folder / "out"
    listing.write_text("".join(f"{case.line}\n" for case in cases.values()))
    repos = {n: s.repo for n, s in zip(cases, read_list(listing), strict=True)}
    arguments = faults.mine_arguments(listing, out, "--kinds", "commit", "--window", "0:1")
    arguments += ["--until", "mine"]
    # a process between, whose only child is the run: its peak is that of the run and its gits
    done = faults.run(
        [sys.executable, "-c", MEASURED, *arguments, "--workers", "1"], timeout=LIMIT_S
    )
    peak = int(done.stdout.splitlines()[-1])
    triples, rules = defaultdict(list), defaultdict(list)
    for row in pq.read_table(out / "triples").to_pylist():
        triples[row["repo"]].append(row)
    for row in pq.read_table(out / "ledger").to_pylist():
        rules[row["repo"]].append(row)
    scale = 1 if sys.platform == "darwin" else 1024
    return Mined(out, cases, repos, done.returncode, done.stderr, triples, rules, peak * scale)


def test_the_run_ends_and_says_what_failed(mined: Mined) -> None:
    assert mined.status == 1, mined.stderr
    assert "Traceback" not in mined.stderr
    failed = [n for n, c in mined.cases.items() if "mined" not in c.expect]
    assert f"{len(mined.cases)}/{len(mined.cases)}, {len(failed)} failed" in mined.stderr
    assert not [r for rows in mined.rules.values() for r in rows if r["rule"] == "internal-error"]


def test_what_they_hold_comes_through_all_stages(mined: Mined, tmp_path: Path) -> None:
    """Every filter of the strictest profile and the rest of the stages, on a copy of the folder."""
    shutil.copytree(mined.out, tmp_path / "out")
    words = ("filter", str(tmp_path / "out"), "--workers", "1", "--filter", "strict", "optout")
    done = faults.run([sys.executable, "-m", "codeflow", *words], timeout=LIMIT_S)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr  # what could not be mined was told by mining
    rules = {row["rule"] for row in pq.read_table(tmp_path / "out/ledger").to_pylist()}
    assert "message/too-short" in rules
    assert not [rule for rule in rules if rule.endswith("/error")]
    assert verify(tmp_path / "out").ok


def test_there_are_more_than_twenty_kinds_of_each(mined: Mined) -> None:
    whole = [case for case in mined.cases.values() if "mined" in case.expect]
    assert len(whole) > 20
    assert len(mined.cases) - len(whole) > 20


@pytest.mark.parametrize("name", [*sorted(HOSTILE), "healthy"])
def test_each_comes_to_its_end(name: str, mined: Mined) -> None:
    case, repo = mined.cases[name], mined.repos[name]
    failures = [row for row in mined.rules[repo] if row["stage"] in ("open", "mine")]
    if case.expect == {"mined"}:
        assert failures == []
        assert len(mined.triples[repo]) >= 25, "the mischief took more than itself"
    else:
        [row] = failures
        assert row["rule"] in case.expect
        assert mined.triples[repo] == []
        assert "\n" not in row["reason"]
        assert str(mined.out.parent) not in row["reason"]
        if row["rule"].endswith("-object"):
            assert re.search(r"\b[0-9a-f]{40}\b", row["reason"]), "names the object"
    if case.canaries:
        assert list(case.canaries.iterdir()) == []


def test_healthy_triples_are_complete(mined: Mined) -> None:
    steps = [(row["old_commit"], row["new_commit"]) for row in mined.triples["healthy"]]
    ids = pq.read_table(mined.out / "triples", columns=["id"]).column(0).to_pylist()
    repo = mined.cases["healthy"].line
    chain = faults.run(
        ["git", f"--git-dir={repo}", "rev-list", "--first-parent", "--reverse", "main"]
    ).stdout.split()
    assert sorted(steps) == sorted(itertools.pairwise(chain))
    assert len(set(ids)) == len(ids)


def test_what_is_left_out_is_in_no_snapshot(mined: Mined) -> None:
    trees: dict[tuple[str, str], list[dict[str, str]]] = {
        (row["repo"], row["id"]): row["entries"]
        for row in pq.read_table(mined.out / "trees").to_pylist()
    }

    def paths(repo: str, tree: str, prefix: str = "") -> set[bytes]:
        found: set[bytes] = set()
        for entry in trees[repo, tree]:
            path = prefix + entry["name"]
            if entry["mode"] == "40000":
                found |= paths(repo, entry["id"], f"{path}/")
            else:
                found.add(path.encode())
        return found

    checked = 0
    for name, case in mined.cases.items():
        repo = mined.repos[name]
        for row in mined.triples[repo] if case.left_out else ():
            assert not paths(repo, row["new_tree"]) & case.left_out
            checked += 1
    assert checked > 100


def test_the_dataset_is_sound(mined: Mined) -> None:
    report = verify(mined.out)
    assert report.problems == []
    assert report.triples == sum(map(len, mined.triples.values())) > 800


@pytest.mark.faults
def test_git_alone_agrees(mined: Mined) -> None:
    """Whatever came of each is the source's, byte for byte, and what is left out had to be."""
    checked = [name for name, case in mined.cases.items() if case.expect == {"mined"}]
    for name in checked:
        line, repo = mined.cases[name].line, mined.repos[name]
        done = faults.run([sys.executable, str(SCRIPT), str(mined.out), line, "--repo", repo])
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(mined.triples[repo])} triples" in done.stdout
    assert len(checked) > 30


def test_memory_stays_within_bounds(mined: Mined) -> None:
    assert mined.peak_bytes < MEMORY_BYTES
