"""`--dry-run`: says what the command would do, ends as it would end, and touches nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from small_history import codeflow, small_history

MINE = ("mine", "--repos", "one.git", "--out", "data", "--workers", "1")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository, a filter in a file, and a dataset that was mined and curated."""
    folder = tmp_path_factory.mktemp("preview")
    small_history(folder / "one.git", 60)
    (folder / "mine.py").write_text(
        "from codeflow import keep\n\ndef all_of_it(triple):\n    return keep()\n"
    )
    (folder / "plain").mkdir()
    done = codeflow(*MINE, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and when it was written."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (status.st_mtime_ns, status.st_size)
    return found


TOKENIZE = ("tokenize", "data", "--render", "diff", "--length", "256")
CASES: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "new folder": (
        ("mine", "--repos", "one.git", "--out", "new", "--filter", "strict"),
        0,
        ("repositories: 1", "new: a new folder", "filter (strict)", "dedup", "publish"),
    ),
    "filter of a file": (
        ("mine", "--repos", "one.git", "--out", "new", "--filter", "mine.py:all_of_it"),
        0,
        ("mine.py:all_of_it",),
    ),
    "mining alone": (
        ("mine", "--repos", "one.git", "--out", "new", "--until", "mine"),
        0,
        ("would run: mine, publish",),
    ),
    "tokens": ((*MINE[:4], "new", "--until", "tokens"), 0, ("token folders of new",)),
    "what cannot be mined": (
        ("mine", "--repos", "list.txt", "--out", "new"),
        1,
        (
            "repositories: 3",
            "2 of them",
            "say the same again: 1",
            "line 2: plain: not-a-repository",
        ),
    ),
    "all done": (MINE, 0, ("mined already", "filter: done", "publish: done")),
    "other filters": ((*MINE, "--filter", "none"), 0, ("filter: would run", "split: would run")),
    "another split": ((*MINE, "--validation", "0.2"), 0, ("mix: done", "split: would run")),
    "fresh": ((*MINE, "--fresh"), 0, ("would remove it first",)),
    "another window": ((*MINE, "--window", "0:1"), 2, ("window.start",)),
    "other files": ((*MINE[:4], "plain.d"), 2, ("precious",)),
    "out is a file": ((*MINE[:4], "list.txt"), 2, ("list.txt: File exists",)),
    "unknown filter": ((*MINE, "--filter", "defualt"), 2, ("did you mean 'default'?",)),
    "a URL": ((*MINE[:4], "s3://bucket/x"), 0, ("would work in ", "s3://bucket/x")),
    "filter": (("filter", "data", "--filter", "none"), 0, ("filter: would run", "publish: would")),
    "dedup": (("dedup", "data", "--threshold", "0.9"), 0, ("filter: done", "dedup: would run")),
    "mix": (("mix", "data", "--sampler", "uniform"), 0, ("dedup: done", "mix: would run")),
    "publish": (("publish", "data"), 0, ("split: done", "publish: done")),
    "not mined": (("filter", "plain"), 2, ("mine first",)),
    "tokenize": (TOKENIZE, 0, ("as diff in rows of 256", "would be trained, of 32,768")),
    "tokenize badly": ((*TOKENIZE[:3], "dif", *TOKENIZE[4:]), 2, ("'dif'",)),
    "tokenizer that is not there": ((*TOKENIZE, "--tokenizer", "no.json"), 2, ("no.json",)),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if n % 2 else ()) for n, name in enumerate(CASES)],
)
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    name: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "list.txt").write_text("one.git\nplain\nhttps://example.org/o/r\none.git\n")
    (work / "plain.d").mkdir(exist_ok=True)
    (work / "plain.d" / "precious").touch()
    (work / "home").mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(work / "home"))
    arguments, status, words = CASES[name]
    before = everything(work)
    done = codeflow(*arguments, "--dry-run", cwd=work)
    assert done.returncode == status, done.stderr
    for word in words:
        assert word in done.stdout + done.stderr
    assert status == 2 or done.stdout.endswith("nothing was written\n")
    assert everything(work) == before


def test_what_a_dry_run_says_comes_true(work: Path) -> None:
    """The stages that it says would run are those whose records change."""
    records = {p.parent.name: p for p in (work / "data" / "decisions").glob("*/stage.json")}
    before = {name: path.read_bytes() for name, path in records.items()}
    command = ("dedup", "data", "--threshold", "0.85", "--workers", "1")
    said = codeflow(*command, "--dry-run", cwd=work).stdout.splitlines()
    would = {line.split(":")[0].strip() for line in said if line.endswith("would run")}
    assert codeflow(*command, cwd=work).returncode == 0
    changed = {name for name, path in records.items() if path.read_bytes() != before[name]}
    assert changed == would - {"publish"} == {"dedup", "mix", "split"}
    codeflow("dedup", "data", "--threshold", "0.7", "--workers", "1", cwd=work)


def test_a_dry_run_of_a_stopped_run_says_how_far_it_came(work: Path, tmp_path: Path) -> None:
    small_history(tmp_path / "a.git")
    (tmp_path / "list.txt").write_text("a.git\n")
    mine = ("mine", "--repos", "list.txt", "--out", "data", "--workers", "1", "--until", "mine")
    assert codeflow(*mine, cwd=tmp_path).returncode == 0
    os.remove(tmp_path / "data" / "mined" / "index.json")  # the last thing that mining writes
    os.remove(tmp_path / "data" / "manifest.json")
    done = codeflow(*mine, "--dry-run", cwd=tmp_path)
    assert "goes on where it stopped: 1 histories read, 1 repositories mined" in done.stdout


def test_as_json_it_is_one_object(work: Path) -> None:
    (work / "list.txt").write_text("one.git\nplain\n")
    done = codeflow("mine", "--repos", "list.txt", "--out", "new", "--dry-run", "--json", cwd=work)
    [line] = done.stdout.splitlines()
    said = json.loads(line)
    assert said["event"] == "dry-run"
    assert len(said["problems"]) == 1
