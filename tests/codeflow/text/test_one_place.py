"""Facts that once stood twice stand once: a second copy of any of them fails here."""

from __future__ import annotations

import re

import pytest

from small_history import ROOT

PLACES = {
    r"tree_sitter_(?:bash|c_sharp|rust)": "codeflow/text/grammars.py",
    r"\\u206a-\\u206f": "codeflow/text/paths.py",
    r"git~1": "codeflow/text/paths.py",
    r"= \(\"train\", \"validation\"\)\n": "codeflow/records.py",
    r"ENOLCK": "codeflow/storage/lock.py",
    r"isprintable": "codeflow/text/escape.py",
    r"\[0-3\]\[0-7\]": "codeflow/text/quoting.py",
    r"\"k\", \"M\"|\"kB\"": "codeflow/text/numbers.py",
}


@pytest.mark.parametrize(("fact", "place"), PLACES.items())
def test_a_fact_stands_in_one_place(fact: str, place: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for room in ("codeflow", "miners", "filters")
        for path in (ROOT / room).rglob("*.py")
        if re.search(fact, path.read_text(encoding="utf-8"))
    }
    assert found == {place}
