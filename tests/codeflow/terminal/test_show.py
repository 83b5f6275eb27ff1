"""What `codeflow inspect` prints: readable in a pipe, harmless on a terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from codeflow.dataset import reader as reading
from codeflow.terminal.inspect import show_dataset, show_triple
from codeflow.text.escape import one_line, visible
from tiny_dataset import SNAPSHOTS, Git, build, history

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
EVIL = "\x1b]0;owned\x07\x9b31m\u202e[bold red]x[/]\x08\r"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> reading.Dataset:
    folder = tmp_path_factory.mktemp("show")
    git = Git(folder / "one.git")
    evil = {
        f"e\x1b[2J\u202e{'long' * 30}": ("100644", f"{EVIL}\n[/bold]\n".encode()),
        "sql": ("100644", b"-- a comment\n++ b\n"),
    }
    chain = history(git, [*SNAPSHOTS, {**SNAPSHOTS[0], **evil}, SNAPSHOTS[0]])
    message = f"Subject {EVIL}\n\nBody {EVIL}\n"
    chain.append(git.commit(git.tree(evil), chain[-1], message=message))
    return reading.open(build(folder / "data", {"[red]one": (git, chain)}))


def shown(what: object, terminal: bool, width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        force_terminal=terminal,
        width=width,
        color_system="standard" if terminal else None,
    )
    if isinstance(what, reading.Dataset):
        show_dataset(what, console)
    else:
        show_triple(what, console, Path("DIR"))  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_reaches_the_terminal(dataset: reading.Dataset, terminal: bool) -> None:
    for what in (dataset, *dataset.triples()):
        text = COLOURS.sub("", shown(what, terminal)) if terminal else shown(what, terminal)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


def test_a_pipe_gets_the_whole_patch(dataset: reading.Dataset) -> None:
    for triple in dataset.triples():
        text = shown(triple, terminal=False)
        for step in triple.steps:  # one commit is one step
            assert visible(step.patch) in text
        assert triple.id in text
        assert triple.new_commit in text
        squeezed = re.sub(r"\s", "", text)  # long names are folded
        for file in triple.files:
            assert re.sub(r"\s", "", one_line(file.path)) in squeezed or "long" in file.path
        for (message,) in triple.messages:
            assert re.sub(r"\s", "", one_line(message.split("\n")[0])) in squeezed


def test_a_flow_is_drawn_step_after_step(dataset: reading.Dataset) -> None:
    spans = [triple for triple in dataset.triples() if len(triple.commits) > 1]
    assert spans
    for triple in spans:
        text = shown(triple, terminal=False)
        places = [0]
        for step in triple.steps:
            places.append(text.index(f"step {step.index + 1} of {len(triple.commits)}"))
            places.append(text.index(step.commit[:10], places[-1]))
            places.append(text.index(visible(step.patch), places[-1]))
        assert places == sorted(places)
        assert text.index(f"All {len(triple.commits)} steps together") > places[-1]
        [life] = re.findall(r"first commit (─*)●(─*) last", text)
        drawn = len(life[0]) / (len(life[0]) + len(life[1]))
        assert abs(drawn - triple.position) < 0.03


def test_colours_follow_the_hunks_not_the_letters(dataset: reading.Dataset) -> None:
    triple = next(
        t for t in dataset.triples() if any(f.path == "sql" and f.status == "A" for f in t.files)
    )
    text = shown(triple, terminal=True, width=200)
    assert "\x1b[32m+-- a comment\x1b[0m" in text
    assert "\x1b[32m+++ b\x1b[0m" in text
    assert "\x1b[1m+++ b/sql\x1b[0m" in text
    gone = next(
        t for t in dataset.triples() if any(f.path == "sql" and f.status == "D" for f in t.files)
    )
    assert "\x1b[31m--- a comment\x1b[0m" in shown(gone, terminal=True, width=200)


def test_the_table_counts(dataset: reading.Dataset) -> None:
    text = shown(dataset, terminal=False)
    kinds = [t.kind for t in dataset.triples()]
    assert re.search(rf"triples +{len(kinds)} \(", text)
    row = next(line for line in text.split("\n") if line.startswith("[red]one"))
    assert row.split()[1:] == [
        str(kinds.count("commit")),
        str(kinds.count("span")),
        str(len(kinds)),
    ]
    tables = text.split("\n", 1)[1].rsplit("One triple", 1)[0]
    assert all(len(line) <= 80 for line in tables.split("\n"))
