"""Made-up histories for the split, and what of validation leaks into train."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from codeflow.curation.split.stage import SplitConfig, flow
from mined_folder import Made, Mined, Repo, commit

TIME = SplitConfig(by="time", validation=0.2)


def history(
    name: str,
    commits: int,
    draw: random.Random,
    shared: tuple[str, int] | None = None,
    ties: int = 1,
) -> Repo:
    """Every step as a triple and, over it, spans of 2 to 9; stored in no order.

    Args:
        shared: another history, and how many of its commits this one begins with. Its triples
            are then this one's own steps, as mining divides them among forks.
    """
    base, common = shared or (name, 0)
    chain = [commit(f"{base} {k}") for k in range(common)]
    chain += [commit(f"{name} {k}") for k in range(common, commits)]
    first = max(0, common - 1)
    triples = [Made(k, k + 1, name="commit") for k in range(first, commits - 1)]
    at = first
    while at < commits - 10:
        end = at + draw.randrange(2, 10)
        triples.append(Made(at, end, name="span"))
        at = end - draw.randrange(0, 2)
    draw.shuffle(triples)
    return Repo(name, chain, triples, group_rows=23, ties=ties)


def made(folder: Path, repos: list[Repo], chains: bool = True) -> Mined:
    return Mined(folder, repos).write(chains)


def split_of(
    mined: Mined,
    config: SplitConfig,
    families: Mapping[str, str] | None = None,
    earlier: tuple[str, ...] = (),
) -> dict[str, dict[str, Any]]:
    mined.run("split", flow(mined.context("split", earlier), config, families or {}))
    return mined.decided("split")


def all_triples(mined: Mined) -> Iterator[tuple[Repo, Made, str]]:
    for repo in mined.repos:
        for triple in repo.triples:
            yield repo, triple, repo.id_of(triple)


def leaks(mined: Mined, decided: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Train triples whose new side contains a commit that a validation triple is to predict."""
    held = {
        each
        for repo, triple, key in all_triples(mined)
        if decided[key]["split"] == "validation"
        for each in repo.chain[triple.start + 1 : triple.end + 1]
    }
    assert held
    return [
        key
        for repo, triple, key in all_triples(mined)
        if decided[key]["split"] == "train" and held & contained(repo, triple.end)
    ]


def contained(repo: Repo, number: int) -> set[str]:
    """All commits that one of the chain contains."""
    brought = (each for k, some in repo.merged.items() if k <= number for each in some)
    return {*repo.chain[: number + 1], *brought}


# by family
def many(folder: Path, count: int = 40) -> tuple[Mined, dict[str, str]]:
    draw = random.Random(7)
    repos = [history(f"r{k:02d}", 12, draw) for k in range(count)]
    return made(folder, repos), {repo.name: f"root {k // 3}" for k, repo in enumerate(repos)}
