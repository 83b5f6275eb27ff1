"""How good the spans are, on any repositories: `python benchmarks/spans.py REPO...`.

1. Hidden pull requests: every merged branch is laid out as a run of commits with nothing left to
   tell that it was merged; how many spans are exactly one whole branch, against windows of the
   best fixed length and the spans' own lengths at random places.
2. The same with each component of the score switched off, at the same number of spans.
3. Yields on the first-parent chain as it is, in the window 0.4 to 0.8.
4. Lures: pairs of bumps, releases, reverts, edits of lists, and bots' work, strewn between the
   hidden branches; how many spans swallow one.
5. Planted histories (once): F1 of the ends, beside windows of every fixed length.

Baselines are exact expectations over all placements, not draws. Intervals are 95% of 2,000 block
bootstraps (blocks of 64 steps), with the baseline chosen anew in each.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.extend(map(str, Path(__file__).parents[1].glob("tests/support/*")))

from spans_history import Layout, chain_history, laid_out

from codeflow.contracts import History
from codeflow_miners.kinds.span.miner import SpanMiner
from spans_lures import strew, swallowed
from spans_planted import boundary_f1, planted

LONGEST = 32
BLOCK = 64
RESAMPLES = 2_000
SEED = 20_240_601

Spans = Sequence[tuple[int, int]]


class Outcome(NamedTuple):
    """`precision` is the share of the spans that are one whole branch, and so for the others."""

    spans: int
    branches: int
    hits: int
    precision: float
    fixed: float
    random: float
    ratio: float
    low: float
    high: float


def mine(miner: SpanMiner, history: History) -> Spans:
    return [(pair.old, pair.new) for pair in miner.pairs(history)]


def judge(spans: Spans, layout: Layout) -> Outcome:
    """Hits and ratio of some spans on a history with hidden branches of 2 to 32 steps."""
    branches = {b for b in layout.branches if 2 <= b[1] - b[0] <= LONGEST}
    count = len(layout.history.commits) - 1
    blocks = -(-count // BLOCK)
    lengths, theirs = np.zeros((2, blocks, LONGEST + 1))
    hits = np.zeros(blocks)
    for i, j in branches:
        theirs[i // BLOCK, j - i] += 1
    for i, j in spans:
        lengths[i // BLOCK, j - i] += 1
        hits[i // BLOCK] += (i, j) in branches
    steps = np.full(blocks, float(BLOCK))
    steps[-1] = count - (blocks - 1) * BLOCK

    def rates(weight: np.ndarray) -> tuple[np.ndarray, ...]:
        """(W, blocks) weights of the blocks to (W,) precision, fixed, random and ratio."""
        chosen = weight @ lengths
        chance = (weight @ theirs) / (weight @ steps)[:, None]
        number = np.maximum(chosen.sum(axis=1), 1)
        precision = weight @ hits / number
        fixed, placed = chance.max(axis=1), (chosen * chance).sum(axis=1) / number
        return precision, fixed, placed, precision / np.maximum(np.maximum(fixed, placed), 1e-9)

    rng = np.random.default_rng(SEED)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES).astype(float)
    low, high = np.quantile(rates(drawn)[3], [0.025, 0.975])
    total = int(hits.sum())
    precision, fixed, placed, ratio = (float(values[0]) for values in rates(np.ones((1, blocks))))
    interval = float(low), float(high)
    return Outcome(len(spans), len(branches), total, precision, fixed, placed, ratio, *interval)


def at_yield(miner: SpanMiner, history: History, number: int) -> Spans:
    """The miner's spans with the smallest `tau` that gives no more than `number`."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        if len(mine(dataclasses.replace(miner, tau=middle), history)) > number:
            low = middle
        else:
            high = middle
    return mine(dataclasses.replace(miner, tau=high), history)


