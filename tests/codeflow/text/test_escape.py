"""One escape for hostile text: what it shows, and that all that a person reads goes through it."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from codeflow.cli import main
from codeflow.curation.chain import Record
from codeflow.dataset import reader as reading
from codeflow.dataset.search import Query, search
from codeflow.dataset.verify_report import Report
from codeflow.errors import CodeflowError, DataError, RepositoryError
from codeflow.pipeline.preview import Preview
from codeflow.publish import card
from codeflow.publish.summary import FailedRepository, LeftOut, StageCount, Summary
from codeflow.terminal.inspect import show_dataset, show_triple
from codeflow.terminal.notebook import dataset_html, triple_html
from codeflow.terminal.progress import LiveProgress, PlainProgress
from codeflow.terminal.report.page import render
from codeflow.terminal.search import show_found
from codeflow.terminal.summary import render_summary
from codeflow.terminal.verify import show_report
from codeflow.text.escape import markdown_cell, one_line, visible
from tiny_dataset import Git, build, history

# controls, format characters, tags, fillers, selectors, separators, a lone surrogate
UNSEEN = (
    "\x00\x08\r\x1b\x7f\x85\x9b\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u180b\u180e\u200b\u200d"
    "\u200f\u2028\u2029\u202e\u2060\u2066\u206f\u2800\u3000\u3164\ufe00\ufe0f\ufeff\uffa0\ufff9"
    "\ufffb\U0001d173\U000e0001\U000e0041\U000e007f\U000e0100"
)
STORED = UNSEEN.replace("\x00", "")  # what a file's name or a message can hold
HOSTILE = f"evil{STORED}name\n\tforged"
FORGED = re.compile("[" + re.escape(UNSEEN) + "]")


def assert_harmless(output: str) -> None:
    without_colours = re.sub(r"\x1b\[[0-9;]*m", "", output)
    found = FORGED.search(without_colours)
    assert found is None, without_colours[max(0, found.start() - 80) : found.end() + 20]
    assert not re.search(r"^\s*forged", without_colours, re.MULTILINE)
    assert "\\u202e" in re.sub(r"\s|│", "", without_colours)  # folded where a column is narrow


@given(st.text())
def test_what_is_shown_can_be_seen(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert one_line(shown) == shown
    assert visible(text).replace("\n", "\\n").replace("\t", "\\t") == shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if text.isascii() and text.isprintable():
        assert shown == text


@pytest.mark.parametrize("letter", [*UNSEEN, "\ud800"], ids=ascii)
def test_each_of_them_is_an_escape_in_a_line_and_in_a_text(letter: str) -> None:
    shown = f"a{ascii(letter)[1:-1]}b"
    assert one_line(f"a{letter}b") == visible(f"a{letter}b") == shown


@pytest.mark.parametrize(
    "text", ["naïve", "漢字かな", "Ελλάδα", "עברית", "e\u0301", "\u2764\ufe0f", "1\ufe0f\u20e3"]
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert one_line(text) == visible(text) == text


def test_a_cell_of_a_table_stays_one() -> None:
    assert markdown_cell("a|b\n<img src=x>[x](y)`") == "a&#124;b\\n&#60;img src=x>&#91;x](y)&#96;"
    assert (
        markdown_cell("https://example.org/a_b*c.git?x=1&y")
        == "https://example.org/a_b*c.git?x=1&y"
    )


# --- surfaces ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> reading.Dataset:
    folder = tmp_path_factory.mktemp("hostile")
    git = Git(folder / "one.git")
    file = {f"src/{HOSTILE}.py": ("100644", f"{STORED}\n".encode())}
    chain = history(git, [{"a": ("100644", b"1\n")}, {"a": ("100644", b"2\n")}])
    chain.append(git.commit(git.tree(file), chain[-1], message=f"evil{STORED}\n\n{STORED}\n"))
    return reading.open(build(folder / "data", {HOSTILE: (git, chain)}))


SUMMARY = Summary(
    repositories=2,
    mined=1,
    failed=[FailedRepository(HOSTILE, HOSTILE, HOSTILE)],
    commits_read=1,
    triples_by_kind={HOSTILE: 1},
    stages=[StageCount(HOSTILE, 2, 1)],
    left_out=[LeftOut(HOSTILE, HOSTILE, 1, HOSTILE)],
    blobs=1,
    content_bytes=1,
    disk_bytes=1,
    elapsed_s=1.0,
    out=HOSTILE,
    deterministic=True,
    next_command=f"codeflow inspect {HOSTILE}",
    notes=[HOSTILE],
)


def on_console(show: Callable[[Console], None]) -> str:
    stream = io.StringIO()
    show(Console(file=stream, force_terminal=True, width=400, color_system="standard"))
    return stream.getvalue()


def test_progress_and_summary() -> None:
    plain = io.StringIO()
    PlainProgress(plain).note(HOSTILE)
    assert_harmless(plain.getvalue())
    live = io.StringIO()
    progress = LiveProgress(live)
    progress.note(HOSTILE)
    progress.close()
    assert_harmless(live.getvalue())
    summary = io.StringIO()
    render_summary(SUMMARY, summary)
    assert_harmless(summary.getvalue())
    assert_harmless(str(Preview(("mine",), (HOSTILE,))))


def test_inspect_and_search(dataset: reading.Dataset) -> None:
    assert_harmless(on_console(lambda console: show_dataset(dataset, console)))
    triple = next(t for t in dataset.triples() if "evil" in t.patch)
    assert_harmless(on_console(lambda console: show_triple(triple, console)))
    found = search(dataset, Query(grep="evil"), 0)
    assert found.triples
    assert_harmless(on_console(lambda console: show_found(found, console)))


def test_a_notebook(dataset: reading.Dataset) -> None:
    triple = next(t for t in dataset.triples() if "evil" in t.patch)
    assert_harmless(triple_html(triple))
    assert not FORGED.search(dataset_html(dataset))


def test_verify() -> None:
    report, stream = Report(), io.StringIO()
    report.add(HOSTILE, HOSTILE, HOSTILE)
    report.remark(HOSTILE, HOSTILE, HOSTILE)
    show_report(report, stream)
    assert_harmless(stream.getvalue())
    assert stream.getvalue().count("\n") == 4


def test_the_report(dataset: reading.Dataset) -> None:
    assert_harmless(render(dataset.folder))


@pytest.mark.parametrize(
    "error", [CodeflowError(HOSTILE), DataError(HOSTILE), RepositoryError("missing", HOSTILE)]
)
def test_an_error_is_one_line(error: CodeflowError) -> None:
    assert_harmless(str(error))
    assert "\n" not in str(error)


def test_an_error_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / f"a{STORED}b")]) == 1
    assert_harmless(capsys.readouterr().err)


def test_the_card() -> None:
    evil = f"{HOSTILE}|<img src=x>"
    stages: list[Mapping[str, object]] = [
        {"in": 2, "out": 1, "rules": {evil: 1}, "languages": {}},
        {"in": 1, "out": 1, "rules": {}, "languages": {evil: {"tokens": 1.0, "tokens_after": 1.0}}},
    ]
    text = card.render(
        [{"repo": evil, "url": evil, "head": "0" * 40}],
        {HOSTILE: 1},
        {"window": {"start": 0, "stop": 1, "by": "commits"}, "projection": {"max_file_bytes": 1}},
        card.filled([]),
        {evil: 1},
        [
            Record("filter", "", "", True, {"filters": [(evil, {})]}, stages[0]),
            Record("mix", "", "", True, {}, stages[1]),
        ],
    )
    assert_harmless(text)
    assert "<img" not in text
    for line in text.splitlines():
        if "img" in line and line.startswith("|"):
            assert line.count("|") in (3, 4)
