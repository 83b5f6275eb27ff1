"""What is correct and an error to a grammar stays; what is broken goes. Judges: the languages' own
parsers where the machine has them, and else the languages' references."""

from __future__ import annotations

import ast
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeflow_filters.grammar.brackets import balances, worse_in_every_reading
from codeflow_filters.grammar.dialects import is_dialect, is_made_for_tests
from codeflow_filters.grammar.evidence import breaks, evidence
from codeflow_filters.grammar.grammars import GRAMMARS
from codeflow_filters.grammar.own_parsers import reads
from codeflow_filters.grammar.parser import Limits, errors
from codeflow_filters.grammar.parser import reads as asked
from codeflow_filters.syntax import Syntax, introduces_errors
from codeflow_miners.contents.languages import Languages
from triples import FILES_ONLY, triple

LIMITS = Limits(1 << 20, 1 << 30, 20.0)

BASH = [
    '[ "$a" = 1 -o \\( "$b" = 2 \\) ]\n',
    "x=$((10#$n))\n",
    "f() {\n  for x do\n    echo $x\n  done\n}\n",
    "cat <<A <<B\na\nA\nb\nB\n",
    "exec {fd}<>f\n",
    "f() {\n  [ $a \\> $b ];\n}\n",
    'while option="${arg:$index:1}"; do\n  echo\ndone\n',
    "x=${1//&/\\&amp;}\n",
    'f() {\n  cat\n} <<< "$(< "$f")"$\'\\n\'\n',
    'if [[ "$a" = *"$b"     || \\\n  "$c" ]]; then\n  echo\nfi\n',
]
PYTHON = [
    "def f():\n    if (a and\nb):\n        return 1\n",
    "def f():\n    return (a\n+ b -\nc)\n",
    "class A:\n    def f(self):\n        while (a or\nnot b):\n            pass\n",
    "def f():\n    with open(a,\nb) as c:\n        pass\n",
]
OTHERS = {
    "C": [
        "#ifdef A\nint f(int a) {\n#endif\n#ifndef A\nint f(void) {\n#endif\n    X(T *);\n}\n",
        "\ufeff#if A\nint f(int a)\n#else\nint f(void)\n#endif\n{ P(T *) Q return 1; }\n",
    ],
    "C#": [
        "class A {\n  int[] x = {\n#if !B\n    1,\n#endif\n    2\n  };\n}\n",
        "class A : B\n#if !C\n  , D\n#endif\n{\n}\n",
        "class A {\n  bool F()\n#if X\n    => true;\n#else\n    => false;\n#endif\n}\n",
        "class A {\n  bool F() {\n    return a\n#if X\n      && b\n#endif\n      && c;\n  }\n}\n",
    ],
    "JavaScript": [
        "import a from './a.json' assert { type: 'json' }\n",
        "// @flow\nexport type A = {| +a: ?string |};\nfunction f(a: A): %checks { return !!a; }\n",
        "declare opaque type B: string;\nconst x = (y: any);\n",
    ],
    "PHP": [
        "<?php\nnamespace ${service.namespace};\n\nclass A\n{\n}\n",
        "<?php\nf();\n__halt_compiler(); ((( data\n",
    ],
    "Ruby": [
        "NODES = {\n  def: A,\n  defined?: B,\n  return: C,\n  self: D\n}.freeze\n",
        "case x\nwhen :$', :$POSTMATCH\n  1\nend\n",
    ],
    "Rust": [
        "fn f() -> Result<(), E> {\n    let x = try!(g());\n    Ok(try!(h(x)))\n}\n",
        "trait T {\n    fn f(u8);\n    fn async(&self);\n}\n",
    ],
    "TypeScript": ["import defer * as x from 'y';\nenum A { B = 1 }\n"],
}
VALID = [
    *(("Shell", text) for text in BASH),
    *(("Python", text) for text in PYTHON),
    *((language, text) for language, texts in OTHERS.items() for text in texts),
]
BROKEN = [
    ("Shell", "f() {\n  if true; then\n    echo\n}\n"),
    ("Shell", "for x in a; do echo $x\n"),
    ("Shell", 'echo "a\n'),
    ("Shell", "echo a && && echo b\n"),
    ("Shell", "case $x in a) echo;; \n"),
    ("Python", "def f():\n    x = (1,\n    return x\n"),
    ("Python", "with @patch('a') as b:\n    pass\n"),
    ("Python", "f(a, **options\n  b=1)\n"),
    ("C#", "class A {\n  void F() {\n    G(1;\n  }\n}\n"),
    ("C#", 'class A {\n  string s = "a;\n}\n'),
    ("Go", "package a\n\nfunc F() {\n\tx := []int{1, 2\n}\n"),
    ("Go", 'package a\n\nvar s = "a\n'),
    ("Java", "class A {\n  void f() {\n    g(1);\n\n  void h() {}\n}\n"),
    ("Java", "class A {\n  int f() {\n    if () { return 1; }\n    return 2;\n  }\n}\n"),
    ("Java", "enum A extends B {\n  C\n}\n"),
    ("Java", "interface A implements B {}\n"),
    ("JavaScript", "function f() {\n  return [1, 2;\n}\n"),
    ("JavaScript", "const s = 'a;\n"),
    ("JavaScript", "<<<<<<< HEAD\nlet a = 1;\n=======\nlet a = 2;\n>>>>>>> b\n"),
    ("PHP", "<?php\nif ($request->) {\n  f();\n}\n"),
    ("PHP", "<p>it's</p>\n<?php\nfunction f() {\n  if ($a) {\n    g();\n}\n"),
    ("Ruby", "class A\n  def f\n    if a\n      b\n  end\nend\n"),
    ("Ruby", "module A\n  VERSION = '2.0.0\nend\n"),
    ("Rust", "fn f() {\n    let x = vec![1, (2];\n}\n"),
    ("Rust", 'const M: &[&str] = &[("man", &["*.1", "*.2"),\n];\n'),
    ("TSX", "const f = () => {\n  return <p>{g(1}</p>;\n};\n"),
    ("TypeScript", "function f(a: string {\n  return a;\n}\n"),
    ("TypeScript", "let x y = 1;\n"),
    ("C", "void f(void) {\n    if (a) {\n        g();\n}\n"),
    ("C++", "namespace a {\nint f() { return g(1; }\n}\n"),
]


