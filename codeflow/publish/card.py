"""The dataset card: README.md with the `configs:` that make load_dataset(DIR) work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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


class Stage(NamedTuple):
    """One stage after mining: its name, settings and figures, as in the manifest."""

    name: str
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]


def _rows(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "\n".join(f"| {name} | {count:,} |" for name, count in ordered)


def _decided(stages: Sequence[Stage]) -> str:
    """What was dropped and why, the mix, and what none of it looks at."""
    if not stages:
        return "\nNothing was filtered, and duplicates are in the data.\n"
    funnel = "\n".join(f"| {s.name} | {s.figures['in']:,} | {s.figures['out']:,} |" for s in stages)
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
        f"\nFilters that ran: {', '.join(ran) or 'none'}.\n" if "filter" in _names(stages) else ""
    )
    languages = {
        language: line
        for s in stages
        for language, line in s.figures.get("languages", {}).items()
        if s.name == "mix"
    }
    if languages:
        lines = "\n".join(
            f"| {name} | {line['tokens']:,.0f} | {line['tokens_after']:,.0f} |"
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
    known += ["Near-duplicates are looked for within a kind"] * ("dedup" in _names(stages))
    return text + ("\nKnown limits: " + "; ".join(known) + ".\n" if known else "")


def _names(stages: Sequence[Stage]) -> set[str]:
    return {stage.name for stage in stages}


def render(
    repositories: Sequence[Mapping[str, Any]],
    kinds: Mapping[str, int],
    settings: Mapping[str, Any],
    splits: Sequence[str],
    tables: Sequence[str],
    licenses: Mapping[str, int],
    stages: Sequence[Stage],
) -> str:
    """The card of a mined dataset.

    Args:
        repositories: `repo`, `url` and `head` of each mined one.
        kinds: number of triples of each kind.
        settings: the configuration, as plain values.
        splits, tables: what has rows, see `filled`.
        licenses: number of triples by licence, `unknown` where none was recognised.
        stages: what decided after mining, in order.
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
trailers and e-mail addresses; the files are as they are, with the names that stand in them.
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
