"""`verify` finds every kind of damage that is done to a good dataset."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codeflow import records
from codeflow.cli import main
from codeflow.dataset import reader as reading
from codeflow.dataset.verify import verify
from codeflow.errors import CodeflowError, DataError
from codeflow.execution.many import Workers
from codeflow.git.objects import TreeEntry, blob_id, tree_id
from codeflow.publish.shards import describe
from codeflow.storage import layout, manifest
from tiny_dataset import SNAPSHOTS, Git, build, history, write_dataset
from tiny_steps import Tables, tables_of


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    git = Git(folder / "one.git")
    two = Git(folder / "two.git")
    repos = {"one": (git, history(git, SNAPSHOTS)), "two": (two, history(two, SNAPSHOTS[::-1]))}
    return build(folder / "data", repos)


def test_a_good_dataset_has_no_fault(good: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = verify(good, progress=lambda *what: told.append(what))
    assert report.problems == []
    assert report.ok
    tables = tables_of(good)
    assert report.triples == len(tables["train"]) + len(tables["validation"])
    assert (report.blobs, report.trees) == (len(tables["blobs"]), len(tables["trees"]))
    assert report.steps == len(tables["steps"]) > 0
    assert {stage for stage, _, _ in told} == {"files", "objects", "triples"}
    assert all(done <= total for _, done, total in told)


def test_a_flipped_byte_is_found_and_its_file_named(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    shutil.copytree(good, path)
    rng = random.Random(0)
    files = [file for file in path.glob("**/*") if file.is_file()]
    assert len(files) >= 5
    for file in files:
        data = file.read_bytes()
        places = {0, len(data) - 1, *(rng.randrange(len(data)) for _ in range(40))}
        for place in sorted(places):
            flipped = bytes([data[place] ^ (1 << rng.randrange(8))])
            file.write_bytes(data[:place] + flipped + data[place + 1 :])
            name = file.relative_to(path).as_posix()
            try:
                found = {problem.file for problem in verify(path).problems}
            except DataError as error:
                found = {name} if name in str(error) else set()
            assert name in found, (name, place)
        file.write_bytes(data)
    assert verify(path).ok


def test_missing_extra_and_cut_files_are_named(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    shutil.copytree(good, path)
    shard = next((path / "triples").iterdir())
    shutil.copy(shard, shard.with_name("train-00009-of-00009.parquet"))
    assert [p.file for p in verify(path).problems] == ["triples/train-00009-of-00009.parquet"]
    shard.with_name("train-00009-of-00009.parquet").unlink()
    shard.write_bytes(shard.read_bytes()[:-1])
    assert [p.file for p in verify(path).problems] == [f"triples/{shard.name}"]
    shard.unlink()
    assert [p.file for p in verify(path).problems] == [f"triples/{shard.name}"]
    with pytest.raises(DataError, match="not a dataset"):
        verify(tmp_path)


def test_the_manifest_counts_rows(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    shutil.copytree(good, path)
    values = json.loads((path / "manifest.json").read_bytes())
    values["files"][0]["rows"] += 1
    (path / "manifest.json").write_bytes(manifest.seal(values))
    (problem,) = verify(path).problems
    assert problem.file == values["files"][0]["path"]
    assert "rows" in problem.what


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/hostname"])
def test_the_manifest_cannot_point_outside(good: Path, tmp_path: Path, path: str) -> None:
    values = json.loads((good / "manifest.json").read_bytes())
    values["files"].append({"path": path, "rows": 1, "bytes": 1, "sha256": ""})
    shutil.copytree(good, tmp_path / "data")
    (tmp_path / "data" / "manifest.json").write_bytes(manifest.seal(values))
    assert [(p.file, p.what) for p in verify(tmp_path / "data").problems] == [
        (path, "lies outside the dataset")
    ]


def first(tables: Tables, **wanted: Any) -> dict[str, Any]:
    return next(
        row
        for row in tables["train"]
        if all(row[key] == value for key, value in wanted.items()) and row["patch"].count("@@") > 1
    )


def set_triple(key: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Tables], None]:
    def damage(tables: Tables) -> None:
        row = first(tables)
        row[key] = change(row)

    return damage


def set_file(key: str, value: Any) -> Callable[[Tables], None]:
    def damage(tables: Tables) -> None:
        change = next(f for f in first(tables)["files"] if f["status"] in "MR")
        change[key] = value

    return damage


def change_content(tables: Tables) -> None:
    row = next(row for row in tables["blobs"] if row["content"])
    row["content"] = "!" + row["content"][1:]


def forge_content(tables: Tables) -> None:
    """A changed content under its own right id, so that only the reference is broken."""
    row = next(row for row in tables["blobs"] if row["content"])
    row["content"] = "!" + row["content"][1:]
    row["id"] = blob_id(row["content"].encode())


def rename_entry(tables: Tables) -> None:
    tables["trees"][0]["entries"][0]["name"] += "x"


def illegal_name(tables: Tables) -> None:
    row = tables["trees"][0]
    row["entries"][0]["name"] = ".GIT"
    row["id"] = tree_id(TreeEntry(**entry) for entry in row["entries"])


def unsorted_tree(tables: Tables) -> None:
    row = next(row for row in tables["trees"] if len(row["entries"]) > 1)
    row["entries"].reverse()
    row["id"] = tree_id(TreeEntry(**entry) for entry in row["entries"])


def orphan(tables: Tables) -> None:
    content = "nobody refers to this\n"
    tables["blobs"].append(
        {
            "repo": "two",
            "id": blob_id(content.encode()),
            "size_bytes": len(content),
            "content": content,
        }
    )


def rename_triple(tables: Tables) -> None:
    first(tables)["id"] = "f" * 32


def other_patch(tables: Tables) -> None:
    """Another triple's patch with its files: consistent in itself, and wrong."""
    a, b = [row for row in tables["train"] if row["kind"] == "commit" and row["repo"] == "one"][:2]
    for key in ("patch", "files", "additions", "deletions"):
        a[key] = b[key]


