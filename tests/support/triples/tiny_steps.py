"""The steps of a tiny dataset's triples, from git itself, and all rows of such a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import tiny_dataset

Tables = dict[str, list[dict[str, Any]]]


def step_rows(git: tiny_dataset.Git, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `steps` of a triple's row, each with its patch; none of one commit."""
    if len(row["commits"]) == 1:
        return []
    steps = []
    tree = row["old_tree"]
    for index, commit in enumerate(row["commits"]):
        last = index == len(row["commits"]) - 1  # of which a test may have chosen the tree
        before, tree = tree, row["new_tree"] if last else tiny_dataset.project(git, commit)
        steps.append(
            {
                "triple": row["id"],
                "repo": row["repo"],
                "index": index,
                "commit": commit,
                "message": row["messages"][index][0],
                "subjects": row["messages"][index][1:],
                "author_kind": row["author_kind"],
                "tree": tree,
                "patch": git.patch(before, tree).decode(),
                "same_as": None,
                "files": tiny_dataset.file_changes(git, before, tree),
            }
        )
    return steps


def once(rows: Iterable[Mapping[str, Any]], steps: Iterable[dict[str, Any]]) -> list[Any]:
    """The steps without the patches that stand in the rows of kind commit."""
    known = {row["new_commit"]: row for row in rows if row["kind"] == "commit"}
    found = []
    for step in steps:
        same = known.get(step["commit"])
        found.append({**step, "patch": None, "same_as": same["id"]} if same else step)
    return found


def tables_of(path: Path) -> Tables:
    """All rows of a dataset, to be changed and written again."""
    tables: Tables = {}
    for name, pattern in (
        ("train", "triples/train-*"),
        ("validation", "triples/validation-*"),
        ("steps", "steps/*"),
        ("blobs", "blobs/*"),
        ("trees", "trees/*"),
    ):
        tables[name] = [
            row for file in sorted(path.glob(pattern)) for row in pq.read_table(file).to_pylist()
        ]
    return tables
