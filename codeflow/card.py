"""The dataset card: README.md with the `configs:` that make load_dataset(DIR) work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """---
configs:
- config_name: triples
  default: true
  data_files:
  - split: train
    path: triples/train-*.parquet
- config_name: blobs
  data_files: blobs/*.parquet
- config_name: trees
  data_files: trees/*.parquet
- config_name: ledger
  data_files: ledger/*.parquet
tags:
- code
- git
- commits
---
"""


def render(
    repositories: Sequence[Mapping[str, Any]], kinds: Mapping[str, int], settings: Mapping[str, Any]
) -> str:
    """The card of a mined dataset.

    Args:
        repositories: `repo`, `url` and `head` of each mined one.
        kinds: number of triples of each kind.
        settings: the configuration, as plain values.
    """
    window = settings["window"]
    counts = ", ".join(f"{count:,} of kind `{kind}`" for kind, count in sorted(kinds.items()))
    sources = "\n".join(f"| {r['repo']} | {r['url']} | `{r['head']}` |" for r in repositories)
    return f"""{_HEAD}
# Triples (old repository, patch, new repository)

{counts or "No triples"}, mined by codeflow from
the part {window["start"]:g} to {window["stop"]:g} of each project's life, measured by \
{window["by"]}.

Every triple is exact: stage the files of `old_tree` byte for byte, `git apply --cached` the patch,
and `git write-tree` gives `new_tree`. `codeflow verify` checks all of it without git.

- `triples/`: one row a triple, with its patch and its files;
- `blobs/`: every file of every snapshot, each content once per repository;
- `trees/`: the Git tree objects of the snapshots;
- `ledger/`: what was left out, and why.

Only regular text files (UTF-8, at most {settings["projection"]["max_file_bytes"]:,} bytes) and
symlinks are in the snapshots. Who wrote a commit is not in the data, and its message has lost
trailers and e-mail addresses; the files are as they are, with the names that stand in them. The
licence of each triple is in its column `license`; the sources keep their own licences.

| repository | source | head |
|---|---|---|
{sources}
"""
