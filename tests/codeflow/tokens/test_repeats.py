"""Whole-file renderings write no path more often than they say, whatever the order of triples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from codeflow.documents.options import Options
from codeflow.documents.triples import RENDERINGS
from codeflow.tokens.repeats import MOST, Repeats
from tiny_dataset import Git, build, history
from token_samples import opened


def test_a_path_is_written_so_often_and_no_more(tmp_path: Path) -> None:
    git = Git(tmp_path / "r.git")
    chain = history(
        git,
        [
            {
                "hot": ("100644", b"x\n" * (k + 2)),
                "warm": ("100644", b"y\n" * (k // 4 + 2)),
                "cold": ("100644", b"z\n" * (k // 9 + 2)),
            }
            for k in range(14)
        ],
    )
    data = opened(build(tmp_path / "data", {"r": (git, chain)}, spans=(1,)))
    triples = list(data.triples())
    changes = Counter(f.path for triple in triples for f in triple.files)
    assert changes == {"hot": 13, "warm": 3, "cold": 1}
    repeats = Repeats(triples, 0, lambda triple: 1)
    allowed = {(t.id, f.path) for t in triples for f in t.files if repeats(t, f.path)}
    assert Counter(path for _, path in allowed) == {"hot": MOST, "warm": 3, "cold": 1}
    again = Repeats(triples[::-1], 0, lambda triple: 1)
    assert {(t.id, f.path) for t in triples for f in t.files if again(t, f.path)} == allowed
    other = Repeats(triples, 1, lambda triple: 1)
    assert {(t.id, f.path) for t in triples for f in t.files if other(t, f.path)} != allowed
    options = Options(4096, 0.0, repeats)
    for name in ("snapshot", "files"):
        written: Counter[str] = Counter()
        for triple in triples:
            for document in RENDERINGS[name].render(triple, options, "k"):
                pieces = [p.text for section in document.sections for p in section.pieces]
                written.update(text.split("\t")[0].strip() for text in pieces if "\n" in text[:6])
        assert 0 < written["hot"] <= MOST


@pytest.mark.parametrize("times", [2, 3, 9])
def test_copies_count(tmp_path: Path, times: int) -> None:
    git = Git(tmp_path / "r.git")
    chain = history(git, [{"hot": ("100644", b"x\n" * (k + 1))} for k in range(9)])
    triples = list(opened(build(tmp_path / "data", {"r": (git, chain)}, spans=(1,))).triples())
    repeats = Repeats(triples, 0, lambda triple: times)
    assert sum(repeats(triple, "hot") for triple in triples) == MOST // times
