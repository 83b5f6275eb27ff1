"""The syntax filter: which changes go, against full parses and the languages' own parsers."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tree_sitter import Node, Parser

from codeflow.contracts import Filter
from codeflow.errors import UsageError
from codeflow.text.grammars import WHEELS, load
from codeflow_filters.grammar.brackets import balances, has_open_macro, worse_in_every_reading
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.parser import Limits
from codeflow_filters.grammar.witness import confirms
from codeflow_filters.syntax import Syntax, introduces_errors, passes_screen
from triples import FILES_ONLY, Sides, triple

LIMITS = Limits(1 << 20, 1 << 30, 20.0)

# Per language: its extension, a correct file, and what breaks when put in place of `HERE`.
SAMPLES: dict[str, tuple[str, bytes, bytes]] = {
    "C": (".c", b"int f(int a) {\n    HERE;\n    return a;\n}\n", b"g((a)"),
    "C#": (".cs", b"class A {\n int F(int a) {\n  HERE;\n  return a;\n }\n}\n", b"x = ="),
    "C++": (".cc", b"template <class T> T f(T a) {\n    HERE;\n    return a;\n}\n", b"{ g(a)"),
    "Go": (".go", b"package a\n\nfunc F() {\n\tHERE\n}\n", b"x := :="),
    "Java": (".java", b"class A {\n int f(int a) {\n  HERE;\n  return a;\n }\n}\n", b"x = ="),
    "JavaScript": (".js", b"function f(a) {\n  HERE;\n  return a;\n}\n", b"x = ="),
    "PHP": (".php", b"<p>\n<?php\nfunction f($a) {\n    HERE;\n    return $a;\n}\n", b"$x = ="),
    "Python": (".py", b"def f(a):\n    HERE\n    return a\n", b"x = ="),
    "Ruby": (".rb", b"class A\n  def f(a)\n    HERE\n    a\n  end\nend\n", b"x = ="),
    "Rust": (".rs", b"fn f(a: u8) -> u8 {\n    HERE;\n    a\n}\n", b"let x = ="),
    "Shell": (".sh", b"f() {\n  HERE\n  echo $1\n}\n", b"if then"),
    "TSX": (".tsx", b"const f = (a: string) => {\n  HERE;\n  return <p>{a}</p>;\n};\n", b"x = ="),
    "TypeScript": (".ts", b"function f(a: string): string {\n  HERE;\n  return a;\n}\n", b"x = ="),
}  # fmt: skip


def files(language: str) -> tuple[str, bytes, bytes]:
    """A path, a correct file and a broken one."""
    extension, text, broken = SAMPLES[language]
    return f"src/a{extension}", text.replace(b"HERE", b"f(1)"), text.replace(b"HERE", broken)


def judge(*edits: tuple[str, bytes | None, bytes | None]) -> tuple[bool, str | None, str | None]:
    verdict = Syntax()(triple({path: (old, new) for path, old, new in edits}, only=FILES_ONLY))
    return verdict.kept, verdict.reason, verdict.detail


def test_it_is_a_filter() -> None:
    assert isinstance(Syntax(), Filter)
    assert set(SAMPLES) == set(GRAMMARS) == set(WHEELS)


@pytest.mark.parametrize("language", GRAMMARS)
def test_each_language_is_judged_by_the_change(language: str) -> None:
    path, good, bad = files(language)
    broken = (False, "syntax-error", path)
    kept = (True, None, None)
    assert judge((path, good, bad)) == broken
    assert judge((path, None, bad)) == broken, "an added file has no errors to start with"
    assert judge((path, None, good)) == kept
    assert judge((path, bad, good)) == kept
    assert judge((path, bad, None)) == kept
    assert judge((path, bad, bad + b"\n")) == kept, "the change is judged, not the file"
    assert judge(("a.md", good, bad)) == kept
    assert judge(("b.md", None, b"x"), (path, good, bad)) == broken


def test_samples_of_python_agree_with_python() -> None:
    _, good, bad = files("Python")
    ast.parse(good)
    with pytest.raises(SyntaxError):
        ast.parse(bad)


def test_vendored_and_generated_files_and_links_are_not_judged() -> None:
    path, good, bad = files("Go")
    files_of: dict[str, Sides] = {path: (good, bad)}
    for same in (
        {"vendored": True},
        {"generated": True},
        {"old_mode": "120000", "new_mode": "120000"},
    ):
        assert Syntax()(triple(files_of, only=FILES_ONLY, changes={path: same})).kept
    assert not Syntax()(triple(files_of, only=FILES_ONLY)).kept


def test_a_large_file_is_kept_and_counted() -> None:
    path, good, bad = files("Java")
    large = triple({path: (good[:5], bad)}, only=FILES_ONLY)
    verdict = Syntax(max_file_bytes=len(bad) - 1)(large)
    assert (verdict.kept, verdict.scores) == (True, {"syntax_unparsed": 1.0})
    with pytest.raises(UsageError, match="max_memory_bytes = 1: give 268435456 or more"):
        Syntax(max_memory_bytes=1)


# Macros of C that the grammar cannot read, and what breaks C whatever the macros are.
@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        (b"", b"run_with_period(100) {\n    g();\n}\n", False),
        (b"", b"static _Shared size_t n = 0;\n", False),
        (b"", b"#define OTHERWISE } else\nvoid f() { if (a) { g(); OTHERWISE { h(); } }\n", False),
        (b"", b"#if A && \\\n    defined(B)\nint f(int a) {\n#else\nint f() {\n#endif\n}\n", False),
        (b"", b"#if 0\nvoid f( {\n#else\nvoid f() {\n#endif\n    x = va_arg(l, T *);\n}\n", False),
        (b"", b"char c = '{'; char *s = \"}\\\"}\"; // {\n/* { */ X(100) { }\n", False),
        (b"#ifdef A\nint a;\n#endif\n", b"#ifdef A\nint a;\n", True),
        (b"int a;\n", b"int a;\n/* no end\nint b;\n", True),
        (b"void f() { g(); }\n", b"void f() { g(; }\n", True),
        (b"void f() {\n    g();\n}\n", b"void f() {\n    g();\n// }\n", True),
        (b"#if A\nint a[2];\n#elif B\nint b;\n#else\nint c;\n#endif\n",
         b"#if A\nint a[2;\n#elif B\nint b;\n#else\nint c];\n#endif\n", True),
    ],
)  # fmt: skip
def test_macros_are_no_errors(old: bytes, new: bytes, breaks: bool) -> None:
    around = b"\nint z(void) { return 0; }\n"
    assert judge(("a.c", old + around, new + around))[0] is not breaks


def count_errors(language: str, source: bytes) -> int:
    """The reference: recursive, on the whole file, in this process."""

    def count(node: Node) -> int:
        return node.is_error + node.is_missing + sum(map(count, node.children))

    root = Parser(load(language)).parse(source).root_node
    return count(root) + syntax_root_cost(root)


def syntax_root_cost(root: Node) -> int:
    return 10**6 if root.is_error else 0


PYTHON_ITEMS = [
    b'"""Docs.\n\nMore words\nx = 1\n"""\n',
    b"import os\n",
    b'def f(a):\n    """Say\n\nhello\n    """\n    return a\n',
    b"@cached\n@other(1)\nclass A:\n    x = 1\n\n    def f(self):\n        return [1,\n\n2]\n",
    b"if x:\n    y = 1\n\nelse:\n    y = '''a\n\nb'''\n",
    b"try:\n    a()\n\nexcept E:\n    b()\n",
    b"# it's a comment\nz = {\n    'a': 1,\n}\n",
    b"x = (1 +\n\n2)\n",
]
PYTHON_LINES = [
    b"", b"x = 1", b"    y = 2", b"def g(:", b")", b"(", b'"""', b"'''", b"else:", b"@dec", b"]",
    b"    return [", b"Some words here", b"class B:", b"# note", b"x = '", b"    pass", b"\tpass",
]  # fmt: skip
GO_ITEMS = [
    b"package a\n",
    b'import (\n\t"fmt"\n\n\t"os"\n)\n',
    b"func F(a int) int {\n\tif a > 1 {\n\t\treturn a\n\t}\n\treturn 0\n}\n",
    b"const text = `\nfunc\n\nvar x int\n`\n",
    b"/* words\n\nmore words\n*/\n",
    b"type T struct {\n\tA int\n\n\tB string\n}\n",
    b"// A comment.\nvar x = []int{\n\t1,\n}\n",
]
GO_LINES = [
    b"", b"var y = 1", b"}", b"{", b"`", b"/*", b"*/", b"func G() {", b"\treturn", b"words here",
    b")", b"(", b"x := 1", b"// note", b'var s = "', b"type U int",
]  # fmt: skip
RUST_ITEMS = [
    b"use std::io;\n",
    b'fn f(a: u8) -> u8 {\n    println!("{}", a);\n    a\n}\n',
    b'const T: &str = "a\n\nfn b\n";\n',
    b"/* words\n\nmore words\n*/\n",
    b"#[derive(Debug)]\nstruct S {\n    a: u8,\n\n    b: u8,\n}\n",
    b"impl S {\n    fn g(&self) -> char { 'x' }\n}\n",
]
RUST_LINES = [
    b"", b"fn h() {}", b"}", b"{", b'"', b"/*", b"*/", b"words here", b"    x();", b"#[test]",
    b"static X: u8 = 1;", b")", b"use a::b;", b"// it's",
]  # fmt: skip
JS_ITEMS = [
    b"'use strict';\n",
    b"function f(a) {\n  return a.map(x => x + 1);\n}\n",
    b"const t = `\nwords\n\nlet q = 1\n`;\n",
    b"/**\n * Words.\n\nmore words\n */\n",
    b"class A {\n  f() { return /x/g; }\n\n  g() {}\n}\n",
    b"module.exports = {\n  a: 1,\n\n  b: 2,\n};\n",
]
JS_LINES = [
    b"", b"let y = 1;", b"}", b"{", b"`", b"/*", b"*/", b"function g() {", b"words here",
    b")", b"(", b"f(1);", b"// it's", b"const s = '", b"  return 1;", b"};",
]  # fmt: skip
C_ITEMS = [
    b"#include <stdio.h>\n",
    b"#ifndef A_H\n#define A_H\n",
    b"int f(int a) {\n    if (a) {\n        return 1;\n    }\n\nout:\n    return 0;\n}\n",
    b"/* words (\n\nmore words {\n*/\n",
    b"#ifdef X\nint g(void) {\n#else\nint g(int a) {\n#endif\n    return 2;\n}\n",
    b"static const char *s = \"a(b\";\nchar c = '{';\n",
    b"struct s {\n    int a[3];\n\n    int b;\n};\n",
]
C_LINES = [
    b"", b"int y = 1;", b"}", b"{", b"/*", b"*/", b"#endif", b"#if 0", b"#else", b"#ifdef Q",
    b")", b"    f(1);", b"// it's }", b'char *t = "(";', b"#define M {", b"]",
]  # fmt: skip

