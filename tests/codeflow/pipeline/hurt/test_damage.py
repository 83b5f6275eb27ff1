"""What is damaged costs one line that says what, where and what to do; and doing it mends."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import damages
import faults
from codeflow.dataset.verify import verify
from codeflow.storage import files, layout
from damages import copied, run, told
from small_history import small_history

READING = ("inspect", "inspect ID", "checkout", "verify", "report", "export-data", "quality")
CHANGING = ("mine", "filter", "dedup", "mix", "publish")
FAULTS = pytest.mark.faults


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished folder `data` with its list, and a file of labels. Read only."""
    folder = tmp_path_factory.mktemp("damage")
    small_history(folder / "small.git")
    (folder / "list.txt").write_text(f"{folder}/small.git\n")
    words = ("--filter", "none", "--validation", "0.2", "--window", "0:1")
    assert run(*mine(folder, folder / "data"), *words).status == 0
    assert run("report", folder / "data").status == 0
    return folder


def mine(made: Path, data: Path) -> tuple[object, ...]:
    return ("mine", "--repos", made / "list.txt", "--out", data, "--workers", 1)


def words(command: str, made: Path, data: Path, place: Path) -> tuple[object, ...]:
    """The words of a command; what it writes goes below `place`."""
    id = one_id(made)
    labels = place / "labels.jsonl"
    labels.write_text(f'{{"id": "{id}", "label": 1}}\n')
    return {
        "mine": mine(made, data),
        "inspect ID": ("inspect", data, id),
        "checkout": ("checkout", data, id, "--side", "old", "--to", place / "side"),
        "report": ("report", data, "--out", place / "page.html"),
        "export-data": ("export-data", data, "--format", "commitpack", "--to", place / "x.jsonl"),
        "quality": ("quality", "train", data, "--labels", labels, "--out", place / "m.json"),
        "filter": ("filter", data),
    }.get(command, (command, data))


def one_id(made: Path) -> str:
    found = re.search(r"codeflow inspect \S+ ([0-9a-f]{12})", run("inspect", made / "data").out)
    assert found is not None
    return found[1]


def mended(line: str, made: Path, data: Path) -> str:
    """Does what a line says, and what that says, until nothing is said; what was done."""
    done: list[str] = []
    for _ in range(4):
        if not line or "mining cannot go on here" in line:  # what is published is whole
            return ", ".join(done)
        if "remove it, and" in line:
            files.remove(data / ".work/asked.json")
            done.append("remove")
            line = ""
        elif "--fresh" in line:
            more = ("--filter", "none", "--validation", "0.2", "--window", "0:1", "--fresh")
            done.append("fresh")
            line = told(run(*mine(made, data), *more), line)
        elif found := re.search(r"`codeflow (filter|dedup|mix|publish) [^`]*`", line):
            done.append(found[1])
            line = told(run(found[1], data), line)
        elif "run `codeflow filter` first" in line:
            done.append("filter")
            line = told(run("filter", data), line)
        elif "`codeflow mine`" in line:
            done.append("mine")
            line = told(run(*mine(made, data)), line)
        else:
            raise AssertionError(f"no remedy in {line}")
    raise AssertionError(f"did {done}, and still: {line}")


def pairs(folder: Path) -> list[tuple[str, str]]:
    return [(name, way) for name in damages.targets(folder) for way in damages.ways(Path(name))]


def test_all_that_a_folder_has_is_damaged(made: Path) -> None:
    names = damages.targets(made / "data")
    tops = {Path(name).parts[0] for name in names}
    assert tops == {
        *("manifest.json", "README.md", "report.html", "triples", "blobs", "trees", "mined"),
        *("ledger", "decisions", ".work"),
    }
    for part in ("run.json", "asked.json", "summary.json", "opened.json", "index.json"):
        assert any(name.endswith(part) for name in names), part
    assert sum(name.startswith("decisions/") for name in names) == 8
    assert sum(name.startswith("mined/") for name in names) == 7


