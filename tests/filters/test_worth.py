"""What keeps a project's books goes, prose and tiny changes weigh less, and code is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from codeflow.errors import UsageError
from codeflow_filters.worth import Worth, book
from triples import triple


def changed(path: str, kind: str, added: int, removed: int = 0) -> dict[str, object]:
    return {"path": path, "file_kind": kind, "additions": added, "deletions": removed}


def judged(*files: dict[str, object], judge: Worth | None = None) -> tuple[bool, str | None, float]:
    sides = {str(f["path"]): ("a\n", "b\n") for f in files}
    counts = {
        str(f["path"]): {k: f[k] for k in ("file_kind", "additions", "deletions")} for f in files
    }
    total: dict[str, Any] = {
        name: sum(int(str(f[name])) for f in files) for name in ("additions", "deletions")
    }
    verdict = (judge or Worth())(triple(sides, changes=counts, **total))
    return verdict.kept, verdict.reason, verdict.weight


@pytest.mark.parametrize(
    ("path", "kind", "is_a"),
    [
        ("CHANGES.md", "docs", "changelog"),
        ("docs/changelog.rst", "docs", "changelog"),
        ("docs/changelog_3x.md", "docs", "changelog"),
        ("news/123.bugfix", "data", "changelog"),
        ("changelog.d/12.md", "docs", "changelog"),
        (".changeset/tall-cats.md", "configuration", "changelog"),
        ("AUTHORS", "docs", "changelog"),
        ("src/history.js", "source", "source"),
        ("app/news/models.py", "source", "source"),
        ("tests/changes/test_apply.py", "test", "test"),
        (".github/workflows/ci.yml", "configuration", "ci"),
        ("sub/.travis.yml", "configuration", "ci"),
        ("Jenkinsfile", "configuration", "ci"),
        (".gitignore", "configuration", "ci"),
        ("renovate.json", "data", "ci"),
        ("pyproject.toml", "configuration", "configuration"),
        ("ci/build.py", "source", "source"),
        ("travis.py", "source", "source"),
    ],
)
def test_which_files_keep_books(path: str, kind: str, is_a: str) -> None:
    assert book(path, kind) == is_a


NEWS = changed("NEWS.rst", "docs", 30)
CI = changed(".travis.yml", "configuration", 4, 2)
PROSE = changed("docs/usage.md", "docs", 12, 3)
LINK = changed("README.md", "docs", 1, 1)
SETUP = changed("setup.cfg", "configuration", 5, 1)
CODE = changed("src/a.py", "source", 9, 1)
LINE = changed("src/a.py", "source", 1, 1)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([NEWS], (False, "changelog-only", 1.0)),
        ([CI], (False, "ci-only", 1.0)),
        ([CI, NEWS], (False, "ci-only", 1.0)),
        ([LINK], (False, "docs-touch", 1.0)),
        ([PROSE], (True, "docs-only", 0.3)),
        ([PROSE, NEWS, CI], (True, "docs-only", 0.3)),
        ([SETUP], (True, "configuration-only", 0.5)),
        ([SETUP, changed("go.sum", "generated", 40, 40)], (True, "configuration-only", 0.5)),
        ([SETUP, PROSE], (True, "configuration-only", 0.5)),
        ([changed("setup.cfg", "configuration", 1, 1)], (True, "configuration-only", 0.25)),
        ([changed(".travis.yml", "configuration", 40, 1)], (True, "configuration-only", 0.5)),
        ([LINE], (True, "tiny", 0.5)),
        ([CODE], (True, None, 1.0)),
        ([CODE, NEWS, CI, PROSE], (True, None, 1.0)),
        ([changed("tests/test_a.py", "test", 9)], (True, None, 1.0)),
    ],
)
def test_what_a_change_is_worth(
    files: list[dict[str, object]], expected: tuple[bool, str | None, float]
) -> None:
    kept, reason, weight = judged(*files)
    assert (kept, reason) == expected[:2]
    assert weight == pytest.approx(expected[2])


def test_the_limits_and_weights_are_parameters() -> None:
    assert judged(LINK, judge=Worth(docs_touch_lines=0))[:2] == (True, "docs-only")
    assert judged(CI, judge=Worth(ci_lines=0))[:2] == (True, "configuration-only")
    assert judged(LINE, judge=Worth(tiny_lines=1)) == (True, None, 1.0)
    assert judged(PROSE, judge=Worth(docs_weight=1.0)) == (True, "docs-only", 1.0)
    with pytest.raises(UsageError, match="docs_weight = 0: give"):
        Worth(docs_weight=0)