POOLS = {
    "C": (C_ITEMS, C_LINES),
    "Go": (GO_ITEMS, GO_LINES),
    "JavaScript": (JS_ITEMS, JS_LINES),
    "Python": (PYTHON_ITEMS, PYTHON_LINES),
    "Rust": (RUST_ITEMS, RUST_LINES),
}


@st.composite
def edited(draw: st.DrawFn, language: str) -> tuple[bytes, bytes]:
    """A correct file of several items, and what a few edits of lines make of it."""
    items, pool = POOLS[language]
    old = b"\n".join(draw(st.lists(st.sampled_from(items), min_size=2, max_size=7)))
    lines = old.split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        gone = draw(st.integers(0, 2))
        lines[place : place + gone] = draw(st.lists(st.sampled_from(pool), max_size=2))
        lines = lines or [b""]
    return old, b"\n".join(lines)


def reference(language: str, old: bytes, new: bytes) -> bool:
    if GRAMMARS[language].macros and (
        not worse_in_every_reading(balances(old), balances(new)) or has_open_macro(new)
    ):
        return False
    return count_errors(language, new) > count_errors(language, old) and (
        confirms(language, old, new, LIMITS) is True
    )


def agree(language: str, **options: Any) -> None:
    """Raises AssertionError on a generated edit that is judged otherwise than by full parses."""

    @settings(deadline=None, **options)
    @given(edited(language))
    def agrees(sides: tuple[bytes, bytes]) -> None:
        old, new = sides
        if GRAMMARS[language].macros or not count_errors(language, old):
            found = introduces_errors(language, old, new, LIMITS)
            assert found is reference(language, old, new)

    agrees()


