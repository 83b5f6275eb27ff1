"""Files that a user hands over are read in one way, whatever the editor that wrote them.

Each reader is given the same words with and without a byte order mark, with other line ends, and
joined from files that have one each; and text that is none, which has to be said in one line.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow.config import decode_text, read_text, read_toml
from codeflow.errors import UsageError
from codeflow.train.recipe import read_recipe
from codeflow_filters.decontaminate.instances import read_instances
from codeflow_filters.optout import OptOut
from codeflow_filters.quality.model import Feature, Model, read_model
from codeflow_filters.quality.train import read_labels
from codeflow_miners.acquire.repositories import read_list

MODEL = Model(0.5, {"files": Feature(1.0, 2.0, 3.0)}, {"labels": 1})
INSTANCES = [{"instance_id": k, "text": f"überall {k}"} for k in "ab"]
TABLE = "[mine]\nkinds = ['span']\n\n[filter]\nfilters = ['default']\n"
RECIPE = Path(__file__).parents[2] / "examples/recipes/tiny.toml"


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def model_text(folder: Path) -> str:
    MODEL.write(folder / "written.json")
    return (folder / "written.json").read_text()


# reader: (its text, and what it makes of a file)
READERS: dict[str, tuple[Callable[[Path], str], Callable[[Path], Any]]] = {
    "list": (lambda _: "https://example.org/a/b\nsome/path  # là\n", read_list),
    "opt-out": (
        lambda _: "octocat\n# a comment\nother/name\n",
        lambda p: OptOut(file=str(p)).names,
    ),
    "configuration": (lambda _: TABLE, read_toml),
    "recipe": (lambda _: RECIPE.read_text(), read_recipe),
    "instances": (lambda _: lines(INSTANCES), lambda p: read_instances([p])),
    "labels": (lambda _: lines([{"id": k, "label": 1} for k in "ab"]), read_labels),
    "model": (model_text, lambda p: read_model(p, frozenset({"files"}))),
    "prompt": (lambda _: "def main(\n", lambda p: read_text(p, "prompt")),
}
MARK = codecs.BOM_UTF8


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("how", ["mark", "crlf", "mark and crlf", "cr"])
def test_what_editors_add_changes_nothing(name: str, how: str, tmp_path: Path) -> None:
    text, reader = READERS[name]
    data = text(tmp_path).encode()
    path = tmp_path / "file"
    path.write_bytes(data)
    expected = reader(path)
    ends = b"\r\n" if "crlf" in how else b"\r" if how == "cr" else b"\n"
    path.write_bytes((MARK if "mark" in how else b"") + data.replace(b"\n", ends))
    assert reader(path) == expected


@pytest.mark.parametrize("name", ["list", "opt-out", "instances", "labels"])
def test_files_that_were_joined_keep_their_marks_and_it_does_no_harm(
    name: str, tmp_path: Path
) -> None:
    text, reader = READERS[name]
    data = text(tmp_path).encode()
    path = tmp_path / "file"
    path.write_bytes(data)
    expected = reader(path)
    path.write_bytes(b"".join(MARK + line for line in data.splitlines(keepends=True)))
    assert reader(path) == expected


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "NUL byte in line 1"),
        ("utf-16-be", "NUL byte in line 1"),
        ("utf-32", "UTF-32"),
        ("latin-1", "not UTF-8 text in line 2"),
    ],
)
def test_other_encodings_are_refused_in_one_clear_line(
    name: str, encoding: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    data = "# first\n# é, and more\n".encode(encoding)
    path.write_bytes(data)
    with pytest.raises(UsageError) as error:
        READERS[name][1](path)
    told = str(error.value)
    assert "\n" not in told
    assert str(path) in told
    assert says in told
    assert "UTF-8" in told


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            READERS[name][1](path)


def test_a_mark_within_a_line_is_a_character_as_any() -> None:
    assert decode_text("a\ufeffb\n\ufeffc".encode()) == "a\ufeffb\nc"


@given(st.text(st.characters(exclude_characters="\0\r\ufeff", exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was(text: str) -> None:
    assert decode_text(text.encode()) == text
    assert decode_text(MARK + text.replace("\n", "\r\n").encode()) == text


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    told = ""
    try:
        decode_text(data)
    except ValueError as error:
        told = f"{type(error).__name__} {error}"
    assert not told or (told.startswith("ValueError") and told.endswith("save it as UTF-8"))
