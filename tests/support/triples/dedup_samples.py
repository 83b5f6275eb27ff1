"""Patches made for dedup: planted pairs, mined folders of them, and the slow way to compare them.

`naive_shingles` and `naive_jaccard` share no code with the stage: words character by character,
tuples of them, Python's sets.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codeflow.curation import batches as parts
from codeflow.curation.batches import Part
from codeflow.records import TRIPLES
from codeflow_filters.dedup.lines import Lines, find_lines
from plain_words import plain_words

_COLUMNS = ("id", "kind", "patch", "files", "scores", "position")
_SCHEMA = pa.schema([TRIPLES.field(name) for name in _COLUMNS])


def lines_of(patches: Sequence[bytes]) -> Lines:
    """The lines of a batch."""
    offsets = np.cumsum([0, *map(len, patches)])
    return find_lines(np.frombuffer(b"".join(patches), np.uint8), offsets)


def patch_of(
    removed: Iterable[str],
    added: Iterable[str],
    path: str = "a.py",
    at: int = 7,
    context: str = "c",
) -> str:
    """A patch of one hunk, with a line of context on either side."""
    gone, come = list(removed), list(added)
    body = [f" {context}", *(f"-{t}" for t in gone), *(f"+{t}" for t in come), f" {context}"]
    return (
        f"diff --git a/{path} b/{path}\nindex 1111111..2222222 100644\n--- a/{path}\n+++ b/{path}\n"
        f"@@ -{at},{2 + len(gone)} +{at},{2 + len(come)} @@\n" + "\n".join(body) + "\n"
    )


def naive_tokens(patch: bytes) -> list[tuple[bytes, bytes]]:
    """(sign, token) of the added and removed lines, in order; tokens of 64 bytes at most."""
    tokens = []
    in_hunk = False
    for line in patch.split(b"\n"):
        if line.startswith((b"diff --git ", b"@@ ")):
            in_hunk = line.startswith(b"@")
        elif in_hunk and line[:1] in (b"+", b"-"):
            for word in plain_words(line[1:].decode(), signs=True):
                token = word.encode()
                tokens += [(line[:1], token[k : k + 64]) for k in range(0, len(token), 64)]
    return tokens


def naive_shingles(patch: bytes, ngram: int) -> set[tuple[tuple[bytes, bytes], ...]]:
    """The distinct n-grams of a patch's tokens."""
    tokens = naive_tokens(patch)
    return {tuple(tokens[k : k + ngram]) for k in range(len(tokens) - ngram + 1)}


def naive_jaccard(one: set[Any], other: set[Any]) -> float:
    """Jaccard similarity of two sets that are not both empty."""
    return len(one & other) / len(one | other)


def words(rng: random.Random, count: int) -> list[str]:
    """Words that occur nowhere else."""
    return [f"w{rng.getrandbits(48):x}" for _ in range(count)]


def as_lines(tokens: Sequence[str], width: int = 8) -> list[str]:
    """Words as lines of code."""
    return [" ".join(tokens[k : k + width]) for k in range(0, len(tokens), width)]


def planted_pair(rng: random.Random, similarity: float, tokens: int = 240) -> tuple[str, str]:
    """Two patches of about that similarity: some words of the one are other words in the other."""
    base = words(rng, tokens)
    changed = list(base)
    grams = tokens - 4
    other = 2 * grams * similarity / (1 + similarity)  # grams that both have
    at, gone = 4 + rng.randrange(5), 0
    while gone < grams - other - 2.5 and at < tokens:
        [changed[at]] = words(rng, 1)
        gone += 5  # grams that end with one replaced word
        at += 5 + rng.randrange(6)
    return patch_of([], as_lines(base)), patch_of([], as_lines(changed), path="b.py")


@dataclass(frozen=True)
class Row:
    """A triple, as far as dedup looks at it."""

    id: str
    patch: str
    kind: str = "commit"
    files: tuple[dict[str, Any], ...] = ()
    scores: dict[str, float] = field(default_factory=dict)


def new_id(rng: random.Random) -> str:
    """An id like those of triples."""
    return f"{rng.getrandbits(128):032x}"


def changed_file(
    old: str | None, new: str | None, path: str = "a.py", **more: Any
) -> dict[str, Any]:
    """A row of `files`."""
    return {
        "status": "M", "old_path": path, "new_path": path, "old_mode": "100644",
        "new_mode": "100644", "old_blob": old, "new_blob": new, "additions": 1, "deletions": 1,
        "language": None, "generated": False, "vendored": False, "file_kind": "source", **more,
    }  # fmt: skip


def write_mined(folder: Path, rows: Sequence[Row], group_rows: int = 100) -> tuple[Part, ...]:
    """Writes triples as two mined repositories, sorted by id, and cuts them into parts."""
    listed = []
    for number, some in enumerate((rows[::2], rows[1::2])):
        path = f"mined/r{number}/triples-assemble-0000.parquet"
        (folder / path).parent.mkdir(parents=True)
        table = pa.Table.from_pylist(
            [
                {
                    "id": row.id,
                    "kind": row.kind,
                    "patch": row.patch,
                    "files": list(row.files),
                    "scores": list(row.scores.items()),
                    "position": 0.5,
                }
                for row in sorted(some, key=lambda row: row.id)
            ],
            schema=_SCHEMA,
        )
        pq.write_table(table, folder / path, row_group_size=group_rows)
        listed.append((f"r{number}", {"triples": [path]}))
    return tuple(parts.cut(folder, listed))
