"""Runs of formatters are told by what they leave alone; what changes code is no such run."""

from __future__ import annotations

import pytest

from codeflow_filters.grammar.parser import Limits
from codeflow_filters.sweeps import Sweeps, formatted, words
from triples import Sides, triple

LIMITS = Limits(1 << 20, 1 << 30, 5.0)

SAME = [
    # black
    ("Python", "x = 'a'\n", 'x = "a"\n'),
    ("Python", "x = u'it\\'s'\n", 'x = "it\'s"\n'),
    ("Python", "f(a,\n  b)\n", "f(\n    a,\n    b,\n)\n"),
    ("Python", "from a import b, c\n", "from a import (\n    b,\n    c,\n)\n"),
    ("Python", "x = (a + b)\nreturn_ = not (x)\n", "x = a + b\nreturn_ = not x\n"),
    ("Python", "x = a + \\\n  b\n", "x = a + b\n"),
    ("Python", "x = ('a'\n     'b')\n", 'x = "a" "b"\n'),
    ("Python", "def f():\n  '''One\n  two.'''\n", 'def f():\n    """One\n    two."""\n'),
    ("Python", "if a:\n  b()\n", "if a:\n    b()\n"),
    ("Python", "x = 1 #why\n", "# fmt: off\nx = 1  # why\n# fmt: on\n"),
    # prettier
    ("JavaScript", "const a = 'b'\n", 'const a = "b";\n'),
    ("TypeScript", "f({a: 1, b: [1, 2]})\n", "f({\n  a: 1,\n  b: [1, 2],\n});\n"),
    # rustfmt, gofmt and their kin
    (
        "Rust",
        "fn f(a: u8,b: u8) { g(a,b); }\n",
        "fn f(\n    a: u8,\n    b: u8,\n) {\n    g(a, b);\n}\n",
    ),
    ("Java", "class A{int a=(1);}\n", "class A {\n  int a = 1;\n}\n"),
    ("Kotlin", "fun f(a: Int, b: Int) = a\n", "fun f(\n  a: Int,\n  b: Int,\n) = a\n"),
    ("CSS", "a{color:red;top:0}\n", "a {\n  color: red;\n  top: 0\n}\n"),
    ("JSON", '{"a":[1,2]}\n', '{\n  "a": [\n    1,\n    2\n  ]\n}\n'),
]
OTHER = [
    ("Python", "if a:\n    b()\nc()\n", "if a:\n    b()\n    c()\n"),  # indentation
    ("Python", "x = (a)\n", "x = (a,)\n"),
    ("Python", "x = a[b]\n", "x = a[b,]\n"),
    ("Python", "x = (a + b) * c\n", "x = a + b * c\n"),
    ("Python", "x = 'a'\n", "x = b'a'\n"),
    ("Python", "x = r'\\n'\n", "x = '\\n'\n"),
    ("Python", "x = 'a b'\n", "x = 'a  b'\n"),
    ("Python", "x = '''a\n  b'''\n", "x = '''a\nb'''\n"),  # no docstring
    ("Python", "x = 1  # one\n", "x = 1  # two\n"),
    ("Python", "x = 1  # type: int\n", "x = 1  # type: [int]\n"),
    ("JavaScript", "a = [1]\n", "a = [,1]\n"),
    ("JavaScript", "a = []\n", "a = [,]\n"),
    ("JavaScript", "a = `b c`\n", "a = `b  c`\n"),
    ("PHP", "<?php $a = 'b' . $c - 1;\n", "<?php $a = 'b' . ($c - 1);\n"),  # other before PHP 8
    ("Rust", "fn f() { g((a)); }\n", "fn f() { g((a,)); }\n"),
    ("Rust", "fn f() { m!(a); }\n", "fn f() { m!(a,); }\n"),
    ("Go", "package a\nvar b = 1\n", "package a\nvar b = 2\n"),
    ("Kotlin", "val a = b - c\n", "val a = b-- c\n"),
    ("Kotlin", 'val a = "b c"\n', 'val a = "b  c"\n'),
    ("CSS", "a b {top: 0}\n", "a, b {top: 0}\n"),
]


@pytest.mark.parametrize(("language", "old", "new"), SAME)
def test_what_a_formatter_sets(language: str, old: str, new: str) -> None:
    assert formatted(language, old.encode(), new.encode(), LIMITS)


@pytest.mark.parametrize(("language", "old", "new"), OTHER)
def test_what_changes_code(language: str, old: str, new: str) -> None:
    assert not formatted(language, old.encode(), new.encode(), LIMITS)


def judged(files: dict[str, Sides], **fields: dict[str, object]) -> str | None:
    known = {"py": "Python", "kt": "Kotlin", "yml": "YAML", "h": "C"}
    changes = {
        path: {
            "language": known.get(path.rpartition(".")[2]),
            **fields.get(path.partition(".")[0], {}),
        }
        for path in files
    }
    verdict = Sweeps()(triple(files, changes=changes))
    assert verdict.kept == (verdict.reason is None)
    return verdict.reason


