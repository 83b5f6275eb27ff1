"""`codeflow inspect --list` and its conditions, with `git log` as judge; and `inspect --json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeflow.cli import main
from codeflow.dataset import reader as dataset
from codeflow.records import TRIPLES
from gitdag import Repo
from whole import mine_whole


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repo, Path]:
    folder = tmp_path_factory.mktemp("search")
    repo = Repo.create(folder / "r")
    repo.commit({"README.md": "# r\n"})
    for n in range(15):
        changes = {f"src/deep/m{n % 4}.py": f"x = {n}\n"} | (
            {"a[1].c": f"{n}\n"} if n % 5 == 0 else {}
        )
        repo.commit(
            changes, message=f"{'Fix' if n % 3 else 'ADD'} thing {n}\n\nBody {n}: caf\u00e9"
        )
    repo.commit({"src/deep/m0.py": None, "lib/m0.py": "x = 12\n"}, message="Move \x1b[31mit")
    assert mine_whole(repo.path, folder / "data") == 0
    return repo, folder / "data"


def found(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[str]:
    """New commits of what is listed, in its order."""
    capsys.readouterr()
    main(["inspect", *map(str, words), "--json", "--limit", "0"])
    return [json.loads(line)["new_commit"] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--list"], []),
        (["--grep", "fix"], ["-i", "-F", "--grep=fix"]),
        (["--grep", "body 1"], ["-i", "-F", "--grep=body 1"]),
        (["--grep", "caf\u00e9"], ["-F", "--grep=caf\u00e9"]),
        (["--grep", "thing ."], ["-F", "--grep=thing ."]),
        (["--path", "src"], ["--", "src"]),
        (["--path", "src/"], ["--", "src/"]),
        (["--path", "*.py"], ["--", "*.py"]),
        (["--path", "src/*/m1.py"], ["--", "src/*/m1.py"]),
        (["--path", "a[1].c"], ["--", "a[1].c"]),
        (["--path", "lib/m0.py"], ["--", "lib/m0.py"]),
        (["--path", "m0.py"], ["--", "m0.py"]),
        (["--path", "*m0*", "--grep", "ADD"], ["-i", "-F", "--grep=ADD", "--", "*m0*"]),
    ],
)
def test_what_is_found_is_what_git_log_finds(
    words: list[str], asked: list[str], mined: tuple[Repo, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    repo, out = mined
    first = repo.rev_list("--max-parents=0", "HEAD")
    told = repo.git("log", "--reverse", "--format=%H", "--first-parent", *asked).decode().split()
    assert found(capsys, out, *words) == [commit for commit in told if commit not in first]


def test_the_other_conditions(mined: tuple[Repo, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, out = mined
    everything = found(capsys, out, "--list")
    assert len(everything) == 16
    assert found(capsys, out, "--repo", "r", "--kind", "commit", "--split", "train") == everything
    assert found(capsys, out, "--kind", "span") == found(capsys, out, "--repo", "x") == []
    python = [t.new_commit for t in dataset.open(out).triples() if t.language == "Python"]
    assert sorted(found(capsys, out, "--language", "python")) == sorted(python)


def test_a_table_for_people(mined: tuple[Repo, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, out = mined
    capsys.readouterr()
    assert main(["inspect", str(out), "--list", "--limit", "2"]) == 0
    head, *lines, count = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "authored", "kind", "+", "-", "subject"]
    assert [line.split()[-1] for line in lines] == ["0", "1"]
    assert count == "2 of 16; --limit 0 shows all"
    assert main(["inspect", str(out), "--grep", "move"]) == 0
    text = capsys.readouterr().out
    assert "Move" in text
    assert "\x1b" not in text
    assert main(["inspect", str(out), "--grep", "no such words"]) == 1
    assert capsys.readouterr().out == "no triple matches\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kind", "comit"), "there is no kind 'comit' here; did you mean commit?"),
        (("--kind", "xyz"), "there is no kind 'xyz' here; there are commit"),
        (("--language", "Pyton"), "there is no language 'Pyton' here; did you mean Python?"),
        (("--repo", "\x1b[2J"), "there is no repo '\\x1b[2J' here; there are r"),
        (("--language", "python", "--grep", "no such words"), None),
    ],
)
def test_what_is_not_here_is_named(
    mined: tuple[Repo, Path],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str | None,
) -> None:
    capsys.readouterr()
    assert main(["inspect", str(mined[1]), *words]) == 1
    assert capsys.readouterr().out.splitlines() == ["no triple matches", *([said] if said else [])]


def test_wrong_usage(mined: tuple[Repo, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, out = mined
    assert main(["inspect", str(out), "abc", "--list"]) == 2
    assert main(["inspect", str(out), "--list", "--limit", "-1"]) == 2
    assert "--limit -1" in capsys.readouterr().err


def test_json_of_a_triple_and_of_a_dataset(
    mined: tuple[Repo, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out = mined
    opened = dataset.open(out)
    triple = next(opened.triples())
    capsys.readouterr()
    assert main(["inspect", str(out), triple.id[:12], "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert list(row) == TRIPLES.names
    assert row["patch"] == triple.patch
    assert row["authored_at"] == triple.authored_at.isoformat()
    assert row["files"][0]["status"] == triple.files[0].status
    assert main(["inspect", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["triples"] == {"train": {"commit": 16}}
    assert summary["repos"] == {"r": {"commit": 16}}
    assert sum(summary["languages"].values()) == 16
