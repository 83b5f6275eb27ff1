"""Endings of two languages, told apart by what a file holds.

The languages are what GitHub's linguist says of such files; its own 436 samples of these endings
were read once as well, 410 of them alike.
"""

# ruff: noqa: E501  (a file a line)
from __future__ import annotations

import pytest

from codeflow_miners.contents.languages import Languages, kind
from codeflow_miners.contents.linguist import is_generated

MARK = b"\xef\xbb\xbf"
QT = '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE TS>\n<TS version="2.1"></TS>\n'
FILES: list[tuple[str, str, str | None]] = [
    ("x.init.d", "", "Shell"),
    ("contrib/x.init.d", "#!/bin/bash\n### BEGIN INIT INFO\n", "Shell"),
    ("x.rc.d", ". /etc/rc.subr\nname=x\n", "Shell"),
    ("x.init.d", "#!/usr/bin/perl\n", "Perl"),
    ("a.d", "", "D"),
    ("a.d", "module a.b;\n\nimport std.stdio;\n\nvoid main() { writeln(1); }\n", "D"),
    ("a.d", "/// Docs.\nstruct A { int x; }\n", "D"),
    ("a.d", "#!/usr/bin/env rdmd\nimport std.stdio;\n", "D"),
    ("a.d", "#!/usr/sbin/dtrace -s\n\nsyscall:::entry\n{\n  @[probefunc] = count();\n}\n", "DTrace"),
    ("a.d", "#pragma D option quiet\n\nBEGIN\n{\n  x = 1;\n}\n", "DTrace"),
    ("provider.d", "provider node {\n  probe gc__start(int t);\n};\n", "DTrace"),
    ("a.d", "src/a.o: src/a.c src/a.h \\\n  include/b.h\n\nsrc/a.h:\n", "Makefile"),
    ("a.d", "build/a.o: \\\n  a.c\n", "Makefile"),
    ("script.d", "#!/bin/sh\necho\n", "Shell"),
    ("app.pro", "", "QMake"),
    ("app.pro", "QT += core gui\nTARGET = app\nSOURCES += main.cpp\n", "QMake"),
    ("rules.pro", "# Keep it.\n-keepattributes Signature\n-dontwarn javax.annotation.**\n", "Proguard"),
    ("r8.pro", "# Add project specific ProGuard rules here.\n", "Proguard"),
    ("a.pro", ":- module(a, [b/1]).\n\nb(X) :- c(X).\n", "Prolog"),
    ("a.pro", "pro plot_it, x, y\n  compile_opt idl2\nend\n", "IDL"),
    ("a.feature", "", "Gherkin"),
    ("a.feature", "@slow\nFeature: Log in\n  Scenario: x\n    Given y\n", "Gherkin"),
    ("a.feature", "# language: de\nFunktionalität: Anmelden\n", "Gherkin"),
    ("a.feature", "Fonctionnalité: Se connecter\n", "Gherkin"),
    ("news/1234.feature", "Add ``--dry-run`` to ``pip install``: it shows what it would do.\n", "Text"),
    ("a.ts", "", "TypeScript"),
    ("a.ts", "export const x: number = 1\n", "TypeScript"),
    ("a.ts", "#!/usr/bin/env node\nimport x from 'y'\n", "TypeScript"),
    ("de.ts", QT, "XML"),
    ("de.ts", '<TS version="2.1">\n', "XML"),
    ("v.ts", "G@\0\x10" + "x" * 184 + "G", None),
    ("a.rs", "", "Rust"),
    ("a.rs", "#![no_std]\nfn main() {}\n", "Rust"),
    ("a.rs", "#pragma version(1)\n#pragma rs java_package_name(a.b)\n", "RenderScript"),
    ("a.rs", '<?xml version="1.0"?>\n<x/>\n', "XML"),
    ("a.m", "", "Objective-C"),
    ("a.m", "// Copyright\n#import <Foundation/Foundation.h>\n", "Objective-C"),
    ("a.m", "@implementation A\n@end\n", "Objective-C"),
    ("a.m", "x = [1 2 3];\n% doubles it\ny = 2 * x;\n", "MATLAB"),
    ("a.m", "\nfunction y = f(x)\nend\n", "MATLAB"),
    ("a.m", ":- module a.\n:- interface.\n", "Mercury"),
    ("a.m", '(* ::Package:: *)\nBeginPackage["A`"]\n', "Wolfram Language"),
    ("a.h", "int f(void);\n", "C"),
    ("a.h", "#ifdef __cplusplus\nextern \"C\" {\n#endif\nint f(void);\n", "C"),
    ("a.h", "/* a class of its own */\nstruct class_t;\n", "C"),
    ("a.h", "namespace a {\ntemplate <class T> T f();\n}\n", "C++"),
    ("a.h", "#import <UIKit/UIKit.h>\n@interface A : NSObject\n@end\n", "Objective-C"),
    ("a.pl", "", "Perl"),
    ("a.pl", "# comment\nuse strict;\nmy $x = \"${1:-a}\";\n", "Perl"),
    ("a.pl", "% facts\nparent(a, b).\nold(X) :- parent(X, _).\n", "Prolog"),
    ("a.pl", "parent(a, b).\nold(X) :-\n  parent(X, _).\n", "Prolog"),
    ("a.pl", "#!/usr/bin/env swipl\n\nmain :- halt.\n", "Prolog"),
    ("a.pl", "use v6;\nsay 1;\n", "Raku"),
    ("a.v", "", "Verilog"),
    ("a.v", "`timescale 1ns/1ps\nmodule top(input a);\nendmodule\n", "Verilog"),
    ("a.v", "module main\n\nimport os\n\nfn main() {\n\tprintln('a')\n}\n", "V"),
    ("a.v", "Require Import List.\n\nTheorem a : 1 = 1.\nProof. reflexivity. Qed.\n", "Rocq Prover"),
    ("a.cls", "", None),
    ("a.cls", "\\NeedsTeXFormat{LaTeX2e}\n\\ProvidesClass{a}\n", "TeX"),
    ("a.cls", "public with sharing class A {\n}\n", "Apex"),
    ("a.cls", "VERSION 1.0 CLASS\nBEGIN\n  MultiUse = -1\nEND\nAttribute VB_Name = \"A\"\n", "VBA"),
    ("a.inc", "", None),
    ("a.inc", "<?php\nfunction a() {}\n", "PHP"),
    ("a.inc", "#include <stdio.h>\n#define A 1\n", "C"),
    ("a.inc", "SUMMARY = \"x\"\nLICENSE = \"MIT\"\ninherit autotools\n", "BitBake"),
    ("a.inc", "{$IFDEF FPC}\nprocedure A;\nbegin\nend;\n", "Pascal"),
    ("a.inc", "%macro a 1\n  mov eax, %1\n%endmacro\n", "Assembly"),
    ("rebar.config", "{erl_opts, []}.\n", "Erlang"),
    ("Makefile.inc", "# define what to build\nall: a\n", "Makefile"),
    ("a.inc", "# if this is set\nX = 1\nall: a\n", "Makefile"),
    ("a.cl", "__kernel void f(__global float* a) {}\n", "OpenCL"),
    ("a.cl", "(defun f (x) x)\n", "Common Lisp"),
    ("a.php", "<?hh // strict\n", "Hack"),
    ("a.pp", "unit a;\ninterface\nend.\n", "Pascal"),
    ("a.pp", "class a {\n  file { 'x': ensure => present }\n}\n", "Puppet"),
    ("a.t", "use strict;\nuse warnings;\nuse Test::More;\n", "Perl"),
    ("a.fs", "#version 330\nvoid main() {}\n", "GLSL"),
    ("a.fs", "module A\nlet x = 1\n", "F#"),
    ("kernel.config", "CONFIG_X=y\n", None),
    ("app.config", '<?xml version="1.0"?>\n<configuration/>\n', "XML"),
    ("phpunit.xml.dist", "<?xml?>\n", "XML"),
    ("setup.py.in", "", "Python"),
    ("config.yml.example", "", "YAML"),
    ("run.in", "#!/bin/sh\n", "Shell"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "text", "language"), FILES)
