#!/usr/bin/env python3
"""What `make demo` runs once codeflow is installed: from real histories to a trained model.

It needs a package index and nothing else of the network. The input is a history rebuilt from the
published wheels of a well-known package (see wheel_history.py) and the clone this file is in, where
it is one. Each step is an ordinary command, shown as one would type it. Everything goes to demo/,
and a second run finds its work done. Cost: less than a minute and a half of processor time, half of
it training.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import wheel_history

PACKAGE = "tqdm"
ROOT = Path(__file__).resolve().parent.parent
GOOD_SIZE_LINES = 20  # of a patch that is read at a glance and still does something
SCREEN_LINES = 45
NEW_TOKENS = 64  # of a proposed patch
DATA, RUN, MODEL = "demo/data", "demo/data/runs/demo", "demo/model"

Run = Callable[[Sequence[str]], int]


class Shown(NamedTuple):
    """A triple that the demo shows; `lines` are its patch's, `chars` those and its messages'."""

    id: str
    kind: str
    steps: int
    lines: int
    chars: int


class StepError(Exception):
    """A step failed and has said why; `status` is the demo's."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def main(root: Path = ROOT, run: Run | None = None) -> int:
    """Runs the demo in `root`/demo; returns the exit status.

    Args:
        run: runs one codeflow command and returns its exit status; ours are real processes.
    """
    started = time.monotonic()
    run = run or (lambda arguments: _run(arguments, root))
    try:
        mine(root, run)
        shown, count = choose(sorted((root / DATA / "triples").glob("*.parquet")))
        held_out = shortest(sorted((root / DATA / "triples").glob("validation-*.parquet")))
        if shown is None or held_out is None:
            remedy = "remove the folder demo and run again"
            print(f"demo: nothing to show in {root / DATA}; {remedy}", file=sys.stderr)
            return 1
        look(shown, run)
        train(root, run)
        use(root, held_out, run)
        say("\n8. Put all of it on one page")
        command(run, "report", DATA)
    except StepError as failed:
        return failed.status
    say(farewell(shown.id, count, time.monotonic() - started, _program(root)))
    return 0


def command(run: Run, *arguments: str, fine: tuple[int, ...] = (0,)) -> int:
    """Runs a command whose exit status ends the demo unless it is one of `fine`."""
    status = run(arguments)
    if status not in fine:
        raise StepError(status)
    return status


# --- the steps ----------------------------------------------------------------------------------


def mine(root: Path, run: Run) -> None:
    """Two histories to curated triples."""
    say(f"1. A real history: every release of {PACKAGE}, rebuilt from its published wheels")
    folder = root / "demo"
    try:
        history, releases = wheel_history.build(PACKAGE, folder / "cache")
    except wheel_history.HistoryError as error:
        print(f"demo: {error}", file=sys.stderr)
        raise StepError(1) from None
    first, last = releases[0].version, releases[-1].version
    say(f"   {len(releases)} commits, {first} to {last}, in {_short(history, root)}")
    repositories = write_list(folder / "list.txt", history, root)

    say("\n2. Mine and curate it")
    say("   (A commit here says only which release it is; examples/demo.toml lets that pass.)")
    arguments = ["--repos", "demo/list.txt", "--out", DATA, "--config", "examples/demo.toml"]
    fine = (0, 1) if repositories > 1 else (0,)
    if command(run, "mine", *arguments, "--workers", "1", fine=fine):
        say("   (A repository that cannot be mined gets a row in the ledger; the run goes on.)")


def look(shown: Shown, run: Run) -> None:
    """One triple as a person reads it, and the proof of all."""
    over = f" over {shown.steps} commits" if shown.steps > 1 else ""
    say(f"\n3. One of the triples: a {shown.kind}{over}")
    command(run, "inspect", DATA, shown.id[:12])
    say("\n4. Proof: every triple replayed, every hash checked")
    command(run, "verify", DATA)


def train(root: Path, run: Run) -> None:
    """Triples to tokens to a model, and its loss in one line."""
    say("\n5. Turn the triples into rows of tokens, and train a tiny LoopCoder on them")
    rows = ["--length", "512", "--vocab", "4096", "--long", "cut"]  # else few changes are used
    command(run, "tokenize", DATA, "--render", "diff", *rows)
    command(run, "train", "--data", DATA, "--recipe", "examples/recipes/demo.toml")
    say(curve((root / RUN / "metrics.jsonl").read_text().splitlines()))