def look(made: Path, name: str, way: str, commands: tuple[str, ...], tmp_path: Path) -> None:
    """Damages one file and gives commands, each of which ends as it should."""
    base = copied(made / "data", tmp_path / "base")
    damages.ways(Path(name))[way](base / name)
    for number, command in enumerate(commands):
        place = tmp_path / str(number)
        place.mkdir()
        data = copied(base, place / "data") if command in CHANGING else base
        told(run(*words(command, made, data, place)), (command, name, way))
        if command in CHANGING:
            shutil.rmtree(data)


@pytest.mark.slow
def test_no_damage_ends_a_command_otherwise_than_in_a_line(made: Path, tmp_path: Path) -> None:
    """A third of all, by turns; the rest is run with the other long tests."""
    for number, (name, way) in enumerate(pairs(made / "data")):
        if number % 6 == 0:
            commands = (READING[number // 6 % len(READING)], CHANGING[number // 6 % len(CHANGING)])
            folder = tmp_path / str(number)
            folder.mkdir()
            look(made, name, way, commands, folder)
            shutil.rmtree(folder)


def test_verify_names_the_command_that_mends_a_shard(made: Path, tmp_path: Path) -> None:
    data = copied(made / "data", tmp_path / "data")
    shard = next((data / "triples").glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:1000])
    done = run("verify", data)
    assert done.status == 1
    assert done.out.endswith(f"to mend it: `codeflow publish {data}` makes it again from mined/\n")
    assert run("publish", data).status == 0
    assert run("verify", data).status == 0


@FAULTS
@pytest.mark.parametrize("turn", range(8))
@pytest.mark.timeout(1800)
def test_no_damage_of_any_file_and_any_command(turn: int, made: Path, tmp_path: Path) -> None:
    for number, (name, way) in enumerate(pairs(made / "data")):
        if number % 8 == turn:
            folder = tmp_path / str(number)
            folder.mkdir()
            look(made, name, way, (*READING, *CHANGING), folder)
            shutil.rmtree(folder)


def mends(made: Path, name: str, way: str, command: str, tmp_path: Path) -> None:
    """Whatever a command says leads back to the same dataset, in few steps."""
    reference = faults.published(made / "data")
    data = copied(made / "data", tmp_path / "data")
    damages.ways(Path(name))[way](data / name)
    line = told(run(*words(command, made, data, tmp_path)), (command, name, way))
    done = mended(line, made, data)
    report = verify(data)
    if not report.ok:  # found by nothing but a look at every byte
        line = told(run("verify", data), (name, way))
        done += mended(line, made, data)
        report = verify(data)
    assert report.ok, (command, name, way, done, report.problems[:3])
    if report.remarks:  # a card may have been edited on purpose: publishing writes it anew
        assert [remark.file for remark in report.remarks] == [layout.CARD]
        done += f", publish {told(run('publish', data), (name, way))}"
    assert faults.published(data) == reference, (command, name, way, done)


STARTS = ("mine", "publish", "verify", "dedup", "filter")


@pytest.mark.parametrize("first", [0, pytest.param(5, marks=pytest.mark.slow)])
def test_what_a_message_says_mends(first: int, made: Path, tmp_path: Path) -> None:
    for number, (name, way) in enumerate(pairs(made / "data")):
        if number % 10 == first and not name.startswith("report"):
            folder = tmp_path / str(number)
            folder.mkdir()
            mends(made, name, way, STARTS[number // 5 % len(STARTS)], folder)
            shutil.rmtree(folder)


@FAULTS
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.timeout(3000)
def test_what_any_message_says_mends(start: str, made: Path, tmp_path: Path) -> None:
    for number, (name, way) in enumerate(pairs(made / "data")):
        if not name.startswith("report"):
            folder = tmp_path / str(number)
            folder.mkdir()
            mends(made, name, way, start, folder)
            shutil.rmtree(folder)
