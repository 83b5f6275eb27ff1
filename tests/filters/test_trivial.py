"""The trivial filter against Python's own trees, and by hand where a language has its traps."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from codeflow.contracts import Filter, Verdict
from codeflow_filters.grammar.parser import Limits
from codeflow_filters.trivial import Trivial, is_trivial, looks_trivial, shows_code
from triples import FILES_ONLY, triple

LIMITS = Limits(1 << 20, 1 << 30, 20.0)


def judge(*edits: tuple[str, bytes | None, bytes | None]) -> Verdict:
    return Trivial()(triple({path: (old, new) for path, old, new in edits}, only=FILES_ONLY))


def reason(path: str, old: str, new: str) -> str | None:
    return judge((path, old.encode(), new.encode())).reason


def test_it_is_a_filter() -> None:
    assert isinstance(Trivial(), Filter)


COMMENTS = {
    "a.c": "int f(void)\n{\n    return 1; /* one\n * two */ // three\n}\n",
    "a.cc": "int f()\n{\n    return 1; /* one\n * two */ // three\n}\n",
    "a.cs": "class A {\n  int F() {\n    return 1; /* one\n * two */ // three\n  }\n}\n",
    "a.go": "package a\n\nfunc F() int {\n\treturn 1 /* one two */ // three\n}\n",
    "a.java": "class A {\n  int f() {\n    return 1; /* one\n * two */ // three\n  }\n}\n",
    "a.js": "function f() {\n  return 1; /* one\n * two */ // three\n}\n",
    "a.php": "<?php\nfunction f() {\n  return 1; /* one\n * two */ // three\n}\n# three\n",
    "a.py": "def f():\n    return 1  # three\n",
    "a.rb": "def f\n  1 # three\nend\n",
    "a.rs": "fn f() -> u8 {\n    1 /* one\n * two */ // three\n}\n",
    "a.sh": "f() {\n  echo 1 # three\n}\n",
    "a.ts": "function f(): number {\n  return 1; /* one\n * two */ // three\n}\n",
    "a.tsx": "const f = () => {\n  return <p>{1}</p>; /* one\n * two */ // three\n};\n",
}


@pytest.mark.parametrize("path", COMMENTS)
def test_comments_and_white_space_of_each_language(path: str) -> None:
    text = COMMENTS[path]
    assert reason(path, text, text.replace("three", "four")) == "comment-only"
    assert reason(path, text, text.replace("1", "  1").replace("two", "2")) == (
        "comment-only" if "two" in text else "whitespace-only"
    )
    assert reason(path, text, text + "\n\n") == "whitespace-only"
    assert reason(path, text, text.replace("1", "2")) is None
    assert reason(path, text, text.replace("1", "2").replace("three", "four")) is None
    assert reason(path, text, text.replace("1", "1 1 (")) is None
    broken = reason(path, text + "(", text.replace("three", "four") + "(")
    # C is compared word by word, as macros are errors to its grammar
    assert broken == ("comment-only" if path.endswith((".c", ".cc")) else None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('f("/*");\nx = 1;\n', 'f("/*");\nx = 2;\n'),
        ("/* a\n b */ x = 1;\n", "/* a\n c */ x = 2;\n"),
        ("/* a\n b */ x = 1;\n", "/* a\n b    x = 1;\n*/\n"),
        ("// /*\nx = 1;\n// */\n", "// /*\nx = 2;\n// */\n"),
        ("'/*';\nx = 1;\n", "'/*';\nx = 3;\n"),
        ("a+ +b;\n", "a++b;\n"),
        ("x/ *p;\n", "x/*p;*/\n"),
    ],
)
def test_words_of_c_are_not_taken_for_comments(old: str, new: str) -> None:
    assert reason("a.c", old, new) is None


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("a.py", "if a:\n    b()\n    c()\n", "if a:\n    b()\nc()\n"),
        ("a.py", "x = 'a b'\n", "x = 'a  b'\n"),
        ("a.py", "x = '''a\n b'''\n", "x = '''a\n  b'''\n"),
        ("a.py", "x = f'{a} b'\n", "x = f'{a}  b'\n"),
        ("a.py", "def f():\n    'doc a'\n", "def f():\n    'doc  a'\n"),
        ("a.py", "#!/usr/bin/python\nx = 1\n", "#!/usr/bin/python3\nx = 1\n"),
        ("a.py", "x = 1  # type: int\n", "x = 1  # type: str\n"),
        ("a.py", "if a:\n    b()\nelse:\n    c()\n", "if a:\n    b()\nelse:  # noqa\n    c()\n"),
        ("a.py", "x = y()\n", "x = y()  # pragma: no cover\n"),
        ("a.rb", "x = y\n", "x = y # rubocop:disable all\n"),
        ("a.go", "package a\n\nvar x = 1\n", "package a\n\nvar x = 1 //nolint:all\n"),
        ("a.js", "eval(x);\n", "eval(x); // eslint-disable-line\n"),
        ("a.js", "f(x);\n", "/* eslint no-eval: 0 */\nf(x);\n"),
        ("a.js", "return_ = a\n(b)\n", "return_ = a;\n(b)\n"),
        ("a.js", "function f() { return a }\n", "function f() { return\n a }\n"),
        ("a.js", "x = `a ${b} c`\n", "x = `a ${b}  c`\n"),
        ("a.js", "x = /a b/\n", "x = /a  b/\n"),
        ("a.js", "x = '// a'\n", "x = '// b'\n"),
        ("a.tsx", "x = <p>a <b/> c</p>\n", "x = <p>a <b/>c</p>\n"),
        ("a.go", "package a\n\n//go:build linux\n", "package a\n\n//go:build darwin\n"),
        ("a.go", "package a\n\nvar s = `a\n b`\n", "package a\n\nvar s = `a\nb`\n"),
        ("a.c", "#define A(b) b\n", "#define A (b) b\n"),
        ("a.c", "char *s = \"/* a */\";\n", "char *s = \"/* b */\";\n"),
        ("a.c", "int a; // b \nint c;\n", "int a; // b \\\nint c;\n"),
        ("a.rs", 'const S: &str = "a b";\n', 'const S: &str = "a  b";\n'),
        ("a.sh", "cat <<E\na b\nE\n", "cat <<E\na  b\nE\n"),
        ("a.sh", "a b\n", "ab\n"),
        ("a.sh", "echo 'a b'\n", "echo 'a  b'\n"),
        ("a.sh", "echo a#b\n", "echo a #b\n"),
        ("a.rb", "x = <<E\na b\nE\n", "x = <<E\na  b\nE\n"),
        ("a.rb", "x = %w[a b]\n", "x = %w[ab]\n"),
        ("a.rb", "# frozen_string_literal: true\nx\n", "# frozen_string_literal: false\nx\n"),
        ("a.php", "<p>a b</p>\n<?php f();\n", "<p>a  b</p>\n<?php f();\n"),
        ("a.java", 'class A { String s = """\n  a"""; }\n', 'class A { String s = """\n a"""; }\n'),
        ("a.cs", 'class A { string s = @"a b"; }\n', 'class A { string s = @"a  b"; }\n'),
    ],
)  # fmt: skip
def test_what_looks_like_white_space_or_a_comment_and_is_code(
    path: str, old: str, new: str
) -> None:
    assert reason(path, old, new) is None


def test_every_file_has_to_be_trivial() -> None:
    old, new, real = b"x = 1\n", b"x  =  1\n", b"x = 2\n"
    assert not judge(("a.py", old, new), ("b.py", old, b"x = 1 # why\n")).kept
    assert judge(("a.py", old, new), ("b.py", old, real)).kept
    assert judge(("a.py", old, new), ("b.md", old, new)).kept
    assert judge(("a.py", old, new), ("b.py", None, b"# why\n")).kept
    assert judge(("a.py", old, new), ("b.py", b"# why\n", None)).kept
    assert judge().kept
    for other in (
        {"new_mode": "100755"},
        {"status": "R", "new_path": "b.py"},
        {"old_mode": "120000", "new_mode": "120000"},
    ):
        edit = triple({"a.py": (old, new)}, only=FILES_ONLY, changes={"a.py": other})
        assert Trivial()(edit).kept


def test_a_large_file_is_kept() -> None:
    edit = triple({"a.py": ("x = 1\n", "x  = 1\n")}, only=FILES_ONLY)
    assert Trivial(max_file_bytes=6)(edit).kept
    assert not Trivial(max_file_bytes=7)(edit).kept


PIECES = [
    "def f(a):\n    return a  # c\n", "x = [1,\n     2]  # two\n", "# alone\n", "s = 'a # b'\n",
    "if x:\n    y = 1\n    z = '''q\n# w'''\n", "\n", "t = (a +  b)\n", "class A:\n    '''D'''\n",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)


@st.composite
def touched(draw: st.DrawFn) -> tuple[str, str]:
    """A module, and a few characters put into it, taken from it or put in place of others."""
    old = new = draw(TEXT)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(new)))
        gone = draw(st.integers(0, 2))
        put = draw(st.sampled_from(["", " ", "  ", "\n", "# n\n", "#", "a", "    ", "'"]))
        new = new[:place] + put + new[place + gone :]
    return old, new


def python_tree(text: str) -> str | None:
    """Python's own tree, without places; None if it is no Python."""
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:
        return None