@pytest.mark.parametrize(
    "language",
    [pytest.param(name, marks=() if name == "Go" else pytest.mark.slow) for name in POOLS],
)
def test_the_screen_agrees_with_full_parses(language: str) -> None:
    agree(language, max_examples=120)


EDITS = {
    "C": (b"return 1", b"return 3"),
    "Go": (b"return 0", b"return 3"),
    "JavaScript": (b"x + 1", b"x + 3"),
    "Python": (b"x = 1\n\n    def", b"x = 3\n\n    def"),
    "Rust": (b"    a\n}", b"    a + 3\n}"),
}


@pytest.mark.parametrize("language", POOLS)
def test_the_screen_decides_an_edit_of_a_large_file(language: str) -> None:
    old = b"\n".join(POOLS[language][0] * 20)
    new = old.replace(*EDITS[language], 3)
    assert old != new
    assert passes_screen(language, old, new, LIMITS)
    assert reference(language, old, new) is False


# An item within a literal that is correct by itself, and closes the literal where it stands.
WITHIN_LITERALS = {
    "Go": (b"package a\n\nconst s = `\n\nvar x = 1\n\nvar y = 1\n`\n", b"`b`"),
    "JavaScript": (b"const s = `\n\nlet x = 1\n\nlet y = 1\n`;\n", b"`b`"),
    "Python": (b'def f():\n    """Words.\n\nx = 1\n\ny = 1\n"""\n', b'"""c d"""'),
    "Rust": (b'const S: &str = "\n\nstatic x: u8 = 1;\n\nstatic y: u8 = 1;\n";\n', b'"b"'),
}


