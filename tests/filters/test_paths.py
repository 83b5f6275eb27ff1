"""Files nobody writes by hand, and how many of them it takes."""

from __future__ import annotations

from typing import Any

import pytest

from codeflow.triple import Triple
from codeflow_filters.paths import Paths, file_class
from codeflow_miners.contents.linguist import is_vendored
from triples import triple


def changed(lines: dict[str, int], **changes: Any) -> Triple:
    files = {path: ("", "".join(f"{k}\n" for k in range(n))) for path, n in lines.items()}
    return triple(files, changes=changes)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Cargo.lock", "lock-file"),
        ("web/package-lock.json", "lock-file"),
        ("go.sum", "lock-file"),
        ("vendor/modules.txt", "lock-file"),
        ("vendor/github.com/x/y.go", "vendored"),
        ("third_party/zlib/inflate.c", "vendored"),
        ("src/dist/app.js", "build-output"),
        ("css/site.min.css", "build-output"),
        ("app.egg-info/PKG-INFO", "build-output"),
        ("tests/data/users.json", "data-only"),
        ("locale/de/messages.po", "data-only"),
        ("icons/home.svg", "data-only"),
        ("AUTHORS", "data-only"),
        ("src/lock.py", None),
        ("src/Cargo.lock.rs", None),
        ("src/distance/a.py", None),
        ("package.json", None),
        ("config/settings.yaml", None),
        ("src/data/loader.py", None),
        ("src/authors.py", None),
    ],
)
def test_the_class_of_a_path(path: str, expected: str | None) -> None:
    assert file_class(path, False, False) == expected


@pytest.mark.parametrize(
    "path",
    [".github/workflows/ci.yml", ".gitignore", "Jenkinsfile", "configure",
     "tests/fixtures/app.py", ".vscode/settings.json", "docs/_themes/own.css", "debian/rules"],
)  # fmt: skip
def test_what_linguist_calls_vendored_and_projects_write(path: str) -> None:
    assert is_vendored(path), "no test without linguist's word"
    assert file_class(path, True, False) is None


@pytest.mark.parametrize(
    "path", ["node_modules/a/b.js", "lib/jquery-3.1.js", "Godeps/_workspace/a.go"]
)
def test_what_linguist_calls_vendored_and_is(path: str) -> None:
    assert is_vendored(path)
    assert file_class(path, True, False) == "vendored"


def test_most_lines_decide() -> None:
    judge = Paths(max_share=0.8)
    generated = {"api_pb.py": {"generated": True}}
    assert judge(changed({"api_pb.py": 80, "api.proto": 20}, **generated)).kept
    verdict = judge(changed({"api_pb.py": 81, "api.proto": 19}, **generated))
    assert (verdict.reason, verdict.detail) == ("generated", "api_pb.py")
    assert judge(changed({"api_pb.py": 81, "api.proto": 19})).kept


def test_lock_files_count_only_where_little_else_is_left() -> None:
    judge = Paths(min_own_lines=10)
    assert judge(changed({"Cargo.lock": 500, "src/a.rs": 10})).kept
    assert judge(changed({"Cargo.lock": 500, "src/a.rs": 9})).reason == "lock-file"
    assert judge(changed({"Cargo.lock": 4, "src/a.rs": 5})).kept
    assert judge(changed({"Cargo.lock": 500})).reason == "lock-file"
    lines = {"api_pb.py": 90, "Cargo.lock": 50, "api.py": 10}  # nor do they hide what is generated
    assert judge(changed(lines, **{"api_pb.py": {"generated": True}})).reason == "generated"


def test_a_fix_in_vendored_files_is_no_upgrade() -> None:
    judge = Paths(min_vendored_lines=50)
    assert judge(changed({"deps/lua/lua.c": 49})).kept
    assert judge(changed({"deps/lua/lua.c": 30, "deps/lua/lua.h": 20})).reason == "vendored"
    assert judge(changed({"deps/lua/lua.c": 10, "tests/data/calls.json": 90})).kept


def test_data_alone_and_with_code() -> None:
    assert Paths()(changed({"data/users.csv": 100})).reason == "data-only"
    assert Paths()(changed({"data/users.csv": 1000, "src/load.py": 1})).kept
    assert Paths()(changed({"data/users.csv": 5, "Cargo.lock": 3})).reason == "data-only"


def test_what_is_made_of_a_grammar_is_generated() -> None:
    assert Paths()(changed({"src/parser.c": 500, "src/parser.y": 5})).reason == "generated"
    assert Paths()(changed({"src/parser.tab.c": 500, "src/parser.y": 5})).reason == "generated"
    assert Paths()(changed({"src/parser.c": 500, "src/other.y": 5})).kept
    assert Paths()(changed({"src/parser.c": 500, "doc/parser.y": 5})).kept
    assert Paths()(changed({"src/parser.c": 500})).kept


def test_a_rename_counts_as_one_line() -> None:
    files = {f"node_modules/f{k}.js": ("x\n", "x\n") for k in range(120)}
    assert Paths()(triple(files)).reason == "vendored"
