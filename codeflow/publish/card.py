"""The dataset card: README.md with the `configs:` that make load_dataset(DIR) work.

Of a local folder, Hugging Face `datasets` knows its last name and its card, and by these two alone
it keeps what it once read: not by paths, sizes or times of the files that the patterns of the card
match. So every configuration's description carries a digest of its table's files. Two published
states with one card have the same rows; other rows have another card, and are read anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from codeflow.curation.chain import Record
from codeflow.storage.layout import SPLIT_TABLES, SPLITS, STEPS, TABLES, TRIPLES
from codeflow.text.escape import markdown_cell, one_line

_TAGS = """tags:
- code
- git
- commits
"""


_STEPS = """- `steps/`: the commits of triples of several, one row each, as exact as triples;
"""
_USE = {"train": "train on", "validation": "validate on"}


class Filled(NamedTuple):
    """What has rows: triples by split, and of each table a digest of its files and the splits that
    it has files of.

    What has none must not be in the card: load_dataset ends with an error that says nothing.
    """

    splits: Mapping[str, int]
    digests: Mapping[str, str]
    splits_of: Mapping[str, Sequence[str]]


def filled(lines: Iterable[Mapping[str, Any]]) -> Filled:
    """What has rows, from the manifest's lines of the published files."""
    splits: dict[str, int] = {}
    digests: dict[str, Any] = {}
    splits_of: dict[str, list[str]] = {}
    for line in sorted(lines, key=lambda line: str(line["path"])):
        path = str(line["path"])
        if rows := line.get("rows"):
            table, _, name = path.partition("/")
            split = name.partition("-")[0]
            if table == TRIPLES:
                splits[split] = splits.get(split, 0) + rows
            if table in SPLIT_TABLES and split not in (own := splits_of.setdefault(table, [])):
                own.append(split)  # in the order of names, which is that of splits
            digest = digests.setdefault(table, hashlib.sha256())
            digest.update(f"{path} {line['sha256']}\n".encode())
    return Filled(
        {split: splits[split] for split in SPLITS if split in splits},
        {name: digest.hexdigest() for name, digest in digests.items()},
        splits_of,
    )


def _front_matter(has: Filled) -> str:
    text = ""
    for name in TABLES:
        if digest := has.digests.get(name):
            text += f"- config_name: {name}\n  description: files {digest}\n"
            text += "  default: true\n" if name == TRIPLES else ""
            if name in SPLIT_TABLES:
                text += "  data_files:\n" + "".join(
                    f"  - split: {split}\n    path: {name}/{split}-*.parquet\n"
                    for split in has.splits_of[name]
                )
            else:
                text += f"  data_files: {name}/*.parquet\n"
    return f"---\n{'configs:' if text else ''}\n{text}{_TAGS}---\n"


def _rows(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join(f"| {markdown_cell(name)} | {count:,} |" for name, count in ordered)


def _decided(stages: Sequence[Record]) -> str:
    """What was dropped and why, the mix, and what none of it looks at."""
    if not stages:
        return "\nNothing was filtered, and duplicates are in the data.\n"
    funnel = "\n".join(
        f"| {markdown_cell(s.name)} | {s.figures['in']:,} | {s.figures['out']:,} |" for s in stages
    )
    rules = {f"{s.name}: {rule}": n for s in stages for rule, n in s.figures["rules"].items()}
    text = f"""
## What was kept

| stage | triples in | kept |
|---|---|---|
{funnel}

| rule | dropped |
|---|---|
{_rows(rules)}
"""
    ran = [name for s in stages if s.name == "filter" for name, _ in s.settings["filters"]]
    text += (
        f"\nFilters that ran: {', '.join(map(markdown_cell, ran)) or 'none'}.\n"
        if "filter" in _names(stages)
        else ""
    )
    weighed = {
        rule: n
        for s in stages
        if s.name == "filter"
        for rule, n in s.figures.get("weighed", {}).items()
    }
    if weighed:
        lines = "\n".join(f"| `{markdown_cell(rule)}` | {n:,} |" for rule, n in weighed.items())
        text += f"""
Kept, and weighed: in `scores` of such a triple the weight stands as `weight:RULE`.

| rule | triples |
|---|---|
{lines}
"""
    languages = {
        language: line
        for s in stages
        for language, line in s.figures.get("languages", {}).items()
        if s.name == "mix"
    }
    if languages:
        lines = "\n".join(
            f"| {markdown_cell(name)} | {line['tokens']:,.0f} | {line['tokens_after']:,.0f} |"
            for name, line in sorted(languages.items(), key=lambda i: (-i[1]["tokens"], i[0]))
        )
        text += f"""
Languages, in tokens of patches (estimated from bytes); `weight` says how often a triple counts:

| language | before the mix | after |
|---|---|---|
{lines}
"""
    limits = [
        ("secrets", "Secrets are looked for in changed files only"),
        ("syntax", "Syntax is judged for the languages with a grammar"),
        ("decontaminate", "Files that a triple does not change are not matched with benchmarks"),
    ]
    known = [line for name, line in limits if name in ran]
    return text + ("\nKnown limits: " + "; ".join(known) + ".\n" if known else "")


def _names(stages: Sequence[Record]) -> set[str]:
    return {stage.name for stage in stages}


def _splits(has: Filled) -> str:
    counts = [f"{rows:,} to {_USE[split]}" for split, rows in has.splits.items()]
    return f" ({', '.join(counts)})" if counts else ""


def render(
    repositories: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, int],
    settings: Mapping[str, Any],
    has: Filled,
    licenses: Mapping[str, int],
    stages: Sequence[Record],
) -> str:
    """The card of a mined dataset.

    Args:
        repositories: `repo`, `url` and `head` of each mined one.
        kinds: number of triples of each kind.
        settings: the configuration, as plain values.
        has: what has rows.
        licenses: number of triples by licence, `unknown` where none was recognised.
        stages: what decided after mining, in order.
    """
    window = settings["window"]
    counts = ", ".join(
        f"{count:,} of kind `{one_line(kind)}`" for kind, count in sorted(kinds.items())
    )
    sources = "\n".join(
        f"| {markdown_cell(r['repo'])} | {markdown_cell(r['url'])} | `{r['head']}` |"
        for r in repositories
    )
    return f"""{_front_matter(has)}
# Triples (old repository, patch, new repository)

{counts or "No triples"}{_splits(has)}, mined by codeflow from
the part {window["start"]:g} to {window["stop"]:g} of each project's life, measured by \
{window["by"]}.

Every triple is exact: stage the files of `old_tree` byte for byte, `git apply --cached` the patch,
and `git write-tree` gives `new_tree`. `codeflow verify` checks all of it without git.

- `triples/`: one row a triple, with its patch and its files;
{_STEPS if STEPS in has.digests else ""}\
- `blobs/`: every file of every snapshot, each content once per repository;
- `trees/`: the Git tree objects of the snapshots;
- `ledger/`: what was left out, and why.

Only regular text files (UTF-8, at most {settings["projection"]["max_file_bytes"]:,} bytes) and
symlinks are in the snapshots. Who wrote a commit is in the data as a pseudonym at most, and its
message has lost trailers and e-mail addresses; the files are as they are, with the names that stand
in them.
{_decided(stages)}
## Licences

The sources keep their own licences. That of each triple, as recognised in the tree it starts from,
is in its column `license`.

| licence | triples |
|---|---|
{_rows(licenses)}

## Sources

| repository | source | head |
|---|---|---|
{sources}
"""
