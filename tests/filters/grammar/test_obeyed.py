"""Comments that tools obey, language by language; those that people alone read stay trivial."""

from __future__ import annotations

import ast
import subprocess

import pytest

from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.obeyed import obeyed
from codeflow_filters.trivial import Trivial
from triples import FILES_ONLY, triple


def reason(path: str, old: str, new: str) -> str | None:
    return Trivial()(triple({path: (old, new)}, only=FILES_ONLY)).reason


GO = "package a\n\n"
CODE = [
    ("a.go", GO + '// #include <a.h>\n// int f(void);\nimport "C"\n', "f(void)", "f(int a)"),
    ("a.go", GO + '/*\n#include <a.h>\n\nint f(void) { return 1; }\n*/\nimport "C"\n', "1", "2"),
    ("a.go", GO + "/*\nint f;\n*/\nimport (\n\t\"C\"\n)\n", "int f", "long f"),
    ("a.go", GO + "func ExampleF() {\n\tF()\n\t// Output:\n\t// one\n\t// two\n}\n", "two", "2"),
    ("a.go", GO + "func ExampleF() {\n\tF()\n\t// Unordered output: a\n\t// b\n}\n", "b\n", "c\n"),
    ("a.go", "//go:build linux\n\npackage a\n", "linux", "darwin"),
    ("a.go", "// +build linux\n\npackage a\n", "linux", "darwin"),
    ("a.go", GO + "//go:generate stringer -type=A\nvar x = 1\n", "A", "B"),
    ("a.go", GO + "//go:embed a.txt\nvar x string\n", "a.txt", "b.txt"),
    ("a.go", GO + "var x = 1 //nolint:gosec\n", "gosec", "all"),
    ("a.go", GO + "//export F\nfunc F() {}\n", "//export F", "//export G"),
    ("a.py", '# /// script\n# dependencies = [\n#   "a",\n# ]\n# ///\nx = 1\n', '"a"', '"b"'),
    ("a.py", "# mypy: strict\nx = 1\n", "strict", "ignore-errors"),
    ("a.py", "x = 1  # type: int\n", "int", "str"),
    ("a.py", "x = 1  # noqa: E501\n", "E501", "E502"),
    ("a.py", "x = 1  # pylint: disable=a\n", "=a", "=b"),
    ("a.py", "# -*- coding: utf-8 -*-\nx = 1\n", "utf-8", "latin-1"),
    ("a.py", "# fmt: off\nx = 1\n", "off", "on"),
    ("a.py", "# pyright: basic\nx = 1\n", "basic", "strict"),
    ("a.py", "# %%\nx = 1\n", "%%", "%% [markdown]"),
    ("a.py", "#SBATCH --time=1\nx = 1\n", "=1", "=2"),
    ("a.py", "def f():\n    '''\n    >>> f()\n    1\n    '''\n", ">>> f()", ">>> f(2)"),
    ("a.sh", "#!/bin/sh\n#SBATCH --time=1\necho\n", "time=1", "time=2"),
    ("a.sh", "#!/bin/sh\n#PBS -l nodes=1\necho\n", "nodes=1", "nodes=2"),
    ("a.sh", "#!/bin/sh\n#BSUB -n 1\necho\n", "-n 1", "-n 2"),
    ("a.sh", "#!/bin/sh\n#$ -cwd\necho\n", "-cwd", "-V"),
    ("a.sh", "#!/bin/sh\necho\n", "/bin/sh", "/bin/bash"),
    ("a.sh", "# shellcheck disable=SC1\necho\n", "SC1", "SC2"),
    ("a.js", "import(/* webpackChunkName: 'a' */ 'b');\n", "'a'", "'c'"),
    ("a.js", "import(/* webpackPrefetch: true */ 'b');\n", "true", "false"),
    ("a.js", "// @flow\nf();\n", "@flow", "@flow strict"),
    ("a.js", "/** @jsx h */\nf();\n", "jsx h", "jsx g"),
    ("a.js", "/* @vite-ignore */ f();\n", "@vite-ignore", ""),
    ("a.js", "/**\n * @type {string}\n */\nlet a = 1;\n", "string", "number"),
    ("a.js", "x = /* @__PURE__ */ f();\n", "@__PURE__", "why"),
    ("a.js", "// eslint-disable-next-line a\nf();\n", "line a", "line b"),
    ("a.js", "/* global a */\nf();\n", "global a", "global b"),
    ("a.js", "/*! banner 1 */\nf();\n", "1", "2"),
    ("a.js", "/* eslint no-alert: 0 */\nf();\n", "0", "2"),
    ("a.js", "/* jshint esversion: 6 */\nf();\n", "6", "8"),
    ("a.js", "//= require a\nf();\n", "e a", "e b"),
    ("a.js", "// ==UserScript==\n// @match *://*/*\n// ==/UserScript==\nf();\n", "*:", "https:"),
    ("a.py", "# ---\n# jupyter:\n#   kernelspec: a\n# ---\nx = 1\n", ": a", ": b"),
    ("a.sh", "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: a\n### END INIT INFO\n", ": a", ": b"),
    ("a.js", "/* istanbul ignore next */\nf();\n", "next", "else"),
    ("a.js", "f();\n//# sourceMappingURL=a.map\n", "a.map", "b.map"),
    ("a.js", "/**\n * @jest-environment node\n */\nf();\n", "node", "jsdom"),
    ("a.ts", "// @ts-ignore\nf();\n", "@ts-ignore", "@ts-expect-error"),
    ("a.ts", "// @ts-nocheck\nf();\n", "@ts-nocheck", "words"),
    ("a.ts", '/// <reference types="a" />\nf();\n', '"a"', '"b"'),
    ("a.tsx", "/** @jsxImportSource a */\nf();\n", "Source a", "Source b"),
    ("a.php", "<?php\nclass A {\n  /** @expectedException B */\n  function f() {}\n}\n", "B", "C"),
    ("a.php", "<?php\nclass A {\n  /** @dataProvider b */\n  function f() {}\n}\n", "r b", "r c"),
    ("a.php", "<?php\n/**\n * Words.\n * @ORM\\Column(\n *   length=1\n * )\n */\nclass A {}\n",
     "length=1", "length=2"),
    ("a.php", "<?php\nf(); // phpcs:ignore A\n", "e A", "e B"),
    ("a.php", "<?php\n// @phpstan-ignore-line\nf();\n", "-line", "-next-line"),
    ("a.rb", "# frozen_string_literal: true\nx\n", "true", "false"),
    ("a.rb", "# encoding: utf-8\nx\n", "utf-8", "ascii"),
    ("a.rb", "# typed: true\nx\n", "true", "strict"),
    ("a.rb", "x # rubocop:disable A\n", "A", "B"),
    ("a.rb", "x # :nodoc:\n", ":nodoc:", "words"),
    ("a.java", "// CHECKSTYLE:OFF\nclass A {}\n", "OFF", "ON"),
    ("a.java", "// @formatter:off\nclass A {}\n", "off", "on"),
    ("a.java", "class A { String s = a(); //$NON-NLS-1$\n}\n", "1$", "2$"),
    ("a.java", "/* @test\n * @run main A\n */\nclass A {}\n", "main A", "main B"),
    ("a.cs", "/// <summary>A</summary>\nclass A {}\n", "A<", "B<"),
    ("a.cs", "// ReSharper disable A\nclass B {}\n", "disable A", "disable B"),
    ("a.c", "int f(void); /* NOLINT(a) */\n", "(a)", "(b)"),
    ("a.c", "// clang-format off\nint a;\n", "off", "on"),
    ("a.c", "void f(void) { switch (a) { case 1: g(); /* fallthrough */ default: ; } }\n",
     "fallthrough", "words"),
    ("a.cc", "#include <a> // IWYU pragma: keep\nint a;\n", "keep", "export"),
    ("a.cc", "int a; // NOLINTNEXTLINE(x)\n", "(x)", "(y)"),
    ("a.c", "// RUN: %clang %s\nint a;\n", "%s", "%t"),
    ("a.rs", "/// ```\n/// f(1);\n/// ```\nfn f() {}\n", "f(1)", "f(2)"),
    ("a.rs", "//! Words\nfn f() {}\n", "Words", "More"),
    ("a.rs", "//@ run-pass\nfn f() {}\n", "run-pass", "check-pass"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "old", "new"), CODE)
