"""The balance of C's brackets, against a reader that goes character by character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow_filters.brackets import Balance, balance, has_open_macro

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
    nets = [code.count(a) - code.count(b) for a, b in ("()", "[]", "{}")]
    return Balance(*nets, 0, code.count("*/") - open_)


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


@pytest.mark.parametrize("piece", [b"/*", b'R"(', b'"\\', b"'", b"#if\\\n", b"\n#", b"#define "])
def test_hostile_texts_take_no_time_to_speak_of(piece: bytes) -> None:
    """One that is quadratic in its length would not end before the test's time is up."""
    text = piece * (600_000 // len(piece))
    assert balance(text) == balance(text)
    has_open_macro(text)
