"""Instances of a benchmark, the rule that looks for them, and triples that may hold them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from codeflow.triple import Triple
from codeflow_filters.decontaminate import Decontaminator
from triples import plant

CHAIN = [f"{number:040x}" for number in range(1, 101)]
BASE = 60  # the instance starts here
URL = "https://github.com/psf/requests"


def instance(**fields: Any) -> dict[str, Any]:
    values = {
        "instance_id": "psf__requests-1",
        "repo": "psf/requests",
        "base_commit": CHAIN[BASE],
        "created_at": "2015-06-01T10:00:00Z",
        "problem_statement": "",
        **fields,
    }
    return {name: value for name, value in values.items() if value is not None}


def decontaminator(tmp_path: Path, *rows: dict[str, Any], **parameters: Any) -> Decontaminator:
    path = tmp_path / "benchmark.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Decontaminator([path], **parameters)


def span(old: int, new: int, url: str = URL, year: int = 2012, **row: Any) -> Triple:
    """A triple over CHAIN that changes nothing of interest."""
    return plant(
        {"a.py": "a = 1\n"},
        {"a.py": "a = 2\n"},
        **{
            "repo": url.partition("://")[2] or url,
            "repo_url": url,
            "old_commit": CHAIN[old],
            "new_commit": CHAIN[new],
            "commits": CHAIN[old + 1 : new + 1],
            "kind": "commit" if new == old + 1 else "span",
            "committed_at": datetime(year, 1, 1, tzinfo=UTC),
            **row,
        },
    )


# the gold patch
SOURCE = "".join(f"def step_{k}(state):\n    return advance(state, {k})\n\n" for k in range(30))
FIXED = SOURCE.replace(
    "    return advance(state, 17)\n",
    "    if state.pending is None and not state.closed:\n"
    "        raise StateError('nothing is pending in this state')\n"
    "    return advance(state.pending, 17)\n",
)
GOLD = plant({"lib/steps.py": SOURCE}, {"lib/steps.py": FIXED}).patch
ELSEWHERE = "https://github.com/other/project"


def gold(tmp_path: Path, patch: str = GOLD) -> Decontaminator:
    return decontaminator(tmp_path, instance(patch=patch, base_commit=None, repo=None), ngram=15)


def planted(old: dict[str, str], new: dict[str, str], **row: Any) -> Triple:
    return plant(old, new, repo_url=ELSEWHERE, **row)