@pytest.mark.parametrize("language", WITHIN_LITERALS)
def test_an_item_within_a_literal_is_no_item(
    language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, literal = WITHIN_LITERALS[language]
    new = old.replace(b"1", literal, 1)
    assert count_errors(language, old) == 0 < count_errors(language, new)
    assert introduces_errors(language, old, new, LIMITS) is True
    harmless = old.replace(b"1", b"2", 1)
    assert passes_screen(language, old, harmless, LIMITS)
    monkeypatch.setattr("codeflow_filters.syntax.starts_outside", lambda *_: True)
    assert introduces_errors(language, old, new, LIMITS) is False, "or the test shows nothing"


def everything(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("language", "name", "wrong"),
    [
        ("Python", "syntax.passes_screen", everything),  # no look at the new side at all
        ("C", "syntax.stays_balanced", everything),
        # any word in column 0 begins an item, `else` and the second line of an expression too
        ("Python", "grammar.syntax_screen._ANCHOR", re.compile(rb"\n\n(?=[A-Za-z_@])")),
    ],
)
def test_screens_that_judge_wrongly_are_caught(
    language: str, name: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"codeflow_filters.{name}", wrong)
    with pytest.raises(AssertionError):
        agree(language, max_examples=1000, database=None, phases=[Phase.generate])


def test_judging_the_file_is_caught() -> None:
    path, _, bad = files("Ruby")
    assert count_errors("Ruby", bad + b"\n") > 0
    assert judge((path, bad, bad + b"\n"))[0]


def test_a_name_that_became_a_keyword_is_a_name() -> None:
    old = b"import a\n"
    assert judge(("a.py", old, b"from kombu.async import Hub\nx = y.async and async\n"))[0]
    assert not judge(("a.py", old, b"async def f(:\n    async with a:\n        pass\n"))[0]
