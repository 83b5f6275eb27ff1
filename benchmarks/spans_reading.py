"""A blind reading: spans and windows of the same lengths, shuffled, for a person to judge.

`python benchmarks/spans_reading.py OUT REPO...` writes OUT/items.txt (what to read), OUT/key.json
(which is which; not to be opened before) and expects OUT/marks.txt afterwards: a line `number mark`
an item, 0, 1 or 2 for "is this one meaningful development iteration?". With the marks in place,
`python benchmarks/spans_reading.py OUT` counts them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
from collections import Counter
from pathlib import Path

from spans import mine, name_of
from spans_history import chain_history, git

from codeflow.contracts import History
from codeflow_miners.kinds.span.miner import SpanMiner

EACH = 40
SEED = 7


def sample(repos: list[Path], rng: random.Random) -> list[tuple[Path, str, str, str]]:
    """(repository, kind, old commit, new commit) of EACH spans and EACH windows, shuffled."""
    spans: list[tuple[Path, History, int, int]] = []
    for k, repo in enumerate(repos):
        history = chain_history(repo)
        inside = [i for i in history.starts if 0.4 <= history.commits[i].position < 0.8]
        found = mine(SpanMiner(), dataclasses.replace(history, starts=inside))
        share = EACH // len(repos) + (k < EACH % len(repos))
        spans += [(repo, history, *span) for span in rng.sample(found, min(share, len(found)))]
    items = []
    for repo, history, old, new in spans:
        start = rng.choice([i for i in history.starts if 0.4 <= history.commits[i].position < 0.8])
        end = min(start + new - old, len(history.commits) - 1)
        items.append((repo, "span", history.commits[old].id, history.commits[new].id))
        items.append((repo, "window", history.commits[start].id, history.commits[end].id))
    rng.shuffle(items)
    return items


def describe(repo: Path, old: str, new: str) -> str:
    """Subjects and files of each commit, and the first changed lines of the whole."""
    out = []
    revisions = git(repo, "rev-list", "--first-parent", "--reverse", f"{old}..{new}").decode()
    for commit in revisions.split():
        message = git(repo, "log", "-1", "--format=%B", commit).decode("utf-8", "replace")
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        stat = git(repo, "diff-tree", "-r", "-M", "--numstat", f"{commit}^1", commit)
        files = [line.split("\t") for line in stat.decode("utf-8", "replace").splitlines()]
        shown = ", ".join(f"{p} +{a}-{d}" for a, d, p in files[:6])
        more = f" and {len(files) - 6} more" if len(files) > 6 else ""
        out.append(f"* {' / '.join(line[:90] for line in lines[:3])}\n    [{shown}{more}]")
    diff = git(repo, "diff", "-M", "-U0", "--no-color", "--no-ext-diff", old, new)
    changed = [
        line
        for line in diff.decode("utf-8", "replace").splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---") and len(line.strip()) > 4
    ]
    step = max(1, len(changed) // 6)
    out += [f"    {line[:100]}" for line in changed[::step][:6]]
    return "\n".join(out)


def count(folder: Path) -> None:
    kinds = json.loads((folder / "key.json").read_text())
    marks = (line.split() for line in (folder / "marks.txt").read_text().splitlines() if line)
    tally = Counter((kinds[int(number)], int(mark)) for number, mark, *_ in marks)
    for kind in ("span", "window"):
        print(kind, {mark: tally[kind, mark] for mark in (0, 1, 2)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("repos", nargs="*", type=Path)
    arguments = parser.parse_args()
    if not arguments.repos:
        count(arguments.folder)
        return
    items = sample(arguments.repos, random.Random(SEED))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with (arguments.folder / "items.txt").open("w") as out:
        for number, (repo, _, old, new) in enumerate(items):
            out.write(f"== {number} {name_of(repo)}\n{describe(repo, old, new)}\n\n")
    (arguments.folder / "key.json").write_text(json.dumps([kind for _, kind, _, _ in items]))


if __name__ == "__main__":
    main()
