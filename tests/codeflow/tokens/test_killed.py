"""Tokenizing that is killed: what it leaves is never taken for a token folder."""

from __future__ import annotations

import random
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import faults
from token_samples import make, tokenized

OLD, NEW = 512, 256


class Before(NamedTuple):
    """A dataset with a token folder of rows of `OLD`; what it holds at any length; the touches of
    the disk that make rows of `NEW` in its place."""

    folder: Path
    files: dict[int, dict[str, bytes]]
    touches: list[str]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tokens/it").iterdir()}


def ask(folder: Path, length: int) -> dict[str, bytes]:
    tokenized(folder, "it", "diff", length, vocab_size=600)
    return contents(folder)


def hurt(folder: Path, moment: int, log: Path | str = "-") -> int:
    """Asks for `NEW` in a process that is killed at a touch of the disk (0: never)."""
    words = ["tokenize", str(folder), "--render", "diff", "--name", "it", "--vocab", "600"]
    how = [str(int(signal.SIGKILL)), str(moment), str(log)]
    command = [sys.executable, faults.__file__, *how, *words, "--length", str(NEW)]
    return faults.run(command).returncode


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    folder = make(tmp_path_factory.mktemp("killed"))[0]
    files = {OLD: ask(folder, OLD)}
    copy, log = folder.with_name("whole"), folder.with_name("log")
    shutil.copytree(folder, copy)
    assert hurt(copy, 0, log) == 0
    files[NEW] = contents(copy)
    return Before(folder, files, faults.touches(log, copy))


def survives(before: Before, moment: int, tmp_path: Path) -> None:
    """Asked again for the one or the other, it is there and whole."""
    for length in (OLD, NEW):
        shutil.copytree(before.folder, copy := tmp_path / f"{length}")
        assert hurt(copy, moment) == -signal.SIGKILL
        assert ask(copy, length) == before.files[length], before.touches[moment - 1]
        assert {path.name for path in (copy / "tokens").iterdir()} == {
            "it",
            "tokenizer.json",
            "tokenizer.trained.json",
            "chat_template.jinja",
        }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_tokenizing_leaves_nothing_by_halves(
    seed: int, before: Before, tmp_path: Path
) -> None:
    survives(before, random.Random(seed).randrange(len(before.touches)) + 1, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("first", range(1, 5))
def test_it_may_be_killed_at_every_touch(first: int, before: Before, tmp_path: Path) -> None:
    for moment in range(first, len(before.touches) + 1, 4):
        survives(before, moment, tmp_path / f"{moment}")
