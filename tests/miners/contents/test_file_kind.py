"""What files are for, by path and language."""

from __future__ import annotations

import pytest

from codeflow_miners.contents.file_kind import file_kind


@pytest.mark.parametrize(
    ("path", "language", "kind"),
    [
        ("src/flask/app.py", "Python", "source"),
        ("lib/contest.rb", "Ruby", "source"),
        ("src/latest.c", "C", "source"),
        ("tests/test_app.py", "Python", "test"),
        ("src/app_test.go", "Go", "test"),
        ("src/main/FooTest.java", "Java", "test"),
        ("spec/helper.rb", "Ruby", "test"),
        ("lib/app.test.js", "JavaScript", "test"),
        ("docs/index.rst", "reStructuredText", "docs"),
        ("README", None, "docs"),
        ("CHANGES.rst", "reStructuredText", "docs"),
        ("lib/history.py", "Python", "source"),
        ("src/security.c", "C", "source"),
        ("setup.py", "Python", "configuration"),
        (".github/workflows/test.yml", "YAML", "configuration"),
        ("package.json", "JSON", "configuration"),
        ("data/words.csv", None, "data"),
        ("share/unknown", None, "data"),
    ],
)
def test_file_kind(path: str, language: str | None, kind: str) -> None:
    assert file_kind(path, language) == kind


@pytest.mark.parametrize("path", ["src/parser.c", "tests/test_app.py", "docs/api.md", "Cargo.lock"])
def test_what_a_program_wrote_is_generated_whatever_it_is(path: str) -> None:
    assert file_kind(path, "C", generated=True) == "generated"
    assert file_kind(path, "C") != "generated"
