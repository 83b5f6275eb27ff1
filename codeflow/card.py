"""The dataset card: README.md with the `configs:` that make load_dataset(DIR) work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_TAGS = """tags:
- code
- git
- commits
"""


def filled(lines: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """(splits, other tables) that have rows, from the manifest's lines of the published files.

    What has none must not be in the card: load_dataset ends with an error that says nothing.
    """
    paths = {str(line["path"]) for line in lines if line.get("rows")}
    names = {path.removeprefix("triples/").partition("-")[0] for path in paths}
    tables = {path.partition("/")[0] for path in paths}
    return (
        [split for split in ("train", "validation") if split in names],
        [table for table in ("blobs", "trees", "ledger") if table in tables],
    )


def _front_matter(splits: Sequence[str], tables: Sequence[str]) -> str:
    triples = [f"  - split: {split}\n    path: triples/{split}-*.parquet\n" for split in splits]
    configs = ["- config_name: triples\n  default: true\n  data_files:\n", *triples] * bool(triples)
    configs += [f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in tables]
    return f"---\n{'configs:' if configs else ''}\n{''.join(configs)}{_TAGS}---\n"


def render(
    repositories: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, int],
    settings: Mapping[str, Any],
    splits: Sequence[str],
    tables: Sequence[str],
) -> str:
    """The card of a mined dataset.

    Args:
        repositories: `repo`, `url` and `head` of each mined one.
        kinds: number of triples of each kind.
        settings: the configuration, as plain values.
        splits, tables: what has rows, see `filled`.
    """
    window = settings["window"]
    counts = ", ".join(f"{count:,} of kind `{kind}`" for kind, count in sorted(kinds.items()))
    sources = "\n".join(f"| {r['repo']} | {r['url']} | `{r['head']}` |" for r in repositories)
    return f"""{_front_matter(splits, tables)}
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