@pytest.mark.parametrize(("language", "text"), VALID)
def test_what_a_grammar_misses_stays(language: str, text: str) -> None:
    assert introduces_errors(language, b"", text.encode(), LIMITS) is False


def test_the_grammars_do_miss_most_of_it() -> None:
    missed = [errors(language, [text.encode()], LIMITS)[0] for language, text in VALID]
    assert sum(map(bool, missed)) > len(missed) * 0.7, "or the test above shows nothing"


@pytest.mark.parametrize(("language", "text"), BROKEN)
def test_what_is_broken_goes(language: str, text: str) -> None:
    assert introduces_errors(language, b"", text.encode(), LIMITS) is True


@pytest.mark.parametrize("text", PYTHON)
def test_python_reads_the_python(text: str) -> None:
    ast.parse(text)


def test_python_reads_none_of_the_broken_python() -> None:
    for language, text in BROKEN:
        if language == "Python":
            with pytest.raises(SyntaxError):
                ast.parse(text)


def bash_reads(text: str) -> bool:
    return subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True).returncode == 0


def test_bash_agrees() -> None:
    assert all(map(bash_reads, BASH))
    assert not any(bash_reads(text) for language, text in BROKEN if language == "Shell")


@pytest.mark.skipif(shutil.which("node") is None, reason="an outside judge, where there is one")
def test_node_reads_none_of_the_broken_javascript() -> None:
    for language, text in BROKEN:
        if language == "JavaScript":
            done = subprocess.run(
                ["node", "--check", "-"], input=text.encode(), capture_output=True
            )
            assert done.returncode != 0


