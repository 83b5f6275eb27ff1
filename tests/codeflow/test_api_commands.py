"""Python is as wide as the command line: every option has its keyword, and they mean the same."""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import codeflow
from codeflow import Dataset, Triple, Verdict, drop, keep
from codeflow.cli import _parser
from codeflow.errors import UsageError
from small_history import codeflow as command
from small_history import small_history

RENAMED = {"dir": "folder", "filter": "filters"}
SHOWN = {"help", "json", "dry_run"}
"""How a command line shows what it does: Python has the summary, `progress`, and no dry run."""
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "mine": codeflow.mine,
    "filter": codeflow.filter,
    "dedup": codeflow.dedup,
    "mix": codeflow.mix,
    "publish": codeflow.republish,
    "tokenize": codeflow.tokenize,
    "verify": Dataset.verify,
    "checkout": Dataset.checkout,
    "report": Dataset.report,
}


def options(name: str) -> dict[str, argparse.Action]:
    [commands] = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    found = {action.dest: action for action in commands.choices[name]._actions}
    return {RENAMED.get(dest, dest): a for dest, a in found.items() if dest not in SHOWN}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_has_its_keyword_and_no_keyword_is_more(name: str) -> None:
    wanted = set(options(name))
    keywords = set(inspect.signature(FUNCTIONS[name]).parameters) - {"progress"}
    if "self" in keywords:  # the dataset is the folder
        keywords, wanted = keywords - {"self"}, wanted - {"folder"}
    assert keywords == wanted


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_command_requires_a_function_requires(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    for keyword, action in options(name).items():
        if keyword in parameters:
            bare = parameters[keyword].default is inspect.Parameter.empty
            assert bare == action.required, keyword


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_those_of_the_command(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    for keyword, action in options(name).items():
        if keyword not in parameters or action.required:
            continue
        if keyword == "workers":  # a program of one's own starts Ray only when it says so
            assert (parameters[keyword].default, action.default) == (1, None)
        else:
            assert parameters[keyword].default == action.default, keyword


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_keyword_is_described(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    for keyword in inspect.signature(FUNCTIONS[name]).parameters:
        if keyword != "self":
            assert f"\n    {keyword}: " in text, keyword
    assert name == "verify" or "\nRaises:\n" in text


def odd(triple: Triple) -> Verdict:
    """One in two, by id."""
    return keep() if int(triple.id, 16) % 2 else drop("even")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_history(tmp_path_factory.mktemp("api") / "small.git", commits=60).path


@pytest.fixture(scope="module")
def mined(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mined") / "data"
    codeflow.mine([repository], out, kinds=["commit"], filters=["none"])
    return out


@pytest.fixture
def folder(mined: Path, tmp_path: Path) -> Path:
    shutil.copytree(mined, tmp_path / "data")
    return tmp_path / "data"


def published(folder: Path) -> dict[str, bytes]:
    """The files of a dataset by their bytes, but for the two that say when or where."""
    tables = ("triples", "blobs", "trees", "ledger")
    found = (path for table in tables for path in (folder / table).iterdir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_mine_gives_the_bytes_of_the_command(repository: Path, tmp_path: Path) -> None:
    instances = tmp_path / "instances.jsonl"
    patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+one two three\n"
    row = {"instance_id": "x", "patch": patch, "base_commit": "0" * 40}
    instances.write_text(json.dumps(row) + "\n")
    codeflow.mine(
        [repository],
        tmp_path / "one",
        kinds=["commit"],
        window=(0.1, 0.9),
        window_by="time",
        filters=["size"],
        decontaminate=[instances],
        split_by="time",
        validation=0.25,
        cache=tmp_path / "cache",
        fresh=True,
    )
    words = "--kinds commit --window 0.1:0.9 --window-by time --filter size --split-by time"
    done = command(
        *("mine", "--repos", str(repository), "--out", "two", *words.split()),
        *("--validation", "0.25", "--decontaminate", str(instances), "--workers", "1"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert published(tmp_path / "one") == published(tmp_path / "two")
    held_out = list(codeflow.open(tmp_path / "one").triples(split="validation"))
    assert len(held_out) > 5  # a quarter, not a twentieth


MIX = "mix --sampler uniform --budget 900"


def test_stages_again_give_the_bytes_of_the_commands(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: codeflow.filter(folder, ["paths", "size"]), "filter --filter paths size"),
        (lambda: codeflow.dedup(folder, threshold=0.9), "dedup --threshold 0.9"),
        (
            lambda: codeflow.mix(folder, sampler="uniform", budget=900),
            MIX,
        ),
        (lambda: codeflow.republish(folder, validation=0.5), "publish --validation 0.5"),
    ]
    seen = [published(folder)]
    for call, words in calls:
        call()
        stage, *rest = words.split()
        done = command(stage, other, *rest, "--workers", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert published(folder) == published(other), words
        seen.append(published(folder))
    assert seen[-1] != seen[-2] != seen[0]  # they did something


def test_a_function_filters_again(folder: Path) -> None:
    before = [triple.id for triple in codeflow.open(folder)]
    codeflow.filter(folder, [odd])
    after = {triple.id for triple in codeflow.open(folder)}
    assert after == {id for id in before if int(id, 16) % 2}
    assert 0 < len(after) < len(before)


def test_a_dataset_verifies_checks_out_and_reports(folder: Path, tmp_path: Path) -> None:
    dataset = codeflow.open(folder)
    report = dataset.verify()
    assert report.ok
    assert report.triples == len(dataset)
    triple = dataset[0]
    for side, repo in (("old", triple.old_repo), ("new", triple.new_repo)):
        written = dataset.checkout(triple.id[:10], side, tmp_path / side)
        assert written.files == len(repo)
        assert {path: (tmp_path / side / path).read_bytes() for path in repo} == dict(repo)
    assert dataset.report() == folder / "report.html"
    page = dataset.report(tmp_path / "page.html")
    assert page.read_text(encoding="utf-8").startswith("<!")
    [shard, *_] = sorted((folder / "blobs").iterdir())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    assert not codeflow.open(folder).verify().ok


def test_tokenize_and_until_tokens_write_the_same(
    repository: Path, folder: Path, tmp_path: Path
) -> None:
    done = codeflow.tokenize(folder, "diff", 1024, vocab=300, name="rows")
    assert done.folder == folder / "tokens" / "rows"
    assert done.rows["train"] > 0
    tables = {"tokens": {"renderings": ["diff"], "length": 1024, "vocab_size": 300}}
    codeflow.mine([repository], folder, config=tables, until="tokens")
    one, two = folder / "tokens" / "rows", folder / "tokens" / "diff-1024"
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in two.iterdir()}
    shards = [name for name in names if name.startswith("train-")]
    assert shards
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in shards)


def test_what_is_wrong_is_one_line(folder: Path, tmp_path: Path) -> None:
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: codeflow.filter(folder, "default"), "filters 'default': give a list"),
        (lambda: codeflow.filter(folder, ["defualt"]), "did you mean 'default'"),
        (lambda: codeflow.filter(folder, decontaminate="x.jsonl"), "decontaminate .*: give a list"),
        (lambda: codeflow.dedup(folder, threshold=2), "threshold = 2"),
        (lambda: codeflow.mix(folder, sampler="naturel"), "sampler"),
        (lambda: codeflow.republish(folder, validation=1), "validation = 1"),
        (lambda: codeflow.republish(folder, workers=0), "workers 0"),
        (lambda: codeflow.republish(tmp_path / "none"), "no such folder"),
        (lambda: codeflow.republish(folder, work=tmp_path), "it is for a URL"),
        (lambda: codeflow.tokenize(folder, "dif", 128), "dif"),
        (lambda: codeflow.open(folder).checkout("0", "middle", tmp_path / "x"), "middle|no triple"),
    ]
    for call, message in wrong:
        with pytest.raises(codeflow.CodeflowError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert issubclass(UsageError, codeflow.CodeflowError)