def agree(**options: Any) -> None:
    """Raises AssertionError on a change that Python's tree shows and that is taken for trivial."""

    @settings(deadline=None, **options)
    @given(touched())
    def agrees(sides: tuple[str, str]) -> None:
        before, after = map(python_tree, sides)
        if before is not None and after is not None and before != after:
            old, new = (side.encode() for side in sides)
            assert judge(("a.py", old, new)).kept

    agrees()


@pytest.mark.slow
def test_nothing_that_python_sees_is_trivial() -> None:
    agree(max_examples=400)


def test_a_judge_without_a_parser_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeflow_filters.trivial.is_trivial", lambda *_: True)
    with pytest.raises(AssertionError):
        agree(max_examples=2000, database=None, phases=[Phase.generate])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(touched())
def test_a_patch_that_shows_code_is_of_a_change_that_is_not_trivial(sides: tuple[str, str]) -> None:
    old, new = (side.encode() for side in sides)
    if shows_code(triple({"a.py": sides}, only=FILES_ONLY)):
        assert not looks_trivial("Python", old, new)


def test_a_statement_that_moves_over_comments_changes_no_code() -> None:
    header = "".join(f"# line {k}\n" for k in range(12))
    assert reason("a.py", f"import os\n{header}", f"{header}import os\n") == "comment-only"


def test_a_mark_within_a_literal_opens_no_comment() -> None:
    text = "a = 1;\nx('**/*.js');\n"
    assert reason("a.js", text, f"// why\n{text}") == "comment-only"


def test_a_long_comment_is_no_code_though_no_mark_is_near() -> None:
    lines = [f" * line {k}" for k in range(12)]
    old = "\n".join(["/*", *lines, " */", "a = 1;", ""])
    for text in (" * int b;", " * }", "words", "   * x;"):
        assert reason("a.c", old, old.replace(" * line 6", text)) == "comment-only"
        assert reason("a.js", old, old.replace(" * line 6", text)) == "comment-only"


@settings(max_examples=100, deadline=None)
@given(TEXT, st.lists(st.sampled_from(["# n", "", "   # 'm"]), min_size=1, max_size=3))
def test_lines_of_comments_between_statements_are_trivial(text: str, lines: list[str]) -> None:
    sides = (text.encode(), ("\n".join(lines) + "\n" + text).encode())
    assert looks_trivial("Python", *sides)
    assert is_trivial("Python", *sides, LIMITS)