def test_a_zsh_script_is_no_bash() -> None:
    names = Languages()
    for path, line, language in [
        ("a.zsh", b"", "Zsh"), (".zshrc", b"", "Zsh"), ("_git", b"#compdef git", "Zsh"),
        ("a.sh", b"#!/usr/bin/env zsh", "Zsh"), ("a.zsh-theme", b"", "Zsh"),
        ("a.sh", b"#!/bin/ksh93", "Ksh"), ("a.ksh", b"", "Ksh"), ("a.mksh", b"", "Ksh"),
        ("a.bats", b"#!/usr/bin/env bats", "Bats"), ("run", b"#!/usr/bin/env fish", "fish"),
        ("a.sh", b"#!/usr/bin/env -S fish", "fish"), ("a.sh", b"#!/bin/tcsh", "Tcsh"),
        ("a.sh", b"#!/bin/bash", "Shell"), ("a.sh", b"# words", "Shell"),
        ("run", b"#!/bin/dash", "Shell"), ("a.blade.php", b"<p>", "Blade"),
        ("a.php", b"<?hh // strict", "Hack"), ("a.php", b"<?php", "PHP"),
        ("a.hh", b"<?hh", "Hack"), ("a.hh", b"#pragma once", "C++"), ("a.cu", b"", "Cuda"),
        ("a.pyx", b"", "Cython"), ("a.bzl", b"", "Starlark"), ("a.erb", b"", "HTML+ERB"),
    ]:  # fmt: skip
        assert names.language(path, line) == language, (path, line)
    assert not {"Zsh", "Ksh", "Bats", "fish", "Hack", "Blade"} & set(GRAMMARS)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("Python", "print 'a'\nx = (\n"),
        ("Python", "try:\n    a()\nexcept A, e:\n    b(\n"),
        ("Python", "import {{ cookiecutter.name }}\n"),
        ("Python", "{% if a %}\nimport b\n{% endif %}\n"),
        ("Shell", "<% if a -%>\necho )\n<% end -%>\n"),
        ("Shell", "f() {\n  {\n    a\n  } always {\n    b\n  }\n}\n"),
        ("Ruby", "class <%= name %>\nend\nend\n"),
        ("JavaScript", "var x = @VERSION@ +;\n"),
    ],
)
def test_dialects_and_templates_are_not_judged(language: str, text: str) -> None:
    assert is_dialect(language, text.encode())
    assert introduces_errors(language, b"", text.encode(), LIMITS) is False


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("tests/data/cases/invalid_header.py", True), ("spec/fixtures/a.rb", True),
        ("a/__fixtures__/b.js", True), ("tests/ui/parser.rs", True), ("src/testdata/x.go", True),
        ("test/syntax-error.js", True), ("lib/bad_syntax.rb", True),
        ("tests/test_parser.py", False), ("src/data/a.py", False), ("lib/errors.rb", False),
        ("spec/parser_spec.rb", False), ("src/ui/a.tsx", False),
    ],
)  # fmt: skip
def test_files_that_tests_read_are_not_judged(path: str, made: bool) -> None:
    assert is_made_for_tests(path) is made
    name = f"{path.rpartition('.')[0]}.py"
    broken = triple({name: ("x = 1\n", "x = = 1\n")}, only=FILES_ONLY)
    assert Syntax()(broken).kept is made


def test_a_witness_that_was_blind_before_confirms_nothing() -> None:
    old = b"f() { ${ echo; }; }}\n"
    assert not reads("Shell", old, 5.0)
    assert introduces_errors("Shell", old, old + b"if then\n", LIMITS) is False


def test_own_parsers_answer_hostile_texts() -> None:
    for language in ("Python", "Shell"):
        assert asked(language, [b"(" * 100_000], LIMITS)[0] in (False, None)
        assert asked(language, [b"x=1\n", b"x=(\n"], LIMITS) == [True, False]


def test_conditionals_may_hold_half_a_function_each() -> None:
    old = b"int f(void)\n{\n    return 1;\n}\n"
    new = b"#ifdef A\nint f(void)\n{\n#endif\n#ifndef A\nint g(void)\n{\n#endif\n    return 1;\n}\n"
    assert not worse_in_every_reading(balances(old), balances(new))
    assert worse_in_every_reading(balances(old), balances(new + b"}}}\n"))


@pytest.mark.parametrize("language", [name for name, _ in BROKEN if not GRAMMARS[name].own_parser])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*"(){}[]'\"`/\\#?%<>=:;\n", "*/", "/*", "<<A", "end", "x"])))
def test_the_scan_ends_on_any_text(language: str, parts: list[str]) -> None:
    if GRAMMARS[language].macros:
        return
    text = "".join(parts).encode()
    evidence(language, text)
    assert not breaks(language, text, text)
