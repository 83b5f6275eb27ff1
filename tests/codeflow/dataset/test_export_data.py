"""CommitPackFT's columns, against what git itself says of every commit."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codeflow.commands import export_data as command
from codeflow.dataset import commitpack as export_data
from codeflow.dataset import reader as dataset
from codeflow.dataset.contents import Shards
from codeflow.errors import CodeflowError, DataError, UsageError
from codeflow.storage.layout import SPLITS
from tiny_dataset import SNAPSHOTS, Files, Git, build, contents, history, triple_row, write_dataset

# the example of CommitPackFT's dataset card, as far as names go
COLUMNS = "commit old_file new_file old_contents new_contents subject message lang license repos"


def single_file_changes() -> list[Files]:
    """A history whose commits mostly change one file: every status, and shared contents."""
    now: dict[str, tuple[str, bytes]] = {"a.py": ("100644", b"x = 0\n"), "b.md": ("100644", b"")}
    made: list[Files] = [dict(now)]

    def change(**files: tuple[str, bytes] | None) -> None:
        for name, file in files.items():
            path = name.replace("__", "/").replace("_py", ".py")
            now.pop(path, None) if file is None else now.update({path: file})
        made.append(dict(now))

    for k in range(1, 6):
        change(a_py=("100644", f"x = {k}\n".encode() * k))
    change(src__new_py=("100644", "é = '\u2028'\r\nno end".encode()))
    change(src__new_py=("100755", "é = '\u2028'\r\nno end".encode()))  # mode only
    change(src__new_py=("100755", b"x = 1\n"))  # a content that was there before
    change(src__new_py=None, src__moved_py=("100755", b"x = 1\n"))  # a rename: one file
    change(a_py=("100644", b""), src__moved_py=("100755", b"y\n"))  # two files
    change(link=("120000", b"a.py"))
    change(link=("120000", b"b.md"))
    change(link=("100644", b"b.md\n"))  # a change of type
    change(a_py=None)
    change(a_py=("100644", b""))  # an empty file added
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Git, list[str]]]]:
    """Two repositories, of which one has a GitHub name; rows by plain git, spans and validation."""
    folder = tmp_path_factory.mktemp("export")
    repos = {}
    for name, snapshots in (("github.com/ada/one", single_file_changes()), ("two", SNAPSHOTS)):
        git = Git(folder / name.replace("/", "-"))
        repos[name] = (git, history(git, snapshots))
    return build(folder / "data", repos, spans=(1, 3)), repos


def expected_rows(
    made: tuple[Path, dict[str, tuple[Git, list[str]]]], split: str
) -> tuple[dict[str, dict[str, Any]], Counter[str]]:
    """What git says: rows by commit, and the commits that have no row."""
    path, repos = made
    rows, left = {}, Counter[str]()
    for triple in dataset.open(path).triples(split=split):
        git, _ = repos[triple.repo]
        if triple.kind == "span":
            left["several-commits"] += 1
            continue
        raw = git.run(
            "diff-tree", "-r", "-z", "-M", "--name-status", "--no-commit-id", triple.new_commit
        ).split(b"\0")[:-1]
        status, *names = (part.decode() for part in raw)
        if len(names) > (2 if status[0] == "R" else 1):
            left["several-files"] += 1
            continue
        before, after = (git.files(c) for c in (triple.old_commit, triple.new_commit))
        old, new = before.get(names[0]), after.get(names[-1])
        if status == "D":
            left["deleted"] += 1
        elif "120000" in [side[0] for side in (old, new) if side]:
            left["symlink"] += 1
        elif (old or ("", b"-"))[1] == (new or ("", b""))[1] and status == "M":
            left["mode-only"] += 1
        else:
            said = git.run("show", "-s", "--format=%s%n%B", triple.new_commit).decode()
            subject, message = said.split("\n", 1)
            rows[triple.new_commit] = {
                "commit": triple.new_commit,
                "old_file": names[0],
                "new_file": names[-1],
                "old_contents": (old or ("", b""))[1].decode(),
                "new_contents": (new or ("", b""))[1].decode(),
                "subject": subject,
                "message": message.strip() + "\n",
                "lang": "Python" if names[-1].endswith(".py") else "unknown",
                "license": "mit",
                "repos": "ada/one" if triple.repo == "github.com/ada/one" else "two",
            }
    return rows, left


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("at_once", [1 << 16, 3])
def test_rows_are_what_git_says(
    made: Any, split: str, name: str, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_data, "_TRIPLES_AT_ONCE", at_once)
    monkeypatch.setattr(export_data, "_ROWS_PER_GROUP", at_once)
    expected, left = expected_rows(made, split)
    done = export_data.export_commitpack(made[0], tmp_path / "new" / name, split)
    rows = read(tmp_path / "new" / name)
    assert all(list(row) == COLUMNS.split() for row in rows)
    assert {row["commit"]: row for row in rows} == expected
    assert (done.rows, done.left_out) == (len(rows), dict(left))
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name], "nothing else is left"


def test_every_reason_is_met(made: Any, tmp_path: Path) -> None:
    left = sum((expected_rows(made, split)[1] for split in SPLITS), Counter[str]())
    reasons = {"several-commits", "several-files", "deleted", "symlink", "mode-only"}
    assert set(left) == reasons


def test_the_new_side_is_what_git_apply_makes_of_the_old_one(made: Any, tmp_path: Path) -> None:
    export_data.export_commitpack(made[0], tmp_path / "out.jsonl")
    opened = dataset.open(made[0])
    patches = {t.new_commit: t for t in opened.triples(kind="commit")}
    rows = read(tmp_path / "out.jsonl")
    for row in rows:
        triple = patches[row["commit"]]
        work = tmp_path / row["commit"]
        old, new = work / row["old_file"], work / row["new_file"]
        old.parent.mkdir(parents=True)
        if triple.files[0].old_path is not None:
            old.write_bytes(row["old_contents"].encode())
            old.chmod(int(triple.files[0].old_mode or "", 8) & 0o777)
        else:
            assert (row["old_file"], row["old_contents"]) == (row["new_file"], "")
        subprocess.run(
            ["git", "apply", "--whitespace=nowarn", "-"],
            input=triple.patch.encode(),
            cwd=work,
            env={"GIT_CEILING_DIRECTORIES": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/"},
            check=True,
        )
        assert new.read_bytes() == row["new_contents"].encode()
    assert len(rows) > 5


def test_a_row_group_is_decoded_once(made: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """However many triples there are: contents are read in stored order."""
    monkeypatch.setattr("codeflow.dataset.contents.CACHE_BYTES", 1)
    opened = dataset.open(made[0])
    seen: Counter[tuple[str, int]] = Counter()
    plain = Shards.read

    def counting(self: Any, group: Any, columns: Any = None) -> Any:
        if columns is not None and "content" in columns:
            seen[group.path.name, group.number] += 1
        return plain(self, group, columns)

    monkeypatch.setattr(Shards, "read", counting)
    export_data.export_commitpack(made[0], tmp_path / "out.jsonl")
    groups = opened.blob_shards.groups
    assert len(groups) > 3, "the test needs several row groups"
    assert all(count <= 2 for count in seen.values()), "once a repository that has a part in it"
    assert sum(seen.values()) <= len(groups) + 1


def test_same_bytes_again_and_what_is_refused(made: Any, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    export_data.export_commitpack(made[0], one)
    export_data.export_commitpack(made[0], two)
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(UsageError, match=r"one\.jsonl: is there already"):
        export_data.export_commitpack(made[0], one)
    with pytest.raises(UsageError, match=r"ends with \.jsonl or \.parquet"):
        export_data.export_commitpack(made[0], tmp_path / "rows.csv")
    with pytest.raises(DataError, match="not a dataset"):
        export_data.export_commitpack(tmp_path, tmp_path / "x.jsonl")
    with pytest.raises(CodeflowError, match="give another place"):
        export_data.export_commitpack(made[0], one / "below-a-file.jsonl")


def test_messages_licences_and_splits_that_are_missing(tmp_path: Path) -> None:
    git = Git(tmp_path / "git")
    texts = ["", "Wrap\nover two lines\n\nbody\n\nmore\n", "  \n", "One"]
    chain: list[str] = []
    for number, text in enumerate(texts):
        tree = git.tree({"a": ("100644", b"%d" % number)})
        chain.append(git.commit(tree, *chain[-1:], message=text))
    rows = [triple_row(git, "r", chain, k, k + 1) for k in range(len(chain) - 1)]
    for row in rows:
        row["license"] = None
        if not row["messages"][0][0]:
            row["messages"] = [[]]
    rows[-1]["messages"] = [["One", "of a merge"]]
    blobs, trees = contents(git, "r", rows)
    tables = {"train": rows, "blobs": blobs, "trees": trees}
    data = write_dataset(tmp_path / "data", tables, {"r": chain[-1]})
    done = export_data.export_commitpack(data, tmp_path / "out.parquet")
    by_commit = {row["commit"]: row for row in read(tmp_path / "out.parquet")}
    assert done.left_out == {"no-message": 1}
    wrapped = by_commit[chain[1]]
    assert wrapped["subject"] == git.run("show", "-s", "--format=%s", chain[1]).decode().strip()
    assert wrapped["message"] == "Wrap\nover two lines\n\nbody\n\nmore\n"
    assert (by_commit[chain[3]]["message"], wrapped["license"]) == ("One\n", None)
    with pytest.raises(UsageError, match="no validation triples"):
        export_data.export_commitpack(data, tmp_path / "x.jsonl", "validation")


def test_the_command(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    to = tmp_path / "out.jsonl"
    words = ["export-data", str(made[0]), "--format", "commitpack", "--to", str(to)]
    parsed = parser.parse_args(words)
    assert parsed.command(parsed) == 0
    said = capsys.readouterr().out
    assert f"{len(read(to)):,} rows in {to}" in said
    assert "several-commits" in said
    with pytest.raises(SystemExit):
        parser.parse_args([*words[:3], "alpaca", *words[4:]])