def test_a_shared_ending_is_decided_by_content(path: str, text: str, language: str | None) -> None:
    language_of = Languages().language
    assert language_of(path, text.encode()) == language
    assert language_of(f"src/{path}", MARK + text.encode()) == language
    assert language_of(path, text.replace("\n", "\r\n").encode()) == language


def test_headers_that_show_nothing_are_what_the_repository_is() -> None:
    cpp = Languages.for_paths(["a.cpp", "b.cpp", "c.c"])
    assert cpp.language("a.h", b"int f(void);\n") == "C++"
    assert cpp.language("a.inc", b"#define A 1\n") == "C++"
    assert cpp.language("a.h", b"@interface A\n@end\n") == "Objective-C"


def test_every_language_has_a_kind() -> None:
    programming = {"DTrace", "IDL", "RenderScript", "V", "Rocq Prover", "Apex", "OpenCL", "Hack"}
    assert {kind(name) for name in programming} == {"programming"}
    assert kind("Proguard") == "data"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.go", b"// Code generated by mockgen. DO NOT EDIT.\npackage a\n"),
        ("a.js", b"// Generated by CoffeeScript 1.0\n"),
        ("a.map", b'{"version":3,"file":"x"}'),
        ("a.js", b"/* parser generated by jison 0.4 */\n"),
        ("Foo.java", b"// This is a generated file. Not intended for manual editing.\n"),
        ("a.rbi", b"# typed: true\n\n# DO NOT EDIT MANUALLY\n\n# Please run `bin/tapioca gem`\n"),
    ],
)
def test_marks_of_generators_are_seen_behind_a_byte_order_mark(path: str, text: bytes) -> None:
    assert is_generated(path, text)
    assert is_generated(path, MARK + text)