def use(root: Path, held_out: Shown, run: Run) -> None:
    """What the model makes of a triple that it has not seen, and the model as others load it."""
    say("\n6. Ask the model for a patch that it has not seen")
    how = ["--max-tokens", str(NEW_TOKENS), "--temperature", "0.7", "--check"]
    command(run, "generate", RUN, "--data", DATA, "--triple", held_out.id[:12], *how, fine=(0, 1))
    say("   (Babble, as it must be: so little training shows what patches look like, no more.)")

    say("\n7. Export the model as a Hugging Face folder, and load that")
    if (root / MODEL).exists():
        say(f"   {MODEL} is there already")
    else:
        command(run, "export", RUN, "--to", MODEL)
    if not same_logits(root / RUN, root / MODEL):
        wrong = f"{root / MODEL}: not the model in {root / RUN}; remove it and run again"
        print(f"demo: {wrong}", file=sys.stderr)
        raise StepError(1)
    say(f"   codeflow.loopcoder.load({MODEL!r}) gives the trained model's logits, bit for bit")


# --- their parts --------------------------------------------------------------------------------


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


def choose(shards: Sequence[Path]) -> tuple[Shown | None, int]:
    """The triple of some shards that is best to show, and how many there are.

    Best is a span of several commits that fits on a screen, then any span that does, then what
    comes nearest to a good size.
    """
    rows = list(_rows(shards))

    def dullness(shown: Shown) -> tuple[bool, bool, float, str]:
        span = shown.kind == "span" and shown.lines <= SCREEN_LINES
        off = abs(math.log((shown.lines + 1) / GOOD_SIZE_LINES))
        return not span, not (span and shown.steps > 1), off, shown.id

    return min(rows, key=dullness, default=None), len(rows)


def shortest(shards: Sequence[Path]) -> Shown | None:
    """The triple that leaves a model with short rows the most room to answer."""
    return min(_rows(shards), key=lambda shown: (shown.chars, shown.id), default=None)


def _rows(shards: Sequence[Path]) -> Iterator[Shown]:
    for shard in shards:
        table = pq.read_table(shard, columns=["id", "kind", "commits", "messages", "patch"])
        for row in table.to_pylist():
            patch, said = row["patch"], sum(map(len, itertools.chain(*row["messages"])))
            steps, lines = len(row["commits"]), patch.count("\n")
            yield Shown(row["id"], row["kind"], steps, lines, len(patch) + said)


def curve(lines: Sequence[str], width: int = 40) -> str:
    """The training loss of a run, from the lines of its metrics.jsonl, drawn in one line.

    One batch is a noisy measure, so it ends with the mean of the last twentieth, as the page does.
    """
    events = [json.loads(line) for line in lines]
    losses = [float(event["loss"]) for event in events if event["event"] == "step"]
    good = [loss for loss in losses if math.isfinite(loss)]
    if not good:
        return "   no step had a finite loss"
    width = min(width, len(good))
    ends = [len(good) * n // width for n in range(width + 1)]
    means = [sum(good[a:b]) / (b - a) for a, b in itertools.pairwise(ends)]
    low, high = min(means), max(means)
    bars = "".join("▁▂▃▄▅▆▇█"[int(7.99 * (mean - low) / (high - low or 1))] for mean in means)
    last = good[-max(1, len(losses) // 20) :]
    return f"   loss {good[0]:.2f} {bars} {sum(last) / len(last):.2f} over {len(losses)} steps"


def same_logits(run: Path, exported: Path) -> bool:
    """Whether an exported folder gives what the last checkpoint of a run gives.

    Every token of the vocabulary is asked about, in rows longer than the attention's window.
    """
    import torch

    from codeflow.loopcoder import load
    from codeflow.train.state.trained import find

    model = find(run).model()
    tokens = torch.arange(model.config.vocab_size).view(-1, 256)
    with torch.no_grad():
        return torch.equal(model(tokens), load(exported)(tokens))


def farewell(triple: str, count: int, elapsed_s: float, program: str) -> str:
    """The last lines: where the results are, and what to type next."""
    return f"""
{count} exact triples and a model trained on them, in {elapsed_s:.0f} s. All of it on one page:
  {DATA}/report.html

Walk into the code as it was before the change above, and after it
  {program} checkout {DATA} {triple[:12]} --side old --to demo/old
  {program} checkout {DATA} {triple[:12]} --side new --to demo/new
  git diff --no-index demo/old demo/new

Read the triples from Python
  import codeflow
  for triple in codeflow.open("{DATA}").triples():
      print(triple.patch)

Now yours: write the path of any clone into a file, one a line
  echo ../my-project > list.txt
  {program} mine --repos list.txt --out data"""


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


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a bar shows a ?
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `make demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
