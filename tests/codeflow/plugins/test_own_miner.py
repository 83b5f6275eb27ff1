"""A miner of one's own in a file: mined here and on Ray alike, and part of what a run is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from codeflow.dataset import reader as dataset
from codeflow.dataset.verify import verify
from codeflow.errors import UsageError
from codeflow.plugins.entry_points import load_miners
from codeflow.storage import layout
from small_history import codeflow, small_history

MINER = """
from collections.abc import Iterator
from dataclasses import dataclass

from codeflow.contracts import History, Pair

STRIDE = 3


@dataclass(frozen=True)
class Leaps:
    stride: int = STRIDE

    why = "so many commits at once"
    wants_features = False

    @property
    def lookahead(self) -> int:
        return self.stride

    def pairs(self, history: History) -> Iterator[Pair]:
        for old in history.starts:
            if old + self.stride < len(history.commits):
                yield Pair(old, old + self.stride, {})


leaps = Leaps
made = Leaps(2)


def function(history):
    return []
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_history(tmp_path / "small.git", commits=60)
    (tmp_path / "list.txt").write_text("small.git\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "miner.py").write_text(MINER)
    return tmp_path


WORDS = ("mine", "--repos", "list.txt", "--filter", "none", "--until", "mine")


def mined(folder: Path, out: str, *words: str, workers: str = "1") -> str:
    """The combined digest of what a run published."""
    done = codeflow(*WORDS, "--workers", workers, "--out", out, *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256()
    for path in sorted((folder / out).rglob("*")):
        if path.is_file() and not {".work", "mined"} & set(path.parts):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def test_a_class_in_a_file_is_a_kind(folder: Path) -> None:
    mined(folder, "data", "--kinds", "own/miner.py:leaps,commit")
    opened = dataset.open(folder / "data")
    kinds = {kind: list(opened.triples(kind=kind)) for kind in ("leaps", "commit")}
    assert len(kinds["leaps"]) > 10
    assert len(kinds["leaps"]) + len(kinds["commit"]) == len(opened)
    # three steps of the chain, as the commits of kind `commit` make it up
    step = {t.old_commit: t.new_commit for t in kinds["commit"]}
    for triple in kinds["leaps"]:
        chain = [triple.old_commit]
        while chain[-1] in step and len(chain) < 4:
            chain.append(step[chain[-1]])
        assert triple.commits[: len(chain) - 1] == tuple(chain[1:])
        assert len(triple.commits) == 3
    assert verify(folder / "data").ok
    for path in (folder / "data").rglob("*"):  # where the file lies is nobody's business
        if path.is_file() and ".work" not in path.parts:
            assert b"own/miner.py" not in path.read_bytes()


@pytest.mark.slow
def test_the_same_on_ray_and_from_anywhere(folder: Path) -> None:
    first = mined(folder, "one", "--kinds", "own/miner.py:Leaps")
    assert mined(folder, "two", "--kinds", "own/miner.py:Leaps", workers="2") == first
    (folder / "elsewhere").mkdir()
    (folder / "own" / "miner.py").rename(folder / "elsewhere" / "miner.py")
    assert mined(folder, "three", "--kinds", "elsewhere/miner.py:Leaps") == first


def test_parameters_come_from_the_configuration(folder: Path) -> None:
    (folder / "codeflow.toml").write_text(
        "[mine]\nkinds = ['own/miner.py:Leaps']\n[mine.miners.Leaps]\nstride = 5\n"
    )
    mined(folder, "data", "--config", "codeflow.toml")
    assert {len(t.commits) for t in dataset.open(folder / "data")} == {5}
    mined(folder, "made", "--kinds", "own/miner.py:made")
    assert {len(t.commits) for t in dataset.open(folder / "made")} == {2}


def test_other_code_is_another_run(folder: Path) -> None:
    before = mined(folder, "data", "--kinds", "own/miner.py:Leaps")
    assert mined(folder, "data", "--kinds", "own/miner.py:Leaps") == before
    (folder / "own" / "miner.py").write_text(MINER.replace("STRIDE = 3", "STRIDE = 4"))
    again = (*WORDS, "--workers", "1", "--out", "data", "--kinds", "own/miner.py:Leaps")
    done = codeflow(*again, cwd=folder)
    assert done.returncode == 2
    assert "was mined with another" in done.stderr
    assert "own_kinds" in done.stderr
    assert codeflow(*again, "--fresh", cwd=folder).returncode == 0
    assert {len(t.commits) for t in dataset.open(folder / "data")} == {4}
    values = json.loads((folder / "data" / layout.MANIFEST).read_bytes())
    assert values["config"]["kinds"] == ["Leaps"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own/miner.py:Leap", "did you mean 'Leaps'"),
        ("own/miner.py", "name the class in it"),
        ("own/none.py:Leaps", "no such file"),
        ("own/broken.py:Leaps", "SyntaxError"),
        ("own/miner.py:function", "is no miner, it lacks why, lookahead, wants_features, pairs"),
        ("own/miner.py:STRIDE", "is no miner"),
        ("own/named.py:span", "there is another 'span'"),
        ("nowhere.at.all:Leaps", "ModuleNotFoundError"),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path, spec: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "own" / "broken.py").write_text("class (")
    (folder / "own" / "named.py").write_text(f"{MINER}\nspan = Leaps\n")
    with pytest.raises(UsageError) as caught:
        load_miners((spec,), {})
    assert message in str(caught.value)
    assert spec in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_of_one_name_and_wrong_parameters(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "own" / "other.py").write_text(MINER)
    with pytest.raises(UsageError, match="there is another 'Leaps'"):
        load_miners(("own/miner.py:Leaps", "own/other.py:Leaps"), {})
    with pytest.raises(UsageError, match="stride"):
        load_miners(("own/miner.py:Leaps",), {"Leaps": {"stridde": 2}})
    with pytest.raises(UsageError, match="is made already"):
        load_miners(("own/miner.py:made",), {"made": {"stride": 2}})
    with pytest.raises(UsageError, match="unknown kind of triple 'leeps'"):
        load_miners(("own/miner.py:leaps",), {"leeps": {}})