def test_a_comment_that_a_tool_obeys_is_code(path: str, text: str, old: str, new: str) -> None:
    assert old in text
    assert reason(path, text, text.replace(old, new)) is None


PROSE = [
    ("a.go", GO + "// words\n\nimport \"C\"\n"),
    ("a.go", GO + "// F does words.\nfunc F() {}\n"),
    ("a.go", GO + "func ExampleF() {\n\t// words\n\tF()\n\t// Output:\n\t// one\n}\n"),
    ("a.py", "# words\nx = 1\n"),
    ("a.py", "#: words, which Sphinx prints as it prints docstrings\nx = 1\n"),
    ("a.py", "# /// script\n# ///\n\n# words of mine\nx = 1\n"),
    ("a.sh", "#!/bin/sh\n# words\necho\n"),
    ("a.js", "// words on flow and jsx\nf();\n"),
    ("a.js", "// the standard words, and what v8 and a bundler do\nf();\n"),
    ("a.js", "// eslint words are long\nf();\n"),
    ("a.rb", "# standard words on the :title\nx\n"),
    ("a.sh", "#!/bin/sh\n# Provides words\n# Description of it\necho\n"),
    ("a.js", "/**\n * Says words.\n * @param a what for\n */\nfunction f(a) {}\n"),
    ("a.ts", "/* words on types */\nf();\n"),
    ("a.tsx", "// words\nf();\n"),
    ("a.php", "<?php\n/**\n * Says words.\n * @dataProvider a\n */\nfunction f() {}\n"),
    ("a.php", "<?php\n/**\n * @author words\n */\nclass A {}\n"),
    ("a.rb", "# words, frozen or not\nx\n"),
    ("a.java", "/**\n * Says words.\n * @param a what\n */\nclass A {}\n"),
    ("a.cs", "// words\nclass A {}\n"),
    ("a.c", "/* words\n * and more */\nint a;\n"),
    ("a.cc", "// words\nint a;\n"),
    ("a.rs", "// words\nfn f() {}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text"), PROSE)
