"""Languages by name, extension and shebang; the language of a triple."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow_miners.contents.languages import ChangedLines, Languages, kind, triple_language

EXPECTED = {
    "a.py": "Python", "a.pyi": "Python", "a.c": "C", "a.cc": "C++", "a.hpp": "C++", "a.cs": "C#",
    "A.java": "Java", "a.js": "JavaScript", "a.mjs": "JavaScript", "a.jsx": "JavaScript",
    "a.ts": "TypeScript", "a.tsx": "TSX", "a.go": "Go", "a.rs": "Rust", "a.rb": "Ruby",
    "Gemfile": "Ruby", "a.php": "PHP", "a.kt": "Kotlin", "a.swift": "Swift", "a.scala": "Scala",
    "a.sbt": "Scala", "a.sh": "Shell", "a.bash": "Shell", ".bashrc": "Shell", "a.csh": "Tcsh",
    "a.html": "HTML", "a.xhtml": "HTML", "a.css": "CSS", "a.scss": "SCSS", "README.md": "Markdown",
    "README.rst": "reStructuredText", "README": "Text", "a.json": "JSON", "a.ipynb":
    "Jupyter Notebook", "a.yml": "YAML", "a.toml": "TOML", "poetry.lock": "TOML", "a.xml": "XML",
    "a.csproj": "XML", "a.svg": "SVG", "a.xslt": "XSLT", "Makefile": "Makefile",
    "Makefile.am": "Makefile", "Dockerfile": "Dockerfile", "Dockerfile.dev": "Dockerfile",
    "CMakeLists.txt": "CMake", "notes.txt": "Text", "a.sql": "SQL", "a.lua": "Lua", "a.pm": "Perl",
    "a.R": "R", "a.hs": "Haskell", "a.tcl": "Tcl", "a.y": "Yacc", "a.mm": "Objective-C++",
    "a.cljs": "Clojure", "a.edn": "edn", "a.pyx": "Cython", "a.vue": "Vue", "go.sum":
    "Go Checksums", "Cargo.lock": "TOML", ".gitignore": "Ignore List", "build.gradle": "Gradle",
    "a.PY": "Python", "setup.cfg": "INI", "tox.ini": "INI", "Makefile.py": "Python",
    "png.png": None, "data.bin": None, "noextension": None, "trailing.": None, ".py": None,
    "": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "language"), EXPECTED.items())
@pytest.mark.parametrize("folder", ["", "src/", "a.py/b.c/"])
def test_by_name_and_extension(folder: str, name: str, language: str | None) -> None:
    assert Languages().language(folder + name, b"") == language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        (b"#!/bin/sh", "Shell"),
        (b"#!/usr/bin/env python3", "Python"),
        (b"#!/usr/bin/env python3.11\r", "Python"),
        (b"#! /usr/bin/perl -w", "Perl"),
        (b"#!/usr/bin/env -S node --harmony", "JavaScript"),
        (b"#!/usr/bin/env LANG=C ruby -w", "Ruby"),
        (b"#!/usr/bin/tclsh8.6", "Tcl"),
        (b"#!/usr/bin/env", None),
        (b"#!", None),
        (b"#!/opt/unheard/of", None),
        (b"python3", None),
    ],
)
def test_by_shebang(line: bytes, language: str | None) -> None:
    assert Languages().language("bin/run", line) == language


def test_shebang_does_not_overrule_the_name() -> None:
    assert Languages().language("a.py", b"#!/bin/sh") == "Python"


def test_headers_are_what_most_sources_are() -> None:
    def header(*paths: str) -> str | None:
        return Languages.for_paths(paths).language("include/x.h", b"")

    assert header() == "C"
    assert header("a.c", "b.c", "c.cpp", "x.h", "y.h") == "C"
    assert header("a.c", "c.cpp", "d.cc") == "C++"
    assert header("a.c", "c.cpp") == "C"
    assert header("only.hpp") == "C++"
    assert header("a.m", "b.mm", "c.c") == "Objective-C"
    assert header("a.py", "b.py") == "C"


def test_shared_extensions_look_at_the_first_line() -> None:
    language = Languages().language
    assert language("a.m", b"#import <Foundation/Foundation.h>") == "Objective-C"
    assert language("a.m", b"function y = f(x)") == "MATLAB"
    assert language("a.m", b"% solves it") == "MATLAB"
    assert language("a.pl", b"use strict;") == "Perl"
    assert language("a.pl", b":- module(a, []).") == "Prolog"
    assert language("a.ts", b"import x from 'y'") == "TypeScript"
    assert language("de.ts", b'<?xml version="1.0"?>') == "XML"


def change(
    language: str | None, lines: int, generated: bool = False, vendored: bool = False
) -> ChangedLines:
    return ChangedLines(language, lines, generated, vendored)


def test_triple_language_ranks() -> None:
    py, js, md = change("Python", 3), change("JavaScript", 2), change("Markdown", 900)
    assert triple_language([]) is None
    assert triple_language([change(None, 10)]) is None
    assert triple_language([js, py, md]) == "Python"
    assert triple_language([md, change("JSON", 2)]) == "Markdown"
    assert triple_language([change("Ruby", 3), py]) == "Python"  # a tie: first in the alphabet
    assert triple_language([py, js, js]) == "JavaScript"  # summed over files
    assert triple_language([py, change("C", 50, vendored=True)]) == "Python"
    assert triple_language([change("C", 50, generated=True)]) == "C"
    assert triple_language([md, change("C", 50, vendored=True)]) == "Markdown"
    assert triple_language([change("Python", 0)]) == "Python"  # a pure rename


@given(
    st.lists(
        st.builds(
            ChangedLines,
            st.sampled_from(["Python", "C", "JSON", "Markdown", None]),
            st.integers(0, 9),
            st.booleans(),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_triple_language_does_not_depend_on_order(changes: list[ChangedLines]) -> None:
    assert len({triple_language(order) for order in itertools.permutations(changes)}) == 1


def test_kinds() -> None:
    kinds = {"Python": "programming", "SQL": "data", "HTML": "markup", "Markdown": "prose"}
    assert {name: kind(name) for name in kinds} == kinds


@given(st.text(), st.binary())
def test_never_raises(path: str, line: bytes) -> None:
    found = Languages.for_paths([path]).language(path, line)
    assert found is None or found
