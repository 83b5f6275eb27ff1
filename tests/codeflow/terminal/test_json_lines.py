"""docs/json.md names every event and field that `--json` prints, and none that it does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codeflow.publish.summary import FailedRepository, LeftOut, StageCount
from small_history import ROOT, codeflow, small_history

PAGE = (ROOT / "docs" / "json.md").read_text()


def named(part: str) -> set[str]:
    """What the first column of a part's table names."""
    section = PAGE.split("\n## ")[["Events", "Progress", "Summary"].index(part)]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall("`([a-z_]+)`", row)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json")
    small_history(folder / "small.git", commits=60)
    (folder / "list.txt").write_text("small.git\ngone.git\n")
    return folder


def lines(folder: Path, *words: str) -> list[dict[str, Any]]:
    done = codeflow(*words, "--json", cwd=folder)
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[dict[str, Any]]:
    mine = ["mine", "--repos", "list.txt", "--out", "data", "--filter", "none", "--workers", "1"]
    again = [*mine[:-1], "1"]
    return [
        *lines(folder, *mine),
        *lines(folder, *again),  # complete: a note
        *lines(folder, "filter", "data", "--filter", "size"),
        *lines(folder, "publish", "data", "--validation", "0.3"),
    ]


def test_every_event_is_documented(printed: list[dict[str, Any]]) -> None:
    seen = {line["event"] for line in printed}
    assert seen <= named("Events")
    assert {"stage", "note", "end", "summary"} <= seen
    assert named("Events") - seen <= {"progress"}  # of a run that takes longer


def test_every_field_is_documented(printed: list[dict[str, Any]]) -> None:
    summaries = [line for line in printed if line["event"] == "summary"]
    progress = [line for line in printed if line["event"] != "summary"]
    inner = {*FailedRepository._fields, *LeftOut._fields, *StageCount._fields}
    assert {key for line in progress for key in line} == named("Progress")
    assert {key for line in summaries for key in line} == named("Summary")
    for name in inner:
        assert f"`{name}`" in PAGE.split("\n## ")[2]


def test_a_run_ends_with_its_summary(folder: Path) -> None:
    *before, last = lines(folder, "publish", "data", "--validation", "0.2")
    assert last["event"] == "summary"
    assert [line["event"] for line in before].count("end") == 1
    assert before[-1]["event"] == "end"
    rows: dict[str, int] = {}
    for path in (folder / "data" / "triples").glob("*.parquet"):
        split = path.name.partition("-")[0]
        rows[split] = rows.get(split, 0) + pq.read_metadata(path).num_rows
    assert last["triples_by_split"] == rows
    assert set(rows) == {"train", "validation"}
    card = (folder / "data" / "README.md").read_text()
    assert f"({rows['train']:,} to train on, {rows['validation']:,} to validate on)" in card
    assert last["triples_by_kind"] == {"commit": sum(rows.values())}


def test_people_see_the_splits_too(folder: Path) -> None:
    done = codeflow("publish", "data", "--validation", "0.25", cwd=folder)
    text = re.search(r"  split   ([\d,]+) train, ([\d,]+) validation\n", done.stdout)
    assert text is not None
    counts = {"train": int(text[1]), "validation": int(text[2])}
    for split, count in counts.items():
        paths = (folder / "data" / "triples").glob(f"{split}-*.parquet")
        assert count == sum(pq.read_metadata(path).num_rows for path in paths)