def hidden_branches(name: str, layout: Layout, miner: SpanMiner) -> None:
    start = time.perf_counter()
    spans = mine(miner, layout.history)
    took = time.perf_counter() - start
    print(f"\n### {name}: {len(layout.history.commits) - 1} steps, {took:.2f} s\n")
    print("| score | spans | whole branches | of branches | precision | fixed | random | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    show("all", judge(spans, layout))
    for part in miner.weights:
        rest = without(miner, part)
        show(f"without {part}", judge(at_yield(rest, layout.history, len(spans)), layout))


def without(miner: SpanMiner, part: str) -> SpanMiner:
    """The miner with one component of its score switched off."""
    off: dict[str, Any] = {part: 0.0}
    return dataclasses.replace(miner, **off)


def lured(name: str, layout: Layout, miner: SpanMiner) -> None:
    """Spans that swallow lures, and what the lures cost."""
    strewn = strew(layout.history, layout.branches, SEED)
    spans = mine(miner, strewn.history)
    bad = swallowed(spans, strewn)
    moved = [(strewn.place[i], strewn.place[j - 1] + 1) for i, j in layout.branches]
    hits = len(set(spans) & set(moved))
    print(f"- {name}: {len(strewn.lures)} lures, {len(spans)} spans, {len(bad)} swallow one,")
    print(f"  {hits} are whole branches", flush=True)


def show(label: str, o: Outcome) -> None:
    print(
        f"| {label} | {o.spans} | {o.hits} | {o.hits / max(1, o.branches):.0%} of {o.branches} "
        f"| {o.precision:.3f} | {o.fixed:.3f} | {o.random:.3f} "
        f"| **{o.ratio:.1f}** ({o.low:.1f}–{o.high:.1f}) |",
        flush=True,
    )


def yields(name: str, history: History, miner: SpanMiner) -> None:
    inside = [k for k in history.starts if 0.4 <= history.commits[k].position < 0.8]
    windowed = dataclasses.replace(history, starts=inside)
    spans = mine(miner, windowed)
    lengths = [j - i for i, j in spans]
    covered = sum(lengths) / max(1, len(inside))
    mean = sum(lengths) / max(1, len(spans))
    print(f"| {name} | {len(inside)} | {len(spans)} | {mean:.1f} | {covered:.0%} |", flush=True)


def planted_f1(miner: SpanMiner, seeds: Sequence[int]) -> None:
    def mean(find: Callable[[History], Spans]) -> float:
        made = [planted(seed) for seed in seeds]
        return float(np.mean([boundary_f1(find(p.history), p.features) for p in made]))

    print("\n### Planted histories: F1 of the ends\n")
    print(f"- spans: {mean(lambda h: mine(miner, h)):.3f}")
    for part in miner.weights:
        rest = without(miner, part)
        print(f"- without {part}: {mean(partial(mine, rest)):.3f}")
    for length in range(2, 9):
        found = mean(partial(tile, length=length))
        print(f"- windows of {length}: {found:.3f}")


def tile(history: History, length: int) -> Spans:
    return [(i, i + length) for i in range(0, len(history.commits) - length, length)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("repos", nargs="*", type=Path, help="Git repositories, bare or not")
    parser.add_argument("--planted", action="store_true", help="planted histories as well")
    parser.add_argument("--chain", action="store_true", help="yields on the chains as they are")
    arguments = parser.parse_args()
    miner = SpanMiner()
    for repo in arguments.repos:
        layout = laid_out(repo)
        hidden_branches(name_of(repo), layout, miner)
        lured(name_of(repo), layout, miner)
    if arguments.chain:
        print("\n| repository | steps in the window | spans | mean length | steps covered |")
        print("|---|---|---|---|---|")
        for repo in arguments.repos:
            yields(name_of(repo), chain_history(repo), miner)
    if arguments.planted:
        planted_f1(miner, range(10))


def name_of(repo: Path) -> str:
    path = repo.resolve()
    return path.parent.name if path.name in ("repo", ".git") else path.name


if __name__ == "__main__":
    main()
