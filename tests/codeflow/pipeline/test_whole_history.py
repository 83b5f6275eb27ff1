"""examples/whole-history.toml publishes every first-parent commit, with authors and merges."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeflow.dataset import reader as dataset
from codeflow.dataset.verify import verify
from gitdag import Content, Path_, Repo
from small_history import ROOT, codeflow
from whole import RECIPE, mine_whole

SCRIPT = ROOT / "examples/check_with_git.py"
ADA, BOB = "Ada <ada@example.org>", "Bob <bob@example.org>"
SEVERAL = (
    ADA,
    BOB,
    "A. Lovelace <ADA@Example.org>",
    "dependabot[bot] <support@github.com>",
    "N <>",
)


def write_history(path: Path) -> Repo:
    """What filters and dedup drop: wip, reverts, the same change twice, bots, large; merges."""
    repo = Repo.create(path)
    for n in range(12):
        repo.commit({f"src/m{n}.py": f"x = {n}\n"}, message="wip", author=SEVERAL[n % 5])
    for n in range(6):  # the same change again and again
        repo.commit({"flip.txt": "on\n" if n % 2 == 0 else "off\n"}, author=BOB, message="Flip it")
    big: dict[Path_, Content | None] = {f"gen/{k}.txt": f"{k}\n" for k in range(6000)}
    repo.commit(big, message="Add many files", author=ADA)
    base = repo.tip
    assert base is not None
    side = repo.commit({"side.py": "y = 1\n"}, message="On the side", author=BOB)
    repo.commit({"side.py": "y = 1\n"}, parents=[base, side], message="Merge side", author=ADA)
    tip = repo.tip
    assert tip is not None
    repo.commit({"twice.py": "z\n"}, parents=[tip, tip], message="Twice a parent", author=BOB)
    repo.commit({}, message="Nothing")
    repo.commit({"bin": b"\0"}, message="Binary only")
    return repo


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repo, Path]:
    folder = tmp_path_factory.mktemp("whole")
    repo = write_history(folder / "r")
    assert mine_whole(repo.path, folder / "data") == 0
    return repo, folder / "data"


def rows(out: Path, table: str = "triples") -> list[dict[str, Any]]:
    return pq.read_table(out / table).to_pylist()


def test_every_commit_of_the_chain_has_a_row_or_a_line_in_the_ledger(
    mined: tuple[Repo, Path],
) -> None:
    repo, out = mined
    chain = repo.rev_list("--first-parent", "--reverse", "HEAD")
    empty = [row["new_commit"] for row in rows(out, "ledger") if row["rule"] == "empty"]
    published = {row["new_commit"] for row in rows(out)}
    assert len(empty) == 2
    assert published == set(chain[1:]) - set(empty)
    assert not list((out / "triples").glob("validation-*"))
    assert verify(out).ok


def test_columns_are_what_git_says(mined: tuple[Repo, Path]) -> None:
    repo, out = mined
    merges = set(repo.rev_list("--merges", "HEAD"))
    people: dict[str, set[str]] = {}
    for row in rows(out):
        told = repo.git("log", "-1", "--format=%at%x00%ae", row["new_commit"]).decode().strip()
        when, address = told.split("\0")
        assert int(row["authored_at"].timestamp()) == int(when)
        assert row["is_merge"] == (row["new_commit"] in merges)
        people.setdefault(row["author_id"], set()).add(address.lower())
    assert sum(row["is_merge"] for row in rows(out)) == len(merges) == 2
    assert sorted(map(sorted, people.values())) == [
        [""], ["ada@example.org"], ["bob@example.org"], ["support@github.com"]
    ]  # fmt: skip


def test_git_alone_agrees_and_would_not_with_other_columns(
    mined: tuple[Repo, Path], tmp_path: Path
) -> None:
    repo, out = mined

    def check(folder: Path) -> str:
        words = [sys.executable, str(SCRIPT), str(folder), str(repo.path)]
        return subprocess.run(words, capture_output=True, text=True).stdout

    assert check(out).endswith(", 0 faults\n")
    for column, value, said in (
        ("is_merge", True, "is_merge is True"),
        ("authored_at", 0, "git says"),
        ("author_id", "0" * 16, "is of two authors"),
        ("author_id", None, "another author_id"),
    ):
        copy = tmp_path / f"{column}-{value}"
        shutil.copytree(out, copy, ignore=shutil.ignore_patterns("mined", ".work", "decisions"))
        [shard] = (copy / "triples").glob("*.parquet")
        table = pq.read_table(shard)
        values = table.column(column).to_pylist()
        mended = (
            [value] * len(values)
            if value is not None
            else [f"{k:016x}" for k in range(len(values))]
        )
        place = table.schema.get_field_index(column)
        field = table.schema.field(column)
        table = table.set_column(place, field, pa.array(mended, field.type))
        pq.write_table(table, shard)
        assert said in check(copy)


def test_ids_hold_no_address(mined: tuple[Repo, Path]) -> None:
    """Whoever knows the addresses and all that is published cannot find one by hashing."""
    repo, out = mined
    ids = {row["author_id"] for row in rows(out)}
    manifest = json.loads((out / "manifest.json").read_text())
    known = ["", "r", str(manifest["seed"]) if "seed" in manifest else "", *repo.rev_list()]
    for salt in known:
        for who in ("ada@example.org", "bob@example.org", ADA, BOB, "Ada", "Bob"):
            for text in (salt + who, who + salt, f"{salt}\0{who}", f"{salt}:{who}"):
                for name in ("sha256", "sha1", "md5", "blake2b"):
                    assert hashlib.new(name, text.encode()).hexdigest()[:16] not in ids


def test_the_same_again_and_a_longer_history_keep_the_ids(
    mined: tuple[Repo, Path], tmp_path: Path
) -> None:
    _, out = mined
    before = {row["new_commit"]: row["author_id"] for row in rows(out)}
    again = write_history(tmp_path / "r")
    assert mine_whole(again.path, tmp_path / "again") == 0
    old, new = (json.loads((p / "manifest.json").read_text()) for p in (out, tmp_path / "again"))
    assert old["files"] == new["files"]
    again.commit({"later.py": "1\n"}, author="Cy <cy@example.org>")
    assert mine_whole(again.path, tmp_path / "longer") == 0
    after = {row["new_commit"]: row["author_id"] for row in rows(tmp_path / "longer")}
    assert before.items() <= after.items()
    assert after[again.tip or ""] not in before.values()


def test_another_repository_has_other_ids(mined: tuple[Repo, Path], tmp_path: Path) -> None:
    _, out = mined
    other = write_history(tmp_path / "other")
    assert mine_whole(other.path, tmp_path / "data") == 0
    assert not {r["author_id"] for r in rows(out)} & {
        r["author_id"] for r in rows(tmp_path / "data")
    }


def test_one_switch_turns_ids_off(mined: tuple[Repo, Path], tmp_path: Path) -> None:
    repo, _ = mined
    config = tmp_path / "off.toml"
    config.write_text(RECIPE.read_text().replace("[mine]\n", "[mine]\nauthor_ids = false\n"))
    assert mine_whole(repo.path, tmp_path / "data", config=config) == 0
    assert {row["author_id"] for row in rows(tmp_path / "data")} == {None}
    triple = next(dataset.open(tmp_path / "data").triples())
    assert triple.author_id is None


def test_the_summary_says_whether_dedup_drops(
    mined: tuple[Repo, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo, out = mined
    config = tmp_path / "dedup.toml"
    config.write_text(RECIPE.read_text().replace("exact = false", "exact = true"))
    assert mine_whole(repo.path, tmp_path / "data", config=config) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no filter was asked for, but dedup drops duplicates all the same" in said
    assert "[dedup] exact = false and near = false keep them" in said
    assert len(rows(tmp_path / "data")) < len(rows(out))
    assert mine_whole(repo.path, tmp_path / "data", "--fresh") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "dedup is off (exact and near are false): duplicates are kept" in said
    assert len(rows(tmp_path / "data")) == len(rows(out))


def test_a_folder_of_the_schema_before_is_refused_in_one_line(
    mined: tuple[Repo, Path], tmp_path: Path
) -> None:
    repo, out = mined
    old = tmp_path / "old"
    shutil.copytree(out, old)
    for name in ("mined/index.json", ".work/run.json"):
        values = json.loads((old / name).read_text())
        del values["schema_version"]  # as schema version 1 had none
        (old / name).write_text(json.dumps(values))
    (tmp_path / "list.txt").write_text(f"{repo.path}\n")
    again = ("mine", "--repos", "list.txt", "--out", "old", "--config", RECIPE, "--workers", "1")
    for words in (
        ("filter", "old", "--filter", "none"),
        ("dedup", "old"),
        ("publish", "old"),
        again,
    ):
        done = codeflow(*words, cwd=tmp_path)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "schema version 1, this codeflow has 3; use --fresh to mine again" in line
    assert codeflow(*again, "--fresh", cwd=tmp_path).returncode == 0
