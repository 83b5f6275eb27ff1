"""Merges that are bookkeeping, by subjects as projects write them."""

from __future__ import annotations

import pytest

from codeflow.text.merges import bookkeeping


@pytest.mark.parametrize(
    ("subject", "what"),
    [
        ("Merge branch 'master'", "sync"),
        ("Merge branch 'main' into topic", "sync"),
        ("Merge remote-tracking branch 'upstream/master'", "sync"),
        ("Merge branch 'develop' of https://host/x", "sync"),
        ("Sync with upstream", "sync"),
        ("Merge remote-tracking branch 'origin/main'", "sync"),
        ("Merge remote-tracking branch 'master'", None),  # of a contributor, whose name is cut
        ("Merge remote-tracking branch '1.0'", "release"),
        ("Merge pull request #8158 from release/20.1", "release"),
        ("Merge pull request #2956 from 1.19.2", None),  # called by a version that it uses
        ("Merge pull request #2062 from pause/3.4.1", None),
        ("Merge branch '1.0.x'", "release"),
        ("Merge branch '4.0' into main", "release"),
        ("Merge branch 'release/2.1'", "release"),
        ("Merge tag 'v1.2' into main", "release"),
        ("Merge branch 'retry-requests'", None),
        ("Merge pull request #12 from patch-1", None),
        ("Merge pull request #657 from master", None),  # a fork whose work lies on its main branch
        ("Merge branch 'tilt-1.3'", None),
        ("Synchronise access to the cache", None),
        ("Merge sort for long lists", None),
        ("Add a release script", None),
        ("", None),
    ],
)
def test_what_a_merge_says_that_it_brings_in(subject: str, what: str | None) -> None:
    assert bookkeeping(subject) == what