def swap_sides(tables: Tables) -> None:
    row = first(tables)
    row["old_tree"], row["new_tree"] = row["new_tree"], row["old_tree"]


def drop_last_file_patch(row: dict[str, Any]) -> str:
    return str(row["patch"][: row["patch"].rindex("diff --git ")])


DAMAGE: list[tuple[str, Callable[[Tables], object]]] = [
    ("the content hashes to", change_content),
    ("missing", forge_content),
    ("is reached by no triple", orphan),
    ("the entries hash to", rename_entry),
    ("refuses the name '.GIT'", illegal_name),
    ("not in git's order", unsorted_tree),
    ("size_bytes is", lambda tables: tables["blobs"][0].update(size_bytes=99999)),
    ("missing", lambda tables: tables["blobs"].pop()),
    ("missing", lambda tables: tables["trees"].pop()),
    ("twice", lambda tables: tables["trees"].append(dict(tables["trees"][-1]))),
    ("twice", lambda tables: tables["blobs"].append(dict(tables["blobs"][-1]))),
    ("not sorted by repo", lambda tables: tables["blobs"].reverse()),
    ("stands in the dataset twice", lambda t: t["validation"].append(dict(t["train"][0]))),
    ("are not sorted", lambda t: t["train"].append(dict(t["train"][0]))),
    ("its id should be", rename_triple),
    ("its id should be", set_triple("new_commit", lambda row: "0" * 40)),
    ("not new_commit", set_triple("commits", lambda row: [*row["commits"], "0" * 40])),
    ("messages", set_triple("messages", lambda row: [*row["messages"], ["x"]])),
    ("patch", set_triple("patch", lambda row: row["patch"].replace(" @@\n", " @@\n+!\n", 1))),
    ("patch", set_triple("patch", drop_last_file_patch)),
    ("patch", set_triple("patch", lambda row: row["patch"] + "\n")),
    ("patch", set_triple("patch", lambda row: "")),
    ("sum over", set_triple("additions", lambda row: row["additions"] + 1)),
    ("sum over", set_triple("deletions", lambda row: row["deletions"] + 1)),
    ("no row for", set_triple("files", lambda row: row["files"][1:])),
    ("the patch does not do", set_triple("files", lambda row: row["files"] + row["files"][:1])),
    ("the patch +", set_file("additions", 77)),
    ("the patch does not do", set_file("old_path", "elsewhere")),
    ("the patch does not do", set_file("new_blob", "0" * 40)),
    ("the patch does not do", set_file("old_mode", "120000")),
    ("the patch does not do", set_file("status", "T")),
    ("patch", other_patch),
    ("patch", swap_sides),
    ("same", set_triple("new_tree", lambda row: row["old_tree"])),
    ("referred to, but missing", set_triple("new_tree", lambda row: "1" * 40)),
]


@pytest.mark.parametrize(("message", "damage"), DAMAGE)
def test_damage_behind_right_checksums_is_found(
    good: Path, tmp_path: Path, message: str, damage: Callable[[Tables], None]
) -> None:
    tables = tables_of(good)
    damage(tables)
    path = write_dataset(tmp_path / "data", tables, {})
    report = verify(path)
    assert any(message in str(problem) for problem in report.problems), report.problems
    assert report.problem_count >= len(report.problems) > 0


def test_undamaged_rows_written_again_are_fine(good: Path, tmp_path: Path) -> None:
    for row_group in (1, 1000):
        path = write_dataset(tmp_path / f"{row_group}", tables_of(good), {}, row_group=row_group)
        assert verify(path).ok


