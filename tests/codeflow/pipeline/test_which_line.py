"""Failures say which line of the list is meant, as written; nothing of it is published."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from codeflow.mining.outcomes import place_in_list
from small_history import codeflow, small_history

MINE = ("mine", "--repos", "list.txt", "--workers", "1", "--kinds", "commit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    small_history(folder / "good.git")
    (folder / "list.txt").write_text(
        "# two that are gone, under one name\n\ngone/one/repo\n../gone/two/repo@v1  # a comment\n"
        "public.org/me/good=good.git\nhttps://user:SECRET/word@h.org/x\nmirror=no-such\n"
    )
    return folder


def test_line_and_path_of_what_failed(folder: Path) -> None:
    done = codeflow(*MINE, "--out", "data", cwd=folder)
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    for said in ("line 3: gone/one/repo (repo~", "line 4: ../gone/two/repo@v1 (repo~",
                 "line 6 forbidden-url:", "line 7: mirror=no-such missing:"):  # fmt: skip
        assert said in text
    assert "line 3: gone/one/repo" in done.stderr
    assert "SECRET" not in done.stdout + done.stderr
    again = codeflow(*MINE, "--out", "data", "--json", cwd=folder)
    failed = json.loads(again.stdout.splitlines()[-1])["failed"]
    assert {(row["line"], row["spec"]) for row in failed} == {
        (3, "gone/one/repo"), (4, "../gone/two/repo@v1"), (6, "line-6"), (7, "mirror=no-such")
    }  # fmt: skip
    stage = codeflow("dedup", "data", "--threshold", "0.9", cwd=folder)
    assert "line 3: gone/one/repo" in " ".join(stage.stdout.split())


def test_what_is_published_has_the_name_and_no_path(folder: Path) -> None:
    codeflow(*MINE, "--out", "all", "--until", "mine", cwd=folder)
    [row, *_] = pq.read_table(folder / "all/triples").to_pylist()
    assert (row["repo"], row["repo_url"]) == ("public.org/me/good",) * 2
    published = [folder / "all/manifest.json", *(folder / "all/ledger").glob("*.parquet")]
    for path in published:
        assert b"gone/" not in path.read_bytes()
        assert b"no-such" not in path.read_bytes()


def test_another_name_is_another_list(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"one={folder}/good.git\n")
    assert codeflow(*MINE, "--out", "data", cwd=tmp_path).returncode == 0
    (tmp_path / "list.txt").write_text(f"two={folder}/good.git\n")
    done = codeflow(*MINE, "--out", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert f"was mined from one={folder}/good.git, which the list lacks" in done.stderr


def test_lines_that_moved_are_named_where_they_are_now(folder: Path, tmp_path: Path) -> None:
    lines = [f"{folder}/good.git\n", "nowhere\n"]
    (tmp_path / "list.txt").write_text("".join(lines))
    assert "line 2: nowhere" in codeflow(*MINE, "--out", "data", cwd=tmp_path).stdout
    (tmp_path / "list.txt").write_text("".join(lines[::-1]))
    codeflow(*MINE, "--out", "data", cwd=tmp_path)
    done = codeflow("dedup", "data", "--threshold", "0.9", cwd=tmp_path)
    assert "line 1: nowhere" in done.stdout


def test_words_for_a_place() -> None:
    assert place_in_list("x~12", None, None) == "x~12"
    assert place_in_list("x~12", 3, "a/x") == "line 3: a/x (x~12)"
    assert place_in_list("x", 3, "a/x") == "line 3: a/x"
    assert place_in_list("line-3", 3, "line-3") == "line 3"


def test_a_run_for_a_url_says_where_it_works(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{folder}/good.git\n")
    out, work = f"file://{tmp_path}/sent", tmp_path / "work"
    done = codeflow(*MINE, "--out", out, "--work", str(work), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"working in {work} (--work chooses another folder)" in done.stderr
    assert f"worked in {work}".replace(" ", "") in "".join(done.stdout.split())
