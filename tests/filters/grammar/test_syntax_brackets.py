"""The balance of C's brackets, against a reader that goes character by character."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from codeflow_filters.grammar import brackets
from codeflow_filters.grammar.brackets import Balance, balances, has_open_macro, hunk_stays_balanced
from codeflow_filters.text.hunks import hunks
from triples import section


def balance(text: bytes) -> Balance:
    """By the first branch of each conditional."""
    return balances(text)[0]


PIECES = [
    "(", ")", "[", "]", "{", "}", "a", "/*", "*/", "//", "'", '"', "\\", "\n", "\\\n", "x(1)", " ",
    "'('", '"{"', "/* } */", "/", "*",
]  # fmt: skip


def slowly(text: str) -> Balance:
    """No directives: only comments, literals and brackets."""
    code = ""
    open_ = place = 0
    while place < len(text):
        two = text[place : place + 2]
        if two == "//":
            while place < len(text) and text[place] != "\n":
                place += 1
        elif two == "/*":
            end = text.find("*/", place + 2)
            open_ += end < 0
            place = len(text) if end < 0 else end + 2
            code += " "
        elif text[place] in "'\"":
            quote, place = text[place], place + 1
            while place < len(text) and text[place] not in (quote, "\n"):
                place += 2 if text[place] == "\\" else 1
            place += place < len(text) and text[place] == quote
            code += " "
        else:
            code += text[place]
            place += 1
    round_, square, curly = (code.count(a) - code.count(b) for a, b in ("()", "[]", "{}"))
    return Balance(round_, square, curly, 0, code.count("*/") - open_)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_balance_is_that_of_a_slow_reader(text: str) -> None:
    text += "\n;\n"  # what a literal or a comment at the very end swallows is another matter
    assert balance(text.encode()) == slowly(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#if A\nf(\n#else\ng(\n#endif\n)", Balance()),
        ("#if 0\nf((\n#else\ng(\n#endif\n)", Balance()),
        ("#if 0\nf((\n#elif B\ng(\n#else\n((((\n#endif\n)", Balance()),
        ("#if A\n{\n#elif B\n{\n#elif C\n{\n#else\n{\n#endif\n}", Balance()),
        ("#if A\n#if B\n{\n#else\n(\n#endif\n#else\n[\n#endif\n}", Balance()),
        ("# ifdef A \\\n ((\n #  endif\n", Balance()),
        ("#define F(a) {(\\\n((\nx\n", Balance()),
        ("#ifdef A\n", Balance(conditionals=1)),
        ("#endif\n#else\n", Balance(conditionals=2)),
        ('R"(((\n)" R"x()"((\n)x"', Balance()),
        ("/* a", Balance(comments=-1)),
        ("*/", Balance(comments=1)),
    ],
)
def test_branches_and_directives(text: str, found: Balance) -> None:
    assert balance(text.encode()) == found


def test_a_macro_with_a_lone_bracket() -> None:
    assert has_open_macro(b"#define BEGIN {\n")
    assert has_open_macro(b"  # define B \\\n  } else\n")
    assert not has_open_macro(b"#define F(a) do { g(a); } while (0)\n#include <a(b>\n")
    assert not has_open_macro(b"/*\n#define BEGIN {\n*/\n")


@pytest.mark.slow
@pytest.mark.parametrize("piece", [b"/*", b'R"(', b'"\\', b"'", b"#if\\\n", b"\n#", b"#define "])
def test_hostile_texts_take_no_time_to_speak_of(piece: bytes) -> None:
    """One that is quadratic in its length would not end before the test's time is up."""
    text = piece * (600_000 // len(piece))
    assert balance(text) == balance(text)
    has_open_macro(text)


LINE = st.sampled_from(
    ["f(a);", "if (a) {", "}", 'g("{");', "x = y; // {", "", "int z[3];", "#define A 1", "h('(');"]
)
BLOCK = st.lists(LINE, max_size=6)
COMMENT = st.lists(st.sampled_from(["a { b", "} c", " * b (", ""]), min_size=1, max_size=9).map(
    lambda lines: [f"/* {lines[0]}", *lines[1:], "*/"]
)
BRANCHES = st.tuples(st.sampled_from(["#if A", "#ifdef B", "#if 0"]), BLOCK, BLOCK).map(
    lambda parts: [parts[0], *parts[1], "#else", *parts[2], "#endif"]
)


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """C with long comments and branches, and the same with a few lines put in or taken away."""
    blocks = draw(st.lists(BLOCK | COMMENT | BRANCHES, max_size=6))
    old = [line for block in blocks for line in block]
    new = list(old)
    for _ in range(draw(st.integers(1, 3))):
        at, gone = draw(st.integers(0, len(new))), draw(st.integers(0, 2))
        new[at : at + gone] = draw(BLOCK | COMMENT | st.sampled_from([["#if A"], ["#endif"]]))
    before, after = ("".join(f"{line}\n" for line in side).encode() for side in (old, new))
    return before, after


def agree(screen: Callable[[bytes], bool], **options: Any) -> None:
    """Raises AssertionError where hunks are said to keep a balance that the whole does not."""

    @settings(deadline=None, **options)
    @given(edited())
    def agrees(sides: tuple[bytes, bytes]) -> None:
        if all(map(screen, hunks(section("a.c", sides)))):
            assert balance(sides[0]) == balance(sides[1])

    agrees()


@pytest.mark.slow
def test_hunks_in_balance_leave_the_file_as_balanced_as_it_was() -> None:
    agree(hunk_stays_balanced, max_examples=500)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COMMENT_MARK", re.compile(rb"(?!)")),  # no comments of several lines
        ("_CONDITIONAL", re.compile(rb"(?!)")),  # branches are one text
        ("_SILENT", re.compile(rb"(?!)")),  # comments and literals are code
    ],
)
def test_a_hunk_that_overlooks_something_is_caught(name: str, value: Any) -> None:
    def blind(hunk: bytes) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(brackets, name, value)
            return hunk_stays_balanced(hunk)

    with pytest.raises(AssertionError):
        agree(blind, max_examples=3000, database=None, phases=[Phase.generate])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{\nf(a);\ng("a: */*");\n}\n', '{\nf(a;\ng("a: */*");\n}\n'),
        ("#define A 1\nint f(void) {\n}\n", "#define A 1 /* one\nint f(void) {\n}\n"),
    ],
)
def test_marks_in_literals_and_directives_are_looked_at_in_the_file(old: str, new: str) -> None:
    assert not all(map(hunk_stays_balanced, hunks(section("a.c", (old, new)))))


def test_most_edits_are_told_by_their_hunks() -> None:
    moved = b"int f(a) {\n    return g(a);\n}\n", b"int f(a) {\n    return g(a, (b));\n}\n"
    assert all(map(hunk_stays_balanced, hunks(section("a.c", moved))))
    broken = moved[0], moved[1].replace(b"))", b")")
    assert not all(map(hunk_stays_balanced, hunks(section("a.c", broken))))
