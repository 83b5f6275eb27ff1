"""Every command takes a URL, or says in one line that it needs a path: none makes `s3:/` of it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import codeflow
from codeflow import cli
from codeflow.cli import main
from codeflow.dataset import reader as dataset
from codeflow.dataset.commitpack import export_commitpack
from codeflow.dataset.verify import verify
from codeflow.errors import UsageError
from codeflow.storage.layout import SPLITS
from codeflow.storage.place import local, place_of
from small_history import ROOT, small_history

URL = "s3://user:s3cr3t@lab/ds1?key=s3cr3t"
RECIPE = ROOT / "examples" / "recipes" / "tiny.toml"
SHOWN = "s3://lab/ds1"


def subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    inner = [choice for action in found for choice in action.choices.values()]
    yield from [deeper for one in inner for deeper in subcommands(one)] or [parser]


def arguments(takes_path: bool) -> list[tuple[str, argparse.Action]]:
    """Every argument that is a path on this machine, or the others that hold a text."""
    return [
        (parser.prog.removeprefix("codeflow "), action)
        for parser in subcommands(cli._parser())
        for action in parser._actions
        if (action.type is Path) is takes_path and action.nargs != 0
    ]


@pytest.mark.parametrize(
    ("command", "action"), arguments(True), ids=lambda v: getattr(v, "dest", v)
)
def test_what_is_a_path_is_no_url(
    command: str, action: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [action.option_strings[-1], URL] if action.option_strings else [URL]
    assert main([*command.split(), *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{SHOWN}: a path on this machine is needed" in line
    assert "s3cr3t" not in line
    assert (action.option_strings or [str(action.metavar)])[-1] in line


def test_every_dataset_may_be_at_a_url() -> None:
    taken = {(command.split()[0], action.dest) for command, action in arguments(False)}
    readers = {"inspect", "checkout", "verify", "report", "export-data", "quality", "tokenize"}
    stages = {"filter", "dedup", "mix", "publish"}
    assert {(name, "dir") for name in readers | stages} <= taken
    assert {(name, "data") for name in ("train", "verify-resume", "generate")} <= taken
    assert ("mine", "out") in taken


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The working folder of a run, and the URL that its dataset was sent to."""
    folder = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.chdir(folder)
        small_history(folder / "small.git", commits=60)
        (folder / "list.txt").write_text("small.git\n")
        url = f"file://{folder}/store/one"
        words = ("--out", url, "--filter", "none", "--workers", "1")
        assert main(["mine", "--repos", "list.txt", *words]) == 0
        yield place_of(url)[0], url


def ids(place: str | Path) -> list[str]:
    return [t.id for t in dataset.open(place).triples(columns=["id"])]


@pytest.mark.parametrize(
    "words",
    ["inspect", "verify", "report --out page.html", "export-data --format commitpack --to c.jsonl"],
)
def test_readers_read_a_url(
    words: str, sent: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *options = words.split()
    assert main([command, sent[1], *options]) == 0
    assert main([command, str(sent[0]), *(o.replace(".", "2.") for o in options)]) == 0
    for path in tmp_path.glob("*2.*"):  # of the folder itself
        assert path.read_bytes() == path.with_name(path.name.replace("2.", ".")).read_bytes()


def test_a_triple_of_a_url(
    sent: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = sent
    [first, *_] = ids(folder)
    assert main(["inspect", url, first]) == 0
    assert first in capsys.readouterr().out
    assert main(["checkout", url, first, "--side", "old", "--to", str(tmp_path / "old")]) == 0
    files = dataset.open(folder)[first].old_repo
    assert (tmp_path / "old" / "src" / "app.py").read_bytes() == files["src/app.py"]
    labels = [{"id": id, "label": k % 2} for k, id in enumerate(ids(folder))]
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(line) + "\n" for line in labels))
    words = ["--labels", str(tmp_path / "l.jsonl"), "--out", str(tmp_path / "model.json")]
    status = main(["quality", "train", url, *words])
    assert main(["quality", "train", str(folder), *words]) == status
    assert "not a dataset" not in capsys.readouterr().err


def test_tokens_of_a_url_lie_with_its_copy(
    sent: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--render", "diff", "--length", "2048", "--vocab", "512", "--validation", "0"]
    assert main(["tokenize", sent[1], *words]) == 0
    place = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("in "))
    assert (place / "tokens.json").exists()
    assert place == local(sent[1]) / "tokens" / "diff-2048"
    assert (place / "tokens.json").exists(), "still there when the copy is looked at again"


def test_a_report_and_a_run_need_a_place_of_their_own(
    sent: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, option in (
        (["report", sent[1]], "--out FILE"),
        (["train", "--data", sent[1], "--recipe", str(RECIPE)], "--out DIR"),
    ):
        assert main(words) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert sent[1] in line
        assert option in line


def test_a_page_that_cannot_be_written_is_one_line(
    sent: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "page.html", tmp_path):
        assert main(["report", str(sent[0]), "--out", str(out)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert str(out) in line
        assert "give another place" in line


def test_a_stage_runs_where_it_was_mined_and_is_sent(sent: tuple[Path, str]) -> None:
    folder, url = sent
    before = ids(url)  # by split
    assert main(["filter", url, "--filter", "size", "--workers", "1"]) == 0
    assert main(["publish", url, "--validation", "0.5", "--workers", "1"]) == 0
    after = {split: [t.id for t in dataset.open(url).triples(split)] for split in SPLITS}
    assert after == {s: [t.id for t in dataset.open(folder).triples(s)] for s in SPLITS}
    assert after["train"]
    assert after["validation"]
    assert after["train"] + after["validation"] != before
    for words in ("dedup --threshold 0.9", "mix --sampler natural"):
        command, *options = words.split()
        assert main([command, url, *options, "--workers", "1"]) == 0
        assert ids(url) == ids(folder)


def test_a_stage_without_what_was_mined_says_where_it_is(
    sent: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url = sent
    monkeypatch.setenv("HOME", str(tmp_path))  # another machine
    for command in ("filter", "dedup", "mix", "publish"):
        assert main([command, url]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert url in line
        assert "mined/" in line
        assert "--work" in line
        assert main([command, str(folder), "--work", str(tmp_path)]) == 2
        assert "it is for a URL" in capsys.readouterr().err
    assert main(["mix", url, "--work", str(folder), "--workers", "1"]) == 0


def test_python_takes_urls_and_says_when_path_broke_one(
    sent: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = sent
    assert verify(url).ok
    done = export_commitpack(url, tmp_path / "c.parquet")
    assert done.rows + sum(done.left_out.values()) == len(list(codeflow.open(url).triples("train")))
    assert [t.id for t in codeflow.open(url)] == ids(folder)
    for ask in (
        lambda: codeflow.open(Path("s3://lab/ds1")),
        lambda: verify(Path("s3://lab/ds1")),
        lambda: codeflow.mine(["x"], Path("s3://lab/ds1")),
    ):
        with pytest.raises(UsageError, match="s3:/lab/ds1: a Path of a URL has lost a slash"):
            ask()
    assert not os.path.exists("s3:")