def test_batches_change_nothing(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeflow.dataset.verify_triples.JOB_BYTES", 1)
    monkeypatch.setattr("codeflow.dataset.verify_triples._BATCH_BYTES", 1)
    monkeypatch.setattr("codeflow.dataset.verify_objects._ROWS_A_JOB", 1)
    report = verify(good)
    assert report.ok
    assert report.triples == sum(len(tables_of(good)[name]) for name in ("train", "validation"))


def test_the_tables_of_the_test_are_the_published_ones(good: Path) -> None:
    assert tables_of(good)["trees"][0].keys() == set(records.TREES.names)


@pytest.mark.slow
def test_any_number_of_processes_says_the_same(good: Path, tmp_path: Path) -> None:
    for number, (_, damage) in enumerate([("", lambda tables: None), *DAMAGE]):
        tables = tables_of(good)
        damage(tables)
        path = write_dataset(tmp_path / f"{number}", tables, {}, row_group=7)
        told = verify(path)
        with pytest.MonkeyPatch.context() as patch:  # other jobs, too
            patch.setattr("codeflow.dataset.verify_triples.JOB_BYTES", 1)
            assert verify(path).problem_count == told.problem_count
        if number % 6 == 0:  # processes take a second to start
            assert verify(path, workers=3) == told


def test_progress_of_processes_adds_up(good: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = verify(good, progress=lambda *what: told.append(what), workers=2)
    assert report.ok
    assert all(0 <= done <= total for _, done, total in told)
    for stage in {stage for stage, _, _ in told}:
        numbers = [done for name, done, _ in told if name == stage]
        assert numbers == sorted(numbers)


def test_a_process_that_dies_is_one_line(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CodeflowError, match="a worker process died"), Workers(2) as pool:
        list(pool.map(_die, [1, 2], lambda done: None))


def _die(job: int, advance: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def copied(good: Path, tmp_path: Path) -> Path:
    """A good dataset with a card and a ledger that the manifest lists."""
    path = tmp_path / "data"
    shutil.copytree(good, path)
    (path / "README.md").write_text("the card\n")
    (path / "ledger").mkdir()
    rows = [records.LedgerRow("mine", "missing", "no such folder", "gone")]
    pq.write_table(
        records.table_of(rows, records.LEDGER), path / "ledger" / "ledger-00000-of-00001.parquet"
    )
    values = json.loads((path / layout.MANIFEST).read_bytes())
    names = ("README.md", "ledger/ledger-00000-of-00001.parquet")
    values["files"] += [describe(path, name) for name in names]
    (path / layout.MANIFEST).write_bytes(manifest.seal(values))
    assert verify(path).ok
    return path


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "triples/.DS_Store", "blobs/Thumbs.db", "trees/notes/todo.txt", "ledger/x~"],
)
def test_a_file_of_somebody_else_is_no_damage(
    copied: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_bytes(b"\0\0\0\1Bud1")
    report = verify(copied)
    assert report.ok
    assert report.triples == len(reading.open(copied)) > 0
    assert [remark.file for remark in report.remarks] == [name] * ("/" in name)
    assert main(["verify", str(copied)]) == 0
    out = capsys.readouterr().out
    assert f"{report.triples:,} triples replayed" in out
    assert ("remark: " + name in out) is ("/" in name)


def test_an_edited_card_is_no_damage(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "README.md").write_text("the card, with my own words\n")
    report = verify(copied)
    assert report.ok
    assert report.triples == len(reading.open(copied)) > 0
    assert [remark.file for remark in report.remarks] == ["README.md"]
    assert main(["verify", str(copied)]) == 0
    out = capsys.readouterr().out
    assert "README.md: was edited" in out
    assert out.splitlines()[-1].startswith("sound: ")


@pytest.mark.parametrize("what", ["card", "ledger", "manifest", "shard"])
def test_other_damage_is_said_and_the_triples_are_replayed(
    copied: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = copied / "ledger" / "ledger-00000-of-00001.parquet"
    if what == "card":
        (copied / "README.md").unlink()
    elif what == "ledger":
        ledger.write_bytes(ledger.read_bytes()[:-3])
    elif what == "manifest":  # by a formatter
        values = json.loads((copied / layout.MANIFEST).read_bytes())
        (copied / layout.MANIFEST).write_text(json.dumps(values, indent=4))
    else:  # load_dataset would give its rows, too
        shutil.copy(ledger, copied / "triples" / "train-00009.parquet")
    report = verify(copied)
    assert report.problem_count == 1
    assert report.triples == len(reading.open(copied)) > 0
    assert main(["verify", str(copied)]) == 1
    *_, found, remedy = capsys.readouterr().out.splitlines()
    assert found.startswith("1 problem in ")
    assert "triples replayed" in found
    assert remedy.startswith("to mend it: ")


def test_a_damaged_table_is_not_decoded(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [shard] = copied.glob("blobs/*.parquet")
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    (copied / "README.md").write_text("edited")
    report = verify(copied)
    assert not report.ok
    assert not report.replayed
    assert report.triples == 0
    assert main(["verify", str(copied)]) == 1
    out = capsys.readouterr().out
    assert "not safe to decode" in out
    assert "README.md: was edited" in out
