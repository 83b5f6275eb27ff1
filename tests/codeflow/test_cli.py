"""The command line as a shell runs it: one line for a mistake, and the documented exit status."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from codeflow import cli
from codeflow.errors import UsageError
from small_history import codeflow, environment, small_history


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository, a list and a mined dataset."""
    folder = tmp_path_factory.mktemp("cli")
    small_history(folder / "small.git")
    (folder / "list.txt").write_text("small.git\n")
    done = codeflow(
        "mine",
        "--repos",
        "list.txt",
        "--out",
        "data",
        "--workers",
        "1",
        "--until",
        "mine",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


def one_id(work: Path) -> str:
    found = re.search(r"codeflow inspect data ([0-9a-f]{12})", codeflow_ok("inspect", "data", work))
    assert found is not None
    return found[1]


def codeflow_ok(*arguments: str | Path) -> str:
    *words, work = arguments
    done = codeflow(*words, cwd=Path(work))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


MINE = ("mine", "--repos", "list.txt", "--workers", "1", "--until", "mine", "--out")
MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no command": ((), 2, "COMMAND"),
    "unknown command": (("mien",), 2, "'mien'"),
    "unknown option": ((*MINE, "new", "--kind", "span"), 2, "--kind"),
    "abbreviated option": ((*MINE, "new", "--fre"), 2, "--fre"),
    "missing option": (("mine", "--repos", "list.txt"), 2, "--out"),
    "missing list": (("mine", "--repos", "no.txt", "--out", "new"), 2, "no.txt"),
    "empty list": (("mine", "--repos", "empty.txt", "--out", "new"), 2, "empty.txt: no repository"),
    "window backwards": ((*MINE, "new", "--window", "0.8:0.4"), 2, "0.4:0.8"),
    "window of words": ((*MINE, "new", "--window", "all"), 2, "0.4:0.8"),
    "window half": ((*MINE, "new", "--window", "0.4"), 2, "0.4:0.8"),
    "window of no number": ((*MINE, "new", "--window", "nan:nan"), 2, "0.4:0.8"),
    "window by": ((*MINE, "new", "--window-by", "size"), 2, "'size'"),
    "unknown kind": ((*MINE, "new", "--kinds", "comit"), 2, "did you mean 'commit'?"),
    "strange kind": ((*MINE, "new", "--kinds", "xyzzy"), 2, "known: branch, commit, span"),
    "missing configuration": ((*MINE, "new", "--config", "no.toml"), 2, "no.toml"),
    "broken configuration": ((*MINE, "new", "--config", "list.txt"), 2, "list.txt"),
    "unknown key": ((*MINE, "new", "--config", "key.toml"), 2, "did you mean 'min_commits'?"),
    "unknown table": ((*MINE, "new", "--config", "table.toml"), 2, "[mine]"),
    "unknown key of a miner": ((*MINE, "new", "--config", "miner.toml"), 2, "mean 'max_commits'?"),
    "wrong type": ((*MINE, "new", "--config", "type.toml"), 2, "expected int"),
    "no workers": (("mine", "--repos", "list.txt", "--out", "new", "--workers", "0"), 2, "1 or"),
    "workers in words": ((*MINE, "new", "--workers", "two"), 2, "'two'"),
    "out below a file": ((*MINE, "list.txt/new"), 2, "list.txt/new: Not a directory"),
    "out is a file": ((*MINE, "list.txt"), 2, "list.txt: File exists"),
    "out cannot be written": ((*MINE, "blocked"), 2, "blocked/.work"),
    "out holds other things": ((*MINE, "other"), 2, "precious.txt"),
    "out holds another dataset": ((*MINE, "data", "--window", "0.1:0.9"), 2, "window.start"),
    "inspect no dataset": (("inspect", "."), 1, "no manifest.json"),
    "inspect nothing": (("inspect", "gone"), 1, "gone: not a dataset"),
    "verify no dataset": (("verify", "."), 1, "no manifest.json"),
    "unknown id": (("inspect", "data", "zz"), 1, "no triple whose id starts with 'zz'"),
    "ambiguous id": (("inspect", "data", ""), 1, "data"),
    "unknown side": (("checkout", "data", "0", "--side", "mid", "--to", "new"), 2, "'mid'"),
    "stage": ((*MINE, "new", "--until", "mixed"), 2, "'mixed'"),
    "misspelt command": (("mien",), 2, "did you mean mine?"),
    "misspelt command of two words": (("exprot-data", "data"), 2, "did you mean export-data?"),
    "misspelt action": (("quality", "trian"), 2, "did you mean train?"),
    "command in capitals": (("Mine",), 2, "did you mean mine?"),
    "no such command": (("xyzzy",), 2, "choose from mine, "),
    "misspelt option": ((*MINE, "new", "--worker", "2"), 2, "no option --worker; did you mean"),
    "misspelt option with its value": ((*MINE, "new", "--kind=span"), 2, "did you mean --kinds?"),
    "misspelt flag": ((*MINE, "new", "--frehs"), 2, "did you mean --fresh?"),
    "plural of an option": ((*MINE, "new", "--filters", "none"), 2, "did you mean --filter?"),
    "shortened option": ((*MINE, "new", "--val", "0"), 2, "did you mean --validation?"),
    "option in capitals": ((*MINE, "new", "--JSON"), 2, "did you mean --json?"),
    "misspelt required option": (("mine", "--repo", "a", "--out", "b"), 2, "mean --repos?"),
    "strange option": ((*MINE, "new", "--xyzzy"), 2, "no option --xyzzy; see `codeflow mine"),
    "short option": ((*MINE, "new", "-j4"), 2, "no option -j"),
    "option before its command": (("--workers", "2", "mine"), 2, "`codeflow mine --workers`"),
    "misspelt choice": ((*MINE, "new", "--until", "filtr"), 2, "did you mean filter?"),
    "misspelt choice of another": (("publish", "data", "--split-by", "tiem"), 2, "mean time?"),
    "word too many": (("verify", "data", "more"), 2, "unrecognized arguments: more"),
    "option of another command": (("checkout", "data", "--workers", "2"), 2, "no option --workers"),
    "negative value": ((*MINE, "new", "--workers", "-1"), 2, "--workers -1: give 1 or more"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_costs_one_line(name: str, work: Path) -> None:
    (work / "empty.txt").write_text("# nothing yet\n\n")
    (work / "key.toml").write_text("[mine.limits]\nmin_comits = 3\n")
    (work / "table.toml").write_text("[mien]\n")
    (work / "miner.toml").write_text("[mine.miners.span]\nmax_comits = 3\n")
    (work / "type.toml").write_text('[mine.limits]\nmin_commits = "3"\n')
    (work / "blocked").mkdir(exist_ok=True)
    (work / "blocked" / ".work").touch()
    (work / "other").mkdir(exist_ok=True)
    (work / "other" / "precious.txt").touch()
    arguments, status, words = MISTAKES[name]
    done = codeflow(*arguments, cwd=work)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("codeflow: ")
    assert words in line
    assert not (work / "new").exists()


def test_no_option_may_be_shortened_in_any_command() -> None:
    """By every option of every command, cut by one letter: none of them is taken for another."""
    tried = 0
    for name, parser in _commands(cli._parser(), ()):
        for action in parser._actions:
            for option in action.option_strings:
                short = option[:-1]
                if len(short) < 3 or short in parser._option_string_actions:  # `--` ends options
                    continue
                with pytest.raises(UsageError, match=rf"no option {short}; did you mean"):
                    cli._parser().parse_args([*name, short])
                tried += 1
    assert tried > 50


def _commands(
    parser: argparse.ArgumentParser, name: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from _commands(inner, (*name, word))


def test_a_prefix_that_several_ids_share_is_refused_with_some_of_them(work: Path) -> None:
    ids = [f["id"] for f in _rows(work)]
    prefix = next(i[0] for i in ids if sum(j.startswith(i[0]) for j in ids) > 1)
    done = codeflow("inspect", "data", prefix, cwd=work)
    assert done.returncode == 1
    assert any(i in done.stderr for i in ids if i.startswith(prefix))
    [line] = done.stderr.splitlines()
    assert "not unique" in line


def _rows(work: Path) -> list[dict[str, str]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, str]] = pq.read_table(work / "data/triples", columns=["id"]).to_pylist()
    return rows


def test_checkout_writes_a_side_once(work: Path) -> None:
    triple = one_id(work)
    to = work / f"side-{triple}"
    words = ("checkout", "data", triple, "--side", "old", "--to", to)
    assert codeflow_ok(*words, work).startswith("3 files in ")
    assert (to / "README.md").read_text() == "# small\n"
    again = codeflow(*words, cwd=work)
    assert again.returncode == 2
    assert "not an empty folder" in again.stderr


def test_failures_of_repositories_give_1_and_the_rest_is_mined(work: Path) -> None:
    (work / "mixed.txt").write_text("small.git\ngone\n")
    done = codeflow(
        "mine",
        "--repos",
        "mixed.txt",
        "--out",
        "mixed",
        "--workers",
        "1",
        "--until",
        "mine",
        "--json",
        cwd=work,
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["event"], summary["mined"]) == ("summary", 1)
    assert [failure["rule"] for failure in summary["failed"]] == ["missing"]
    again = codeflow(
        "mine",
        "--repos",
        "mixed.txt",
        "--out",
        "mixed",
        "--workers",
        "1",
        "--until",
        "mine",
        cwd=work,
    )
    assert again.returncode == 1
    assert "nothing to do" in again.stderr


def test_verify_counts_what_it_checked_and_names_what_is_wrong(work: Path) -> None:
    sound = codeflow_ok("verify", "data", work)
    assert sound.startswith("sound: ")
    assert f"{len(_rows(work)):,} triples replayed" in sound
    shard = next((work / "mixed" if (work / "mixed").exists() else work / "data").glob("blobs/*"))
    broken = work / "broken"
    subprocess.run(["cp", "-r", str(shard.parents[1]), str(broken)], check=True)
    data = bytearray((broken / "blobs" / shard.name).read_bytes())
    data[len(data) // 2] ^= 1
    (broken / "blobs" / shard.name).write_bytes(data)
    done = codeflow("verify", "broken", cwd=work)
    assert done.returncode == 1
    assert f"  blobs/{shard.name}: its bytes are not those" in done.stdout
    assert "1 problem in " in done.stdout


def test_verify_shows_its_progress_on_a_terminal_only(work: Path) -> None:
    leader, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "codeflow", "verify", "data"],
        cwd=work,
        env=environment(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            shown += piece
        assert process.stdout is not None
        assert process.stdout.read().startswith("sound: ")
    os.close(leader)
    assert process.returncode == 0
    assert b"triples replayed" in shown


def _fifo_list(work: Path) -> tuple[list[str], Path]:
    path = work / "fifo.txt"
    return ["mine", "--repos", path.name, "--out", "never"], path


def _fifo_config(work: Path) -> tuple[list[str], Path]:
    path = work / "fifo.toml"
    return [*MINE, "never", "--config", path.name], path


def _fifo_manifest(command: str) -> Callable[[Path], tuple[list[str], Path]]:
    def make(work: Path) -> tuple[list[str], Path]:
        folder = work / f"fifo-{command}"
        folder.mkdir(exist_ok=True)
        return [command, folder.name], folder / "manifest.json"

    return make


@pytest.mark.parametrize(
    "make",
    [_fifo_list, _fifo_config, _fifo_manifest("inspect"), _fifo_manifest("verify")],
    ids=["list", "config", "inspect", "verify"],
)
def test_an_interrupt_gives_130_and_no_traceback(
    make: Callable[[Path], tuple[list[str], Path]], work: Path
) -> None:
    arguments, fifo = make(work)
    os.mkfifo(fifo)
    with (
        subprocess.Popen(
            [sys.executable, "-m", "codeflow", *arguments],
            cwd=work,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        fifo.open("w"),
    ):  # waits until the command has opened it, too: it reads now
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert (output, errors) == ("", "codeflow: interrupted\n")
    fifo.unlink()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_gives_130_and_goes_on(signum: signal.Signals, work: Path) -> None:
    out = work / f"stopped-{signum.name}"
    command = [sys.executable, "-m", "codeflow", *MINE, out.name, "--json"]
    with subprocess.Popen(
        command, cwd=work, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first stage has begun
        process.send_signal(signum)
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert errors.decode() == "codeflow: stopped; the same command goes on from here\n"
    assert codeflow(*MINE, out.name, cwd=work).returncode == 0
    for path in sorted((work / "data").glob("*/*.parquet")):
        name = path.relative_to(work / "data")
        assert (out / name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("words", [["--help"], ["inspect", "data"], ["inspect", "data", "ID"]])
def test_a_reader_that_is_gone_ends_a_command_quietly(words: list[str], work: Path) -> None:
    words = [one_id(work) if word == "ID" else word for word in words]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "codeflow", *words],
        cwd=work,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["", "mine", "inspect", "checkout", "verify"])
def test_help_fits_a_page_and_a_line(command: str, work: Path) -> None:
    text = codeflow_ok(*command.split(), "--help", work)
    assert text.startswith(f"usage: codeflow {command}".rstrip())
    assert all(len(line) <= 100 for line in text.splitlines())