RUN: Sides = ("x = 'a'\n", 'x = "a"\n')
CONFIG: dict[str, object] = {"file_kind": "configuration"}


def test_a_run_over_several_files_goes_whatever_its_tool_keeps_beside() -> None:
    assert judged({"a.py": RUN, "b.kt": ("f(a)\n", "f( a )\n")}) == "formatting"
    tool: Sides = ("rev: 1\n", "rev: 2\n")
    assert judged({"a.py": RUN, "t.yml": tool}, t=CONFIG) == "formatting"
    assert judged({"a.py": RUN, "t.yml": (None, "rev: 2\n" * 20)}, t=CONFIG) is None
    assert judged({"a.py": RUN, "README.md": tool}, README={"file_kind": "docs"}) is None
    assert judged({"a.py": RUN, "b.py": ("x = 1\n", "x = 2\n")}) is None
    assert judged({"a.py": RUN, "b.py": (None, "x = 1\n")}) is None
    assert judged({"a.yml": ("a:\n  - b\n", "a:\n- b\n")}) is None  # indentation may count


YEARS = "# Copyright (c) 2012-2019 The Authors\n"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (YEARS, YEARS.replace("2019", "2020"), "license-years"),
        ("(c) 2019\nx\n", "(c) 2019, 2020\nx\n", "license-years"),
        ("Copyright 2019 A\n", "Copyright 2019 B\n", None),
        ("Released in 2019\n", "Released in 2020\n", None),
        (YEARS + "a\n", YEARS.replace("2019", "2020") + "b\n", None),
        ("", YEARS, None),
    ],
)
def test_new_years_in_lines_of_copyright(old: str, new: str, reason: str | None) -> None:
    assert judged({"LICENSE": (old, new), "a.h": (old, new)}) == reason


GO = "module a\n\nrequire (\n\tb.org/b v1.2.3\n\tc.org/c v0.9.0\n)\n"
SUM: Sides = ("b.org/b v1.2.3 h1:x=\n", "b.org/b v1.2.4 h1:y=\nd.org/d v0.1.0 h1:z=\n")
INDIRECT = "\td.org/d v0.1.0 // indirect\n)\n"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"go.mod": (GO, GO.replace("v1.2.3", "v1.2.4")), "go.sum": SUM}, "pins"),
        ({"go.mod": (GO, GO.replace("v1.2.3", "v2.0.0").replace(")\n", INDIRECT))}, "pins"),
        ({"go.mod": (GO, GO.replace(")\n", "\td.org/d v0.1.0\n)\n")), "go.sum": SUM}, None),
        ({"go.sum": SUM}, None),  # a lock file alone is another rule's
        ({"r.toml": ("a = '~=1.2'\n", "a = '~=1.3'\n")}, "pins"),
        ({"r.toml": ("mypy!=0.940\n", "mypy!=0.950\n")}, "pins"),
        ({"r.toml": ("share = 0.5\n", "share = 0.7\n")}, None),
        ({"r.toml": ("port = 8080\n", "port = 8081\n")}, None),
        ({"r.toml": ("a = 1.2.3\n", "b = 1.2.4\n")}, None),
        ({"r.toml": ("a = 1.2.3\n", "a = 1.2.4\nlto = true\n")}, None),
        ({".github/workflows/a.yml": ("uses: a/b@v3\n", "uses: a/b@v4\n")}, "pins"),
        (
            {".github/workflows/a.yml": ("uses: a/b@" + "1a" * 20, "uses: a/b@" + "2b" * 20)},
            "pins",
        ),
        ({"t.toml": ("terraform = 1.14.1\n", "terraform = 1.14.4\n")}, "pins"),
        ({"t.toml": (None, "terraform = 1.14.4\n")}, None),
    ],
)
def test_new_versions_in_pins(files: dict[str, Sides], reason: str | None) -> None:
    kinds = {path: {"file_kind": "configuration"} for path in files}
    verdict = Sweeps()(triple(files, changes=kinds))
    assert (None if verdict.kept else verdict.reason) == reason
    code = Sweeps()(triple({**files, "a.py": ("a = 1\n", "a = 2\n")}, changes=kinds))
    assert code.kept


def test_words_and_signs_of_a_text() -> None:
    assert words(b"f(a,\n b,)") == words(b"f(a, b)")
    assert words(b"ab") != words(b"a b")
    assert words(b'"a b"') != words(b'"ab"')


def test_contents_are_asked_for_where_the_patch_leaves_doubt_alone() -> None:
    doubtful = triple({"a.py": RUN}, changes={"a.py": {"language": "Python"}})
    plain = triple({"a.py": ("x = 1\n", "x = 2\n")}, changes={"a.py": {"language": "Python"}})
    assert len(list(Sweeps().wants(doubtful))) == 2
    assert not list(Sweeps().wants(plain))
