#!/usr/bin/env python3
"""What `make demo` runs once codeflow is installed: real triples in under two minutes.

It needs a package index and nothing else of the network. The input is a history rebuilt from the
published wheels of a well-known package (see wheel_history.py) and the clone this file is in, where
it is one; everything goes to demo/, and a second run finds its work done. Each step is an ordinary
command, shown as one would type it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import wheel_history

PACKAGE = "tqdm"
ROOT = Path(__file__).resolve().parent.parent
GOOD_SIZE_LINES = 40  # of a patch that fits on a screen and still does something

Run = Callable[[Sequence[str]], int]


class Shown(NamedTuple):
    """The triple that the demo shows."""

    id: str
    kind: str
    steps: int
    lines: int


def main(root: Path = ROOT, run: Run | None = None) -> int:
    """Runs the demo in `root`/demo; returns the exit status.

    Args:
        run: runs one codeflow command and returns its exit status; ours are real processes.
    """
    started = time.monotonic()
    run = run or (lambda arguments: _run(arguments, root))
    folder = root / "demo"
    data = folder / "data"
    say(f"1. A real history: every release of {PACKAGE}, rebuilt from its published wheels")
    try:
        history, releases = wheel_history.build(PACKAGE, folder / "cache")
    except wheel_history.HistoryError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    first, last = releases[0].version, releases[-1].version
    say(f"   {len(releases)} commits, {first} to {last}, in {_short(history, root)}")
    repositories = write_list(folder / "list.txt", history, root)

    say("\n2. Mine it")
    mine = ["mine", "--repos", "demo/list.txt", "--out", "demo/data"]
    status = run([*mine, "--workers", "1", "--until", "mine"])
    if status == 1 and repositories > 1:
        say("   (A repository that cannot be mined gets a row in the ledger; the run goes on.)")
    elif status != 0:
        return status
    shown, count = choose(data / "triples")
    if shown is None:
        print(f"demo: no triples in {data}; `make clean demo` starts afresh", file=sys.stderr)
        return 1

    say("\n3. What is in it")
    if status := run(["inspect", "demo/data"]):
        return status
    say(f"\n4. One triple: a {shown.kind} over {_steps(shown)}, {shown.lines} changed lines")
    if status := run(["inspect", "demo/data", shown.id]):
        return status
    say("\n5. Proof: every triple replayed, every hash checked")
    if status := run(["verify", "demo/data"]):
        return status
    say(farewell(shown.id, count, time.monotonic() - started, _program(root)))
    return 0


def write_list(path: Path, history: Path, root: Path) -> int:
    """Lists the rebuilt history, and our own clone if any; returns how many that makes.

    Paths start at the list's own folder, so that the project can be moved.
    """
    entries = [str(history.relative_to(path.parent))]
    if (root / ".git").exists():  # an archive of the sources has none
        entries.append("..  # this project's own clone")
    head = "# Written by examples/demo.py; examples/repos.txt shows the ordinary case.\n"
    path.write_text(head + "".join(f"{entry}\n" for entry in entries))
    return len(entries)


def choose(triples: Path) -> tuple[Shown | None, int]:
    """A triple worth a look (a span of several commits, about a screen), and how many there are."""
    rows: list[Shown] = []
    for shard in sorted(triples.glob("*.parquet")):
        columns = ["id", "kind", "commits", "additions", "deletions"]
        rows += [
            Shown(r["id"], r["kind"], len(r["commits"]), r["additions"] + r["deletions"])
            for r in pq.read_table(shard, columns=columns).to_pylist()
        ]

    def dullness(shown: Shown) -> tuple[bool, bool, float, str]:
        off = abs(math.log((shown.lines + 1) / GOOD_SIZE_LINES))
        return shown.kind != "span", shown.steps < 2, off, shown.id

    return min(rows, key=dullness, default=None), len(rows)


def farewell(triple: str, count: int, elapsed_s: float, program: str) -> str:
    """The last lines: where the results are, and what to type next."""
    return f"""
{count} exact triples in {elapsed_s:.0f} s: the code before, the patch, the code after.

They are in demo/data. Look closer
  {program} inspect demo/data
  {program} inspect demo/data {triple}

Walk into the code as it was before the change, and after it
  {program} checkout demo/data {triple} --side old --to demo/old
  {program} checkout demo/data {triple} --side new --to demo/new
  git diff --no-index demo/old demo/new

Read them from Python
  import codeflow
  for triple in codeflow.open("demo/data").triples():
      print(triple.patch)

Now yours: write the path of any clone into a file, one a line
  echo ../my-project > list.txt
  {program} mine --repos list.txt --out data --until mine"""


def say(text: str) -> None:
    """Prints before the next command does, in a pipe too."""
    print(text, flush=True)


def _run(arguments: Sequence[str], root: Path) -> int:
    say(f"   $ {_program(root)} {' '.join(arguments)}")
    return subprocess.run([sys.executable, "-m", "codeflow", *arguments], cwd=root).returncode


def _program(root: Path) -> str:
    """The command as it can be typed in `root`: the environment may not be activated."""
    beside = Path(sys.executable).with_name("codeflow")
    on_path = str(beside.parent) in os.environ.get("PATH", "").split(os.pathsep)
    return "codeflow" if on_path else _short(beside, root)


def _short(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _steps(shown: Shown) -> str:
    return "1 commit" if shown.steps == 1 else f"{shown.steps} commits"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