def test_a_comment_that_people_read_is_trivial(path: str, text: str) -> None:
    assert reason(path, text, text.replace("words", "other things")) == "comment-only"


def test_every_language_has_a_row() -> None:
    for language in GRAMMARS:
        comment = (
            b"# vim: set et:" if language in ("Python", "Ruby", "Shell") else b"// vim: set et:"
        )
        assert obeyed(language, comment)
        assert not obeyed(language, comment[:2] + b" words")


def test_python_obeys_what_we_say_it_does() -> None:
    text = "# -*- coding: latin-1 -*-\nx = '\xe9'\n".encode()
    assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(text.replace(b"latin-1", b"utf-8")))
    typed = [ast.dump(ast.parse(f"x = 1  # type: {name}\n", type_comments=True)) for name in "ab"]
    assert typed[0] != typed[1]


def test_gcc_obeys_what_we_say_it_does() -> None:
    """Its warning of a case that falls through goes by the comment."""
    text = "void f(int a) { switch (a) { case 1: a = 2; /* %s */\n case 2: a = 3; } }\n"
    said = [
        subprocess.run(
            ["gcc", "-Wimplicit-fallthrough=3", "-S", "-o", "/dev/null", "-x", "c", "-"],
            input=(text % words).encode(),
            capture_output=True,
        ).stderr
        for words in ("fallthrough", "words")
    ]
    assert (b"fall through" in said[0], b"fall through" in said[1]) == (False, True)
